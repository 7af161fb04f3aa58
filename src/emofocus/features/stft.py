"""Squared short-time Fourier transform of a waveform."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emofocus.errors import ConfigError
from emofocus.features.filterbanks import hann

BLOCK_FRAMES = 640
"""Frames that are transformed at a time, so that memory does not grow with the recording."""

POWER_FLOOR = 1e-10
"""Smallest power before the logarithm (librosa's `amin`)."""


class SquaredSpectrum(nn.Module):
    """Hann-windowed short-time Fourier transform, real and imaginary parts squared; power is a pair's sum.

    Frames in float32 are transformed in float32, whose error is relative to the loudest bin; others in float64. The
    exported ONNX graph computes in float64 by two matrix products (`two_step_power`), because its runtimes transform
    400 points slowly.

    With ``remove_offset``, the frames that `blocks` gives have no DC offset: their mean under the window is 0.

    An exported graph gives power in another order (`two_step_bins`). `times` and `power_of_bins` accept both.
    """

    window: Tensor
    averaging: Tensor
    rounded_window: Tensor
    shares: Tensor

    def __init__(self, window: int = 400, hop: int = 160, remove_offset: bool = False) -> None:
        super().__init__()
        if window % 4:
            raise ConfigError(f"window must be a multiple of 4 samples, not {window}")
        self.size, self.hop, self.remove_offset = window, hop, remove_offset
        weights = hann(window)
        self.register_buffer("averaging", torch.tensor(weights / weights.sum()), persistent=False)
        self.register_buffer("window", torch.tensor(weights), persistent=False)
        self.register_buffer("rounded_window", self.window.float(), persistent=False)
        self.energy = window * float((weights**2).sum())
        # Parseval: every bin but the outermost counts for its mirror image too.
        shares = np.repeat([1.0, *[2.0] * (window // 2 - 1), 1.0], 2) / self.energy
        self.register_buffer("shares", torch.tensor(shares, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Frames (…, N) → (…, N + 2), the pairs of bins 0 … N/2, in float32."""
        return joined([self.squares(frames) for frames in self.blocks(waveform)])

    def squares(self, frames: Tensor) -> Tensor:
        """Frames (…, N) → (…, N + 2) in float32, transformed in the frames' own precision."""
        if torch.onnx.is_in_onnx_export():
            return two_step_power(frames, self.size)
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
            yield self.centered(self.chunked_frames(padded))
            return
        frames = padded.unfold(1, self.size, self.hop)  # (B, n, N), a view
        yield from map(self.centered, torch.split(frames, max(1, BLOCK_FRAMES // batch), dim=1))

    def centered(self, frames: Tensor) -> Tensor:
        """Frames (…, N) without their offset, if it is to be removed."""
        if not self.remove_offset:
            return frames
        return frames - (frames @ self.averaging.to(frames.dtype)[:, None])

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
            return times(squares, self.shares[:, None]).squeeze(-1)
        return squares @ self.shares


def times(squares: Tensor, table: Tensor) -> Tensor:
    """Product of squares of `SquaredSpectrum` (…, N + 2) and a table (N + 2, K) with equal rows for a pair: (…, K)."""
    return squares @ (two_step_rows(table[::2]) if torch.onnx.is_in_onnx_export() else table)


def power_of_bins(squares: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Squares (…, N + 2) → power of bins (…, K), and a table with a row for each bin 0 … N/2 in their order (K, …)."""
    if torch.onnx.is_in_onnx_export():
        return squares, two_step_rows(table)
    return bins_in_order(squares, _size_of(table)), table


def bins_in_order(squares: Tensor, size: int) -> Tensor:
    """Squares (…, N + 2) → power of bins 0 … N / 2, (…, N / 2 + 1)."""
    if torch.onnx.is_in_onnx_export():
        bins = two_step_bins(size)
        return squares.index_select(-1, torch.from_numpy(np.flatnonzero(bins >= 0)[np.argsort(bins[bins >= 0])]))
    return squares[..., 0::2] + squares[..., 1::2]


def two_step_power(frames: Tensor, size: int) -> Tensor:
    """Power of a Hann-windowed Fourier transform in float64, by Cooley and Tukey's step of N = P · Q points, twice.

    With n = Q · a + b and k = c + P · d, it is Σ_b e^(-2πi b d / Q) · Σ_a x w e^(-2πi c n / N): two matrix products,
    with a tenth of the multiplications of one with the whole table. The first has a table for each b, which holds
    window and turns too, as runtimes of ONNX take longer for passes over their input than for products. Bins of
    c > P / 2 are mirror images of others.

    Shape: frames (…, N) → (…, K) in float32, in the order of `two_step_bins`.
    """
    first, second, half, blocks = _steps(size)  # P, Q, c = 0 … P / 2, d of bins up to N / 2
    places = second * np.arange(first) + np.arange(second)[:, None]  # n of b and a (Q, P)
    waves = (_waves(size, size, half) * hann(size)[:, None, None])[places]  # (Q, P, half, 2)
    rows = frames.reshape(-1, second).T.reshape(second, -1, first).double()  # (Q, …, P)
    turned = (rows @ torch.from_numpy(waves.reshape(second, first, -1))).reshape(second, -1).T  # (… · half · 2, Q)
    order = [*range(blocks), *range(second - 1, second - 1 - blocks, -1)]  # of d, then of the mirror images' Q - 1 - d
    cosines, sines = np.moveaxis(_waves(second, second, second)[:, order], 2, 0)  # (Q, 2 · blocks) each
    outer = np.block([[cosines, sines], [-sines, cosines]])
    squares = (turned.reshape(-1, 2 * second) @ torch.from_numpy(outer)).float().square()
    real, imaginary = torch.split(squares, 2 * blocks, dim=-1)
    return (real + imaginary).reshape(*frames.shape[:-1], half * 2 * blocks)


def _steps(size: int) -> tuple[int, int, int, int]:
    """P, Q, and the numbers of values of c and d, for N points."""
    first = next(p for p in range(int(size**0.5), 0, -1) if size % p == 0)
    second = size // first
    return first, second, first // 2 + 1, second // 2 + 1


def two_step_bins(size: int) -> NDArray[np.int64]:
    """Bin of each column of `two_step_power` (K,); -1 for columns that repeat another or lie beyond N / 2."""
    first, _, half, blocks = _steps(size)
    c, d = np.arange(half)[:, None], np.arange(blocks)
    bins = np.stack([c + first * d, first * (d + 1) - c], axis=1).ravel()  # direct ones, and mirrored ones: N - k
    unique = np.zeros(len(bins), bool)
    unique[np.unique(bins, return_index=True)[1]] = True
    return np.where(unique & (bins <= size // 2), bins, -1)


def two_step_rows(table: Tensor) -> Tensor:
    """Rows of a table for bins 0 … N/2, in the order of `two_step_bins` (K, …); repeated bins get rows of zeros."""
    bins = torch.from_numpy(two_step_bins(_size_of(table)))
    return table[bins.clamp(min=0)] * (bins >= 0)[:, None]


def _size_of(table: Tensor) -> int:
    """N of a table with a row for each bin 0 … N/2; as a number, which its shape is not while it is exported."""
    return 2 * (int(table.shape[0]) - 1)


def _waves(period: int, rows: int, columns: int) -> NDArray[np.float64]:
    """cos(-2π a b / period) and sin: (rows, columns, 2)."""
    angles = -2 * np.pi * (np.outer(np.arange(rows), np.arange(columns)) % period) / period
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def joined(blocks: Sequence[Tensor]) -> Tensor:
    """Blocks of frames (B, …, F) as one; the only block of a short waveform is not copied."""
    return blocks[0] if len(blocks) == 1 else torch.cat(tuple(blocks), dim=1)


def decibels(power: Tensor) -> Tensor:
    """10 · log10 with a floor of 1e-10."""
    return power.clamp(min=POWER_FLOOR).log10_().mul_(10.0)
