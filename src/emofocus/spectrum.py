"""Waveform → short-time Fourier transform, squared."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from emofocus.errors import ConfigError
from emofocus.filters import hann

BLOCK_FRAMES = 640
"""Frames transformed at a time, for memory that does not grow with the recording."""

POWER_FLOOR = 1e-10
"""Smallest power before the logarithm (librosa's `amin`)."""


class SquaredSpectrum(nn.Module):
    """Hann-windowed short-time Fourier transform, real and imaginary parts squared; power is a pair's sum.

    Frames in float32 are transformed in float32, whose error follows the loudest bin, and others in float64. ONNX
    gets all in float64, as a product with a table of cosines, because its runtimes transform 400 points slowly.

    Shape: frames (…, N) → (…, N + 2), the pairs of bins 0 … N/2, in float32.
    """

    window: Tensor
    rounded_window: Tensor
    cosines: Tensor
    shares: Tensor

    def __init__(self, window: int = 400, hop: int = 160) -> None:
        super().__init__()
        if window % 4:
            raise ConfigError(f"window must be a multiple of 4 samples, not {window}")
        self.size, self.hop = window, hop
        cosines, weights = np.cos(2 * np.pi * np.arange(window) / window), hann(window)
        self.register_buffer("window", torch.tensor(weights), persistent=False)
        self.register_buffer("rounded_window", self.window.float(), persistent=False)
        self.register_buffer("cosines", torch.tensor(cosines), persistent=False)
        self.energy = window * float((weights**2).sum())
        # Parseval: every bin but the outermost counts for its mirror image too.
        shares = np.repeat([1.0, *[2.0] * (window // 2 - 1), 1.0], 2) / self.energy
        self.register_buffer("shares", torch.tensor(shares, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """See the class."""
        return joined([self.squares(frames) for frames in self.blocks(waveform)])

    def squares(self, frames: Tensor) -> Tensor:
        """Frames (…, N) → (…, N + 2) in float32, transformed in the frames' own precision."""
        if torch.onnx.is_in_onnx_export():
            return self.table_transform(frames * self.window).float().square()
        return self.transform(frames * (self.rounded_window if frames.dtype == torch.float32 else self.window))

    @staticmethod
    def transform(windowed: Tensor) -> Tensor:
        """Windowed frames (…, N) → (…, N + 2) in float32, by a transform in their precision."""
        return torch.view_as_real(torch.fft.rfft(windowed)).flatten(-2).float().square_()

    def blocks(self, waveform: Tensor) -> Iterator[Tensor]:
        """(B, T) → frames (B, n, N), in consecutive blocks so that long recordings need little memory."""
        batch = waveform.shape[0]
        margin = waveform.new_zeros(batch, self.size // 2)
        padded = torch.cat([margin, waveform, margin], dim=1)  # in a third of the time of `pad`
        if torch.onnx.is_in_onnx_export():
            yield self.chunked_frames(padded.double())
            return
        frames = padded.unfold(1, self.size, self.hop)  # (B, n, N), a view
        yield from torch.split(frames, max(1, BLOCK_FRAMES // batch), dim=1)

    def table_transform(self, frames: Tensor) -> Tensor:
        """(B, n, N) → (B, n, N + 2), in float64: the product with cos and sin = cos of a quarter turn later."""
        samples = torch.arange(self.size, device=frames.device)
        columns = torch.arange(self.size + 2, device=frames.device)
        turns = samples[:, None] * torch.div(columns, 2, rounding_mode="floor") + columns % 2 * (self.size // 4)
        return frames @ self.cosines[turns % self.size]

    def chunked_frames(self, padded: Tensor) -> Tensor:
        """(B, T + N) → (B, n, N): overlapping windows, glued from chunks that hop and window share."""
        chunk = math.gcd(self.size, self.hop)
        step, count = self.hop // chunk, self.size // chunk
        whole = padded.shape[1] // chunk
        chunks = padded[:, : whole * chunk].reshape(padded.shape[0], whole, chunk)
        starts = whole - count + 1
        return torch.cat([chunks[:, k : k + starts : step] for k in range(count)], dim=-1)

    def power(self, squares: Tensor) -> Tensor:
        """Mean square under the window, by Parseval: (…, N + 2) → (…)."""
        return squares @ self.shares


def joined(blocks: Sequence[Tensor]) -> Tensor:
    """Blocks of frames (B, …, F) as one; the only block of a short waveform is not copied."""
    return blocks[0] if len(blocks) == 1 else torch.cat(tuple(blocks), dim=1)


def decibels(power: Tensor) -> Tensor:
    """10 · log10 with a floor of 1e-10."""
    return power.clamp(min=POWER_FLOOR).log10_().mul_(10.0)
