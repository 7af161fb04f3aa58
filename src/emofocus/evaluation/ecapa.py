"""ECAPA-TDNN, of which `emofocus bench` measures speed and size.

Desplanques, Thienpondt and Demuynck, *ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN
Based Speaker Verification*, Interspeech 2020 (arXiv 2005.07143), with 1024 channels.

======================== ============== ========================================================
stage                    shape          note
======================== ============== ========================================================
features                 (B, m, 80)     log-mel bands; the paper has 80 MFCCs, of the same size
convolution              (B, 1024, m)   width 5, ReLU, batch norm
three blocks             (B, 1024, m)   `Block`, dilation 2, 3, 4; each sees the sum of all before
aggregation              (B, 1536, m)   of the three blocks' outputs, width 1, ReLU
attentive statistics     (B, 3072)      mean and deviation with weights for each channel
embedding                (B, 192)       batch norm, linear, batch norm
======================== ============== ========================================================
"""

import torch
from torch import Tensor, nn

from emofocus.config import FeatureSettings
from emofocus.features.log_mel import LogMel

MELS, CHANNELS, AGGREGATED, BOTTLENECK, EMBEDDING, PARTS = 80, 1024, 1536, 128, 192, 8


class ECAPA(nn.Module):
    """Embeddings of waveforms: (B, T), 16 kHz → (B, 192)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = LogMel(FeatureSettings(name="log-mel", mels=MELS))
        self.first = convolution(MELS, CHANNELS, 5)
        self.blocks = nn.ModuleList(Block(dilation) for dilation in (2, 3, 4))
        self.aggregation = nn.Sequential(nn.Conv1d(3 * CHANNELS, AGGREGATED, 1), nn.ReLU())
        self.pooling = AttentiveStatistics()
        size = 2 * AGGREGATED
        self.embedding = nn.Sequential(nn.BatchNorm1d(size), nn.Linear(size, EMBEDDING), nn.BatchNorm1d(EMBEDDING))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) → (B, 192)."""
        bands = self.features(waveform)  # (B, m, 80)
        total = self.first((bands - bands.mean(dim=1, keepdim=True)).transpose(1, 2))  # (B, 1024, m)
        outputs = []
        for block in self.blocks:
            outputs.append(block(total))
            total = total + outputs[-1]
        embedding: Tensor = self.embedding(self.pooling(self.aggregation(torch.cat(outputs, dim=1))))
        return embedding


class Block(nn.Module):
    """SE-Res2Block: a dilated convolution in eight parts, each of which sees the one before, and channel weights."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.before, self.behind = convolution(CHANNELS, CHANNELS, 1), convolution(CHANNELS, CHANNELS, 1)
        width = CHANNELS // PARTS
        self.parts = nn.ModuleList(convolution(width, width, 3, dilation) for _ in range(PARTS - 1))
        self.weights = nn.Sequential(
            nn.Linear(CHANNELS, BOTTLENECK), nn.ReLU(), nn.Linear(BOTTLENECK, CHANNELS), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1024, m) → (B, 1024, m)."""
        first, *others = self.before(x).chunk(PARTS, dim=1)  # each (B, 128, m)
        heard, last = [first], torch.zeros_like(first)
        for part, convolve in zip(others, self.parts, strict=True):
            last = convolve(part + last)
            heard.append(last)
        y: Tensor = self.behind(torch.cat(heard, dim=1))
        weights: Tensor = self.weights(y.mean(dim=2))  # (B, 1024)
        return x + y * weights[:, :, None]


class AttentiveStatistics(nn.Module):
    """Mean and deviation over time, weighted by attention of each channel that sees those of the whole recording."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv1d(3 * AGGREGATED, BOTTLENECK, 1), nn.Tanh(), nn.Conv1d(BOTTLENECK, AGGREGATED, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, m) → (B, 2 · D)."""
        mean, deviation = x.mean(dim=2, keepdim=True), x.std(dim=2, keepdim=True, correction=0)
        context = torch.cat([x, mean.expand_as(x), deviation.expand_as(x)], dim=1)  # (B, 3 · D, m)
        weights = self.attention(context).softmax(dim=2)  # (B, D, m)
        center = (weights * x).sum(dim=2)
        variance = (weights * x.square()).sum(dim=2) - center.square()
        return torch.cat([center, variance.clamp(min=1e-9).sqrt()], dim=1)


def convolution(size: int, channels: int, width: int, dilation: int = 1) -> nn.Sequential:
    """Convolution over time that keeps the length, ReLU and batch norm: (B, size, m) → (B, channels, m)."""
    layer = nn.Conv1d(size, channels, width, dilation=dilation, padding=width // 2 * dilation)
    return nn.Sequential(layer, nn.ReLU(), nn.BatchNorm1d(channels))
