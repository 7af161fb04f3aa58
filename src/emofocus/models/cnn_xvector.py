"""CNN-xvector: four widths of convolution over MFCCs, pooled by statistics.

Peng et al., *Efficient Speech Emotion Recognition Using Multi-Scale CNN and Attention*, ICASSP 2021 (arXiv 2106.04133):
its acoustic branch. **Without** the speaker embedding (x-vector) that the paper appends.

========================= ================ =====================================================
stage                     shape            note
========================= ================ =====================================================
features                  (B, 96, m)       32 MFCCs, slopes, curvatures; normalised
convolutions 5, 7, 9, 11  (B, 64, m / 2)   side by side, stride 2, ReLU
statistics                (B, 12 · 64)     mean, maximum, deviation of each
reduction                 (B, 256)         ReLU
classifier                (B, C)
========================= ================ =====================================================

Published, in its figure: widths and statistics. From a third party's code: 64 filters, stride, reduction, batch 32,
Adam 1e-3. Our stand-ins: convolutions pad; AdamW; 60 epochs with a cosine schedule.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.frames import largest, mean_and_deviation, shorter, silence

WIDTHS, FILTERS, STATISTICS, REDUCED = (5, 7, 9, 11), 64, 3, 256

RECIPE = Recipe(
    description="CNN-xvector's own, as far as it is known; see emofocus.models.cnn_xvector.",
    epochs=60,
    batch_size=32,
    learning_rate=1e-3,
    schedule="cosine",
    features=FeatureSettings(coefficients=32, deltas=2),
    segment=SegmentSettings(frames=750, hop=750),
    network=NetworkSettings(dropout=0.0),
)


class CNNXVector(SpeechNetwork):
    """See the module.

    Args:
        config: Labels.
        size: Features of a frame, F.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, FILTERS, width, stride=2, padding=width // 2) for width in WIDTHS
        )
        self.classifier = nn.Sequential(
            nn.Linear(STATISTICS * FILTERS * len(WIDTHS), REDUCED), nn.ReLU(), nn.Linear(REDUCED, len(config.labels))
        )

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised features (B, m, F) → logits (B, C)."""
        x, steps = silence(encoded.transpose(1, 2), lengths), shorter(lengths, 2)
        pooled = [statistics(F.relu(convolution(x)).transpose(1, 2), steps) for convolution in self.convolutions]
        return NetworkOutput(self.classifier(torch.cat(pooled, dim=1)), None)


def statistics(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean, maximum and deviation over true frames: (B, m, D) → (B, 3 · D)."""
    mean, deviation = mean_and_deviation(x, lengths)
    return torch.cat([mean, largest(x, lengths), deviation], dim=1)
