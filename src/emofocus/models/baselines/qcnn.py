"""QCNN: a mel spectrogram as a colored picture, whose colors are quaternions.

Muppidi and Radfar, *Speech Emotion Recognition Using Quaternion Convolutional Neural Networks*, ICASSP 2021 (arXiv
2111.00404).

========================= ===================== ========================================================
stage                     shape                 note
========================= ===================== ========================================================
features                  (B, 256, 128)         128 mels in decibels, as they are
picture                   (B, 4, 128, 128)      0 … 1 from 80 dB below the loudest; pairs of frames averaged;
                                                jet colors; quaternions 0 + R i + G j + B k
quaternion convolution    (B, 64, 64, 64)       3 × 3; batch norm, max-pool 2, ReLU, as below
quaternion convolution    (B, 128, 32, 32)
quaternion convolution    (B, 128, 16, 16)
quaternion convolution    (B, 256, 8, 8)
mean                      (B, 256)
quaternion dense          (B, 256)              ReLU, dropout
classifier                (B, C)                real
========================= ===================== ========================================================

Published: mel spectrograms, colors as quaternions, quaternion convolutions, smaller than real ones. Its layers are not
known: their number, widths and all of the training are our stand-ins (learning rate 1e-3, batch 32, dropout 0.3, 15
epochs of a cosine schedule, AdamW).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.errors import ModelError
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.baselines.quaternion import QuaternionConv2d, QuaternionLinear
from emofocus.models.masking import fixed

SIDE, RANGE_DB, SILENCE_DB = 128, 80.0, -200.0
CHANNELS = (4, 64, 128, 128, 256)

RECIPE = Recipe(
    description="QCNN's own, as far as it is known; see emofocus.models.baselines.qcnn.",
    epochs=15,
    batch_size=32,
    learning_rate=1e-3,
    schedule="cosine",
    features=FeatureSettings(name="log-mel", mels=SIDE),
    segment=SegmentSettings(frames=2 * SIDE, hop=SIDE),
    network=NetworkSettings(dropout=0.3),
)


class QCNN(SpeechNetwork):
    """A mel spectrogram as a colored picture, whose colors are quaternions.

    Args:
        config: Labels, dropout, features and segments, which must be those of the recipe.
        size: Features of a frame, F.

    Raises:
        ModelError: Features or segments of which no square picture can be made.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        features, self.frames = config.features, config.segment.frames
        # Fewer mels and their slopes, or a pitchgram, can come to as many features.
        if features.name != "log-mel" or not features.mels == size == SIDE or self.frames % SIDE:
            raise ModelError(
                f"qcnn needs features: log-mel with {SIDE} mels alone, and segments of a multiple of {SIDE} frames, "
                f"as in --recipe paper; not {features.name} with {features.mels} mels among {size} features, and "
                f"{self.frames} frames"
            )
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(QuaternionConv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU())
                for inputs, outputs in pairwise(CHANNELS)
            )
        )
        self.dense = QuaternionLinear(CHANNELS[-1], CHANNELS[-1])
        self.classifier = nn.Sequential(nn.Dropout(config.network.dropout), nn.Linear(CHANNELS[-1], len(config.labels)))

    def encode_frames(self, features: Tensor) -> Tensor:
        """(B, n, F) → (B, n, F): decibels, of which a picture is made."""
        return features

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Decibels (B, m, 128) → logits (B, C)."""
        # Zero is what padding becomes, so zero must be silence.
        levels = fixed(encoded - SILENCE_DB, lengths, self.frames)  # (B, frames, 128)
        loudest = levels.amax(dim=(1, 2), keepdim=True)
        light = ((levels - loudest) / RANGE_DB + 1.0).clamp(0.0, 1.0)
        light = light.reshape(-1, SIDE, self.frames // SIDE, SIDE).mean(dim=2).transpose(1, 2)  # (B, mels, time)
        x = self.blocks(jet(light)).mean(dim=(2, 3))  # (B, 256)
        return NetworkOutput(self.classifier(F.relu(self.dense(x))), None)


def jet(light: Tensor) -> Tensor:
    """Brightness 0 … 1 → quaternions whose imaginary parts are red, green and blue: (B, H, W) → (B, 4, H, W)."""
    colors = [(1.5 - (4.0 * light - middle).abs()).clamp(0.0, 1.0) for middle in (3.0, 2.0, 1.0)]
    return torch.stack([torch.zeros_like(light), *colors], dim=1)
