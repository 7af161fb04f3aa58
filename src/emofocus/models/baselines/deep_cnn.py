"""Deep-CNN: a one-dimensional CNN over 193 features, each averaged over the utterance.

Issa, Demirci and Yazici, *Speech emotion recognition with deep convolutional neural networks*, Biomedical Signal
Processing and Control 59, 2020.

=================== =============== ======================================================
stage               shape           note
=================== =============== ======================================================
features            (B, m, 193)     40 MFCCs, 12 chroma, 128 mels, 7 contrast, 6 tonnetz; normalized
mean over time      (B, 1, 193)
convolution 5       (B, 256, 193)   batch norm, ReLU
convolution 5       (B, 128, 193)   ReLU, dropout 0.1, batch norm
max-pool 8          (B, 128, 24)
convolution 5       (B, 128, 24)    ReLU
convolution 5       (B, 128, 24)    ReLU
convolution 5       (B, 128, 24)    batch norm, ReLU, dropout 0.2
convolution 5       (B, 128, 24)
flatten             (B, 3072)       dropout 0.2
classifier          (B, C)          batch norm
=================== =============== ======================================================

Published: the network for RAVDESS (its figure's 3,072 means that convolutions pad), the features and their order; batch
32. Our stand-ins: 16 kHz; normalized features; tonnetz of the short-time transform's chroma and not of a constant-Q
transform's; AdamW at 3e-4 and 60 epochs of a cosine schedule instead of RMSprop at 1e-5 and 700.
"""

from torch import Tensor, nn

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.models.attention import masked_mean
from emofocus.models.base import NetworkOutput, SpeechNetwork

RECIPE = Recipe(
    description="Deep-CNN's own, as far as it is known; see emofocus.models.baselines.deep_cnn.",
    epochs=60,
    batch_size=32,
    learning_rate=3e-4,
    schedule="cosine",
    features=FeatureSettings(window=2048, hop=512, also=("chroma", "mel", "contrast", "tonnetz")),
    segment=SegmentSettings(frames=320, hop=320),
    network=NetworkSettings(dropout=0.2),
)


class DeepCNN(SpeechNetwork):
    """A one-dimensional CNN over 193 features, each averaged over the utterance.

    Args:
        config: Labels and dropout; the first dropout is half of it.
        size: Features of a frame, F.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        dropout = config.network.dropout
        self.convolutions = nn.Sequential(
            nn.Conv1d(1, 256, 5, padding=2),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Conv1d(256, 128, 5, padding=2),
            nn.ReLU(),
            nn.Dropout(dropout / 2),
            nn.BatchNorm1d(128),
            nn.MaxPool1d(8),
            nn.Conv1d(128, 128, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(128, 128, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(128, 128, 5, padding=2),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv1d(128, 128, 5, padding=2),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.classifier = nn.Sequential(
            nn.Linear(128 * (size // 8), len(config.labels)), nn.BatchNorm1d(len(config.labels))
        )

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised features (B, m, F) → logits (B, C)."""
        averages = masked_mean(encoded, lengths)[:, None]  # (B, 1, F)
        return NetworkOutput(self.classifier(self.convolutions(averages)), None)
