"""TIM-Net: dilated temporal convolutions, forwards and backwards over the whole utterance.

Ye et al., *Temporal Modeling Matters: A Novel Temporal Emotional Modeling Approach for Speech Emotion Recognition*,
ICASSP 2023 (arXiv 2211.08233).

=================== =================== ==========================================================
stage               shape               note
=================== =================== ==========================================================
features            (B, m, 39)          39 MFCCs, normalized
convolution 1 × 1   (B, 39, m)          one for each direction; the backward one hears reversed time
8 aware blocks      (B, 39, m)          dilations 1, 2, 4 … 128; see `TemporalAwareBlock`
mean over time      (B, 39), 8 times    of forward plus backward output, after each block
dynamic fusion      (B, 39)             sum of the eight, by learned weights
classifier          (B, C)
=================== =================== ==========================================================

Published: all of the network; label smoothing 0.1, spatial dropout 0.1, batch 64, learning rate 1e-3. Our stand-ins:
16 kHz and Hann windows instead of 22 kHz and Hamming; padding counts for nothing, where the original averages over it;
averages over time of two directions' sum; AdamW; 100 epochs at most instead of 500, until 15 in a row
are no better.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.models.attention import masked_mean
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.masking import FrameNorm, reversal, silence

FILTERS, DILATIONS = 39, (1, 2, 4, 8, 16, 32, 64, 128)

RECIPE = Recipe(
    description="TIM-Net's own, shortened; see emofocus.models.baselines.timnet.",
    epochs=100,
    patience=15,
    batch_size=64,
    learning_rate=1e-3,
    label_smoothing=0.1,
    features=FeatureSettings(window=800, hop=200, coefficients=39),
    segment=SegmentSettings(frames=800, hop=800),
    network=NetworkSettings(dropout=0.1),
)


class TIMNet(SpeechNetwork):
    """Dilated temporal convolutions, forwards and backwards over the whole utterance.

    Args:
        config: Labels and dropout.
        size: Features of a frame, F.
    """

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        dropout = config.network.dropout
        self.forwards = Direction(size, dropout)
        self.backwards = Direction(size, dropout)
        self.fusion = nn.Parameter(torch.full((len(DILATIONS),), 1.0 / len(DILATIONS)))
        self.classifier = nn.Linear(FILTERS, len(config.labels))

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised features (B, m, F) → logits (B, C)."""
        x = silence(encoded.transpose(1, 2), lengths)  # (B, F, m)
        levels = [
            masked_mean((ahead + back).transpose(1, 2), lengths)
            for ahead, back in zip(self.forwards(x, lengths), self.backwards(reverse(x, lengths), lengths), strict=True)
        ]
        fused = (torch.stack(levels, dim=2) * self.fusion).sum(dim=2)  # (B, FILTERS)
        return NetworkOutput(self.classifier(fused), None)


class Direction(nn.Module):
    """One way through time."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.entry = nn.Conv1d(size, FILTERS, kernel_size=1)
        self.blocks = nn.ModuleList(TemporalAwareBlock(dilation, dropout) for dilation in DILATIONS)

    def forward(self, x: Tensor, lengths: Tensor | None) -> list[Tensor]:
        """(B, F, m), lengths (B,) → (B, FILTERS, m) after each block."""
        x, outputs = self.entry(x), []
        for block in self.blocks:
            x = block(x, lengths)
            outputs.append(x)
        return outputs


class TemporalAwareBlock(nn.Module):
    """Two causal convolutions whose sigmoid gates the block's input."""

    def __init__(self, dilation: int, dropout: float) -> None:
        super().__init__()
        self.dilation = dilation
        self.convolutions = nn.ModuleList(nn.Conv1d(FILTERS, FILTERS, 2, dilation=dilation) for _ in range(2))
        self.norms = nn.ModuleList(FrameNorm(FILTERS) for _ in range(2))
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, C, m), lengths (B,) → (B, C, m)."""
        gate = x
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            gate = self.dropout(F.relu(norm(convolution(F.pad(gate, (self.dilation, 0))), lengths)))
        return torch.sigmoid(gate) * x


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Turn each sequence around; padding stays at the end: (B, C, m) → (B, C, m)."""
    if lengths is None:
        return x.flip(2)
    index = reversal(lengths.to(x.device), x.shape[2])  # (B, m)
    return silence(x.gather(2, index[:, None].expand_as(x)), lengths)
