"""A convolution whose filters are band-passes, told by two frequencies each.

Ravanelli and Bengio, *Speaker Recognition from Raw Waveform with SincNet*, SLT 2018.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOWEST, NARROWEST, FIRST = 50.0, 50.0, 30.0
"""Hertz: of a lower edge, of a band's width, and where the mel-spaced bands begin."""


class SincConv(nn.Module):
    """Band-passes as differences of two low-passes under a Hamming window.

    Args:
        filters: Number of filters.
        size: Length of a filter in samples, odd.
        sampling_rate: Sampling rate in hertz.
    """

    window: Tensor
    seconds: Tensor

    def __init__(self, filters: int, size: int, sampling_rate: int) -> None:
        super().__init__()
        self.nyquist = sampling_rate / 2
        mels = torch.linspace(_mel(FIRST), _mel(self.nyquist - LOWEST - NARROWEST), filters + 1)
        edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
        self.lower = nn.Parameter(edges[:-1, None].clone())  # (filters, 1), hertz above `LOWEST`
        self.width = nn.Parameter(edges.diff()[:, None])  # hertz above `NARROWEST`
        half = torch.arange(1, size // 2 + 1) / sampling_rate
        self.register_buffer("seconds", half, persistent=False)  # (size // 2,)
        self.register_buffer("window", torch.hamming_window(size, periodic=False), persistent=False)

    def cutoffs(self) -> tuple[Tensor, Tensor]:
        """Lower and upper edge of each band in hertz, (filters, 1): ordered and below half of the sampling rate."""
        lower = (LOWEST + self.lower.abs()).clamp(max=self.nyquist - NARROWEST)
        return lower, (lower + NARROWEST + self.width.abs()).clamp(max=self.nyquist)

    def filters(self) -> Tensor:
        """Impulse responses (filters, size), of gain 1 within the band of an unwindowed one."""
        lower, upper = self.cutoffs()
        turns = 2.0 * math.pi * self.seconds
        side = ((upper * turns).sin() - (lower * turns).sin()) / (math.pi * self.seconds)  # (filters, size // 2)
        response = torch.cat([side.flip(1), 2.0 * (upper - lower), side], dim=1)
        return response * self.window / (2.0 * self.nyquist)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T) → (B, filters, T - size + 1)."""
        return F.conv1d(x, self.filters()[:, None])


def _mel(hertz: float) -> float:
    return 2595.0 * math.log10(1.0 + hertz / 700.0)
