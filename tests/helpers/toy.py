"""A network that trains in no time."""

from torch import Tensor, nn

from emofocus.config import FeatureSettings, ModelConfig, Recipe
from emofocus.models import NetworkOutput, SpeechNetwork
from emofocus.models.attention import masked_mean

TOY_RECIPE = Recipe(description="A toy's own.", epochs=1, batch_size=32, features=FeatureSettings(coefficients=13))


class Toy(SpeechNetwork):
    """The mean of all frames, and one linear layer."""

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        self.classifier = nn.Linear(size, len(config.labels))

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        return NetworkOutput(self.classifier(masked_mean(encoded, lengths)), None)
