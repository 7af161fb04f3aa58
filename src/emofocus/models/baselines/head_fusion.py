"""Head Fusion: convolutions over two seconds of MFCCs, and attention heads that are stacked before pooling.

Xu, Zhang and Zhang, *Head Fusion: Improving the Accuracy and Robustness of Speech Emotion Recognition on the IEMOCAP
and RAVDESS Dataset*, IEEE Access 2021.

====================== =================== ==================================================
stage                  shape               note
====================== =================== ==================================================
features               (B, 1, 26, 63)      26 MFCCs, normalized; 2 s, hop of 32 ms
convolution 10 × 2     (B, 8, 25, 62)      along coefficients; batch norm, ReLU
convolution 2 × 8      (B, 8, 25, 62)      along time, beside it; batch norm, ReLU
3 × 3, max-pool 2      (B, 32, 12, 31)     of both together; batch norm, ReLU, as below
3 × 3, max-pool 2      (B, 48, 6, 15)
3 × 3                  (B, 64, 6, 15)
3 × 3                  (B, 80, 6, 15)
4 heads                (B, 64, 24, 15)     1 × 1 convolutions to Q, K, V; softmax(Q ∘ K) ∘ V; stacked along the height
mean                   (B, 64)             behind a ReLU
classifier             (B, C)
====================== =================== ==================================================

Published, in its authors' code: all of the network, with 155,896 parameters at 8 classes, the softmax over channels
included; learning rate 1e-3, weight decay 1e-6, batch 32, 50 epochs. Our stand-ins: normalized features; segments every
second for training and for recognizing (the original recognizes every 0.4 s); short utterances are padded, not
discarded; a cosine schedule instead of steps; AdamW.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.masking import fixed

HEADS, WIDTH = 4, 64

RECIPE = Recipe(
    description="Head Fusion's own, as far as it is known; see emofocus.models.baselines.head_fusion.",
    epochs=50,
    batch_size=32,
    learning_rate=1e-3,
    schedule="cosine",
    weight_decay=1e-6,
    features=FeatureSettings(window=2048, hop=512, coefficients=26),
    segment=SegmentSettings(frames=63, hop=31),
    network=NetworkSettings(dropout=0.0),
)


class HeadFusion(SpeechNetwork):
    """Convolutions over two seconds of MFCCs, and attention heads that are stacked before pooling.

    Args:
        config: Labels and length of segments, to which all input is padded or cut.
        size: Features of a frame, F.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        self.frames = config.segment.frames
        self.along_coefficients = Block(1, 8, (10, 2), (4, 0))
        self.along_time = Block(1, 8, (2, 8), (0, 3))
        self.blocks = nn.Sequential(
            Block(16, 32), nn.MaxPool2d(2), Block(32, 48), nn.MaxPool2d(2), Block(48, 64), Block(64, 80)
        )
        self.heads = nn.ModuleList(Head(80, WIDTH) for _ in range(HEADS))
        self.classifier = nn.Linear(WIDTH, len(config.labels))

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised features (B, m, F) → logits (B, C)."""
        x = fixed(encoded, lengths, self.frames).transpose(1, 2).unsqueeze(1)  # (B, 1, F, m)
        x = self.blocks(torch.cat([self.along_coefficients(x), self.along_time(x)], dim=1))  # (B, 80, F / 4, m / 4)
        fused = torch.cat([head(x) for head in self.heads], dim=2)  # (B, WIDTH, HEADS · F / 4, m / 4)
        return NetworkOutput(self.classifier(F.relu(fused).mean(dim=(2, 3))), None)


class Block(nn.Sequential):
    """Convolution, batch norm, ReLU. Shape: (B, C, H, W) → (B, C', H', W')."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: tuple[int, int] = (3, 3), padding: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, padding=padding), nn.BatchNorm2d(channels_out), nn.ReLU()
        )


class Head(nn.Module):
    """Attention of each place to itself, over its channels."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(channels, width, kernel_size=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, d, H, W)."""
        weights = (self.query(x) * self.key(x)).softmax(dim=1)
        attended: Tensor = weights * self.value(x)
        return attended
