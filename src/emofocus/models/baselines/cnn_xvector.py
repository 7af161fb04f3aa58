"""CNN-xvector: four widths of convolution over MFCCs, pooled by statistics.

Peng et al., *Efficient Speech Emotion Recognition Using Multi-Scale CNN and Attention*, ICASSP 2021 (arXiv 2106.04133):
its acoustic branch, with or without an embedding of the speaker (the paper's x-vector; ``--embeddings``).

========================= ================ =====================================================
stage                     shape            note
========================= ================ =====================================================
features                  (B, 96, m)       32 MFCCs, slopes, curvatures; normalized
convolutions 5, 7, 9, 11  (B, 64, m / 2)   side by side, stride 2, ReLU
statistics                (B, 12 · 64)     mean, maximum, deviation of each
embedding                 (B, 12 · 64 + D) appended, at the length √D; or D = 0
reduction                 (B, 256)         ReLU
classifier                (B, C)
========================= ================ =====================================================

Published, in its figure: widths and statistics. From a third party's code: 64 filters, stride, reduction, batch 32,
Adam 1e-3. Our stand-ins: convolutions pad; AdamW; 60 epochs with a cosine schedule; the embedding's length, which the
sources leave open and which puts it on the scale of the statistics. It has 395,784 parameters at 8 classes without an
embedding, and 256 for each of its numbers: 526,856 with the published x-vector's 512, the 0.53 M that public sources
lead to.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.masking import largest, mean_and_deviation, shorter, silence

WIDTHS, FILTERS, STATISTICS, REDUCED = (5, 7, 9, 11), 64, 3, 256

RECIPE = Recipe(
    description="CNN-xvector's own, as far as it is known; see emofocus.models.baselines.cnn_xvector.",
    epochs=60,
    batch_size=32,
    learning_rate=1e-3,
    schedule="cosine",
    features=FeatureSettings(coefficients=32, deltas=2),
    segment=SegmentSettings(frames=750, hop=750),
    network=NetworkSettings(dropout=0.0),
)


class CNNXVector(SpeechNetwork):
    """Four widths of convolution over MFCCs, pooled by statistics.

    Args:
        config: Labels, and the size D of embeddings.
        size: Features of a frame and of an embedding, F + D.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        self.embedded = config.embedding.size if config.embedding else 0
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size - self.embedded, FILTERS, width, stride=2, padding=width // 2) for width in WIDTHS
        )
        self.classifier = nn.Sequential(
            nn.Linear(STATISTICS * FILTERS * len(WIDTHS) + self.embedded, REDUCED),
            nn.ReLU(),
            nn.Linear(REDUCED, len(config.labels)),
        )

    def encode_frames(self, features: Tensor) -> Tensor:
        """(B, n, F + D) → (B, n, F + D): features normalized, embeddings not; some numbers of theirs hardly vary."""
        count = features.shape[2] - self.embedded
        return torch.cat([self.normalize(features)[..., :count], features[..., count:]], dim=2)

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised features and embeddings (B, m, F + D) → logits (B, C)."""
        count = encoded.shape[2] - self.embedded
        x, steps = silence(encoded[..., :count].transpose(1, 2), lengths), shorter(lengths, 2)
        pooled = [statistics(F.relu(convolution(x)).transpose(1, 2), steps) for convolution in self.convolutions]
        if self.embedded:
            pooled.append(F.normalize(encoded[:, 0, count:], dim=1) * self.embedded**0.5)
        return NetworkOutput(self.classifier(torch.cat(pooled, dim=1)), None)


def statistics(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean, maximum and deviation over true frames: (B, m, D) → (B, 3 · D)."""
    mean, deviation = mean_and_deviation(x, lengths)
    return torch.cat([mean, largest(x, lengths), deviation], dim=1)
