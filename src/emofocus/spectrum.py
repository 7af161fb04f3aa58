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
    gets all in float64, as two matrix products (`two_step_squares`), because its runtimes transform 400 points slowly.

    Shape: frames (…, N) → (…, N + 2), the pairs of bins 0 … N/2, in float32.
    """

    window: Tensor
    rounded_window: Tensor
    shares: Tensor

    def __init__(self, window: int = 400, hop: int = 160) -> None:
        super().__init__()
        if window % 4:
            raise ConfigError(f"window must be a multiple of 4 samples, not {window}")
        self.size, self.hop = window, hop
        weights = hann(window)
        self.register_buffer("window", torch.tensor(weights), persistent=False)
        self.register_buffer("rounded_window", self.window.float(), persistent=False)
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
            return two_step_squares(frames * self.window, self.size)
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
        if torch.onnx.is_in_onnx_export():  # onnxruntime takes seven times as long for a vector
            return (squares @ self.shares[:, None]).squeeze(-1)
        return squares @ self.shares


def two_step_squares(frames: Tensor, size: int) -> Tensor:
    """Squares of a real Fourier transform, by Cooley and Tukey's step of N = P · Q points, twice: (…, N) → (…, N + 2).

    With n = Q · a + b and k = c + P · d, it is Σ_b e^(-2πi b d / Q) · e^(-2πi b c / N) · Σ_a x e^(-2πi a c / P): two
    matrix products, with a tenth of the multiplications of one with the whole table. Bins of c > P / 2 are mirror
    images of others, with the same squares.

    The precision is that of the frames; the squares are float32.
    """
    first = next(p for p in range(int(size**0.5), 0, -1) if size % p == 0)  # P
    second, half = size // first, first // 2 + 1  # Q; c = 0 … P / 2
    rows = frames.reshape(*frames.shape[:-1], first, second).transpose(-1, -2)  # (…, Q, P)
    real, imaginary = torch.split(rows @ _waves(first, first, half, frames), half, dim=-1)  # (…, Q, P / 2 + 1)
    turn, quarter = torch.split(_waves(size, second, half, frames), half, dim=1)  # (Q, P / 2 + 1)
    turned = torch.cat([real * turn - imaginary * quarter, real * quarter + imaginary * turn], dim=-2)  # (…, 2 · Q, c)
    blocks = second // 2 + 1  # of P bins each, that hold the bins 0 … N / 2
    order = [*range(blocks), *range(second - 1, second - 1 - blocks, -1)]  # of d, then of the mirror images' Q - 1 - d
    cosines, sines = (waves[:, order] for waves in torch.split(_waves(second, second, second, frames), second, dim=1))
    outer = torch.cat([torch.cat([cosines, sines], dim=1), torch.cat([-sines, cosines], dim=1)])  # (2 · Q, 4 · blocks)
    squares = (turned.transpose(-1, -2) @ outer).float().square()
    squares = squares.reshape(*frames.shape[:-1], half, 2, 2, blocks)  # c, real or imaginary, direct or mirrored, d
    # Bin N - k is at P - c. Whole rows, then one transposition: runtimes take long to index columns.
    mirrored = squares[..., 1, :].index_select(-3, torch.arange(first - half, 0, -1))
    ordered = torch.cat([squares[..., 0, :], mirrored], dim=-3)  # (…, P, 2, blocks)
    bins = ordered.transpose(-1, -2).transpose(-2, -3)  # (…, blocks, P, 2)
    return bins.flatten(-3)[..., : size + 2]


def _waves(period: int, rows: int, columns: int, like: Tensor) -> Tensor:
    """cos(-2π a b / period), then sin: (rows, 2 · columns)."""
    angles = -2 * np.pi * (np.outer(np.arange(rows), np.arange(columns)) % period) / period
    return torch.from_numpy(np.concatenate([np.cos(angles), np.sin(angles)], axis=1)).to(like)


def joined(blocks: Sequence[Tensor]) -> Tensor:
    """Blocks of frames (B, …, F) as one; the only block of a short waveform is not copied."""
    return blocks[0] if len(blocks) == 1 else torch.cat(tuple(blocks), dim=1)


def decibels(power: Tensor) -> Tensor:
    """10 · log10 with a floor of 1e-10."""
    return power.clamp(min=POWER_FLOOR).log10_().mul_(10.0)
