"""Waveform → (B, n, F): MFCC and friends as torch modules with librosa's numbers.

Everything is matrix products, slices and logarithms, so the modules are batched, differentiable and export to
ONNX with dynamic time. A waveform of T samples has n = 1 + T // hop frames, the first centred at sample 0; outside
the waveform there are zeros, so zero-padding a batch changes no frame that belongs to the shorter waveform.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings
from emofocus.errors import ConfigError, one_of

MEL_GROUPS = 4

BLOCK_FRAMES = 384
"""Frames transformed at a time, for memory that does not grow with the recording."""

POWER_FLOOR = 1e-10
"""Smallest power before the logarithm (librosa's `amin`)."""


def frame_count(samples: int, hop: int = 160) -> int:
    """Frames of a waveform of ``samples``."""
    return 1 + samples // hop


class SquaredSpectrum(nn.Module):
    """Hann-windowed short-time Fourier transform, real and imaginary parts squared; power is a pair's sum.

    The transform is done in float64, as in librosa: clean speech has bins 120 dB below its loudest one, which
    float32 would blur. ONNX gets it as a product with a table of cosines, because its runtimes transform 400
    points slowly.

    Shape: waveform (B, T) → (B, 1 + T // hop, N + 2), the pairs of bins 0 … N/2.
    """

    window: Tensor
    cosines: Tensor

    def __init__(self, window: int = 400, hop: int = 160) -> None:
        super().__init__()
        if window % 4:
            raise ConfigError(f"window must be a multiple of 4 samples, not {window}")
        self.size, self.hop = window, hop
        cosines = np.cos(2 * np.pi * np.arange(window) / window)
        self.register_buffer("window", torch.tensor(0.5 - 0.5 * cosines), persistent=False)
        self.register_buffer("cosines", torch.tensor(cosines), persistent=False)
        self.energy = window * float(((0.5 - 0.5 * cosines) ** 2).sum())

    def forward(self, waveform: Tensor) -> Tensor:
        """See the class."""
        return torch.cat(list(self.blocks(waveform)), dim=1)

    def blocks(self, waveform: Tensor) -> Iterator[Tensor]:
        """The same in consecutive blocks of frames, so that long recordings need little memory."""
        margin = self.size // 2
        if torch.onnx.is_in_onnx_export():
            padded = F.pad(waveform, (margin, margin)).double()
            yield self.table_transform(self.chunked_frames(padded) * self.window).float().square()
            return
        batch, samples = waveform.shape
        padded = self.window.new_zeros(batch, samples + self.size)
        padded[:, margin : margin + samples] = waveform
        frames = padded.unfold(1, self.size, self.hop)  # (B, n, N), a view
        for block in torch.split(frames, max(1, BLOCK_FRAMES // batch), dim=1):
            yield torch.view_as_real(torch.fft.rfft(block * self.window)).flatten(-2).float().square_()

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

    def level(self, squares: Tensor) -> Tensor:
        """Mean square under the window, in dB full scale, by Parseval: (B, n, N + 2) → (B, n)."""
        energy = 2.0 * squares.sum(dim=-1) - squares[..., 0] - squares[..., -2]
        return decibels(energy / self.energy)


class LogMel(nn.Module):
    """Mel spectrogram in decibels: `librosa.power_to_db(melspectrogram(...), top_db=None)`.

    Shape: waveform (B, T) → (B, 1 + T // hop, mels).
    """

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.size = settings.mels
        self.spectrum = SquaredSpectrum(settings.window, settings.hop)
        # A triangle sees few bins, so the matrix is nearly empty; multiplying it in groups of filters skips that.
        self.groups: list[slice] = []
        filters = mel_filters(settings.sampling_rate, settings.window, settings.mels).repeat(2, axis=0)
        for number, group in enumerate(np.array_split(filters, MEL_GROUPS, axis=1)):
            seen = np.flatnonzero(group.any(axis=1))
            pairs = slice(int(seen.min()), int(seen.max()) + 1) if len(seen) else slice(0, 1)
            self.groups.append(pairs)
            self.register_buffer(f"filters_{number}", torch.tensor(group[pairs], dtype=torch.float32), False)

    def forward(self, waveform: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([self.from_squares(block) for block in self.spectrum.blocks(waveform)], dim=1)

    def from_squares(self, squares: Tensor) -> Tensor:
        """(B, n, N + 2) → (B, n, mels)."""
        return self.logarithms(squares).mul(10.0)

    def logarithms(self, squares: Tensor) -> Tensor:
        """(B, n, N + 2) → (B, n, mels), log10 of the power."""
        groups = [squares[..., pairs] @ self.get_buffer(f"filters_{k}") for k, pairs in enumerate(self.groups)]
        return torch.cat(groups, dim=-1).clamp_(min=POWER_FLOOR).log10_()


class MFCC(LogMel):
    """Mel-frequency cepstral coefficients: `librosa.feature.mfcc` of the log-mel spectrogram above.

    Shape: waveform (B, T) → (B, 1 + T // hop, coefficients).
    """

    cosine_transform: Tensor
    zeroth: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__(settings)
        if settings.coefficients > settings.mels:
            raise ConfigError(f"{settings.coefficients} coefficients cannot be made of {settings.mels} mels")
        self.size = settings.coefficients
        transform = 10.0 * dct_matrix(settings.mels, settings.coefficients)  # 10 for decibels
        self.register_buffer("cosine_transform", torch.tensor(transform, dtype=torch.float32), persistent=False)
        zeroth = 10.0 * settings.mels**0.5 * torch.eye(1, settings.coefficients)[0]
        self.register_buffer("zeroth", zeroth, persistent=False)

    def from_squares(self, squares: Tensor) -> Tensor:
        """(B, n, N + 2) → (B, n, coefficients)."""
        logs = self.logarithms(squares)
        # The zeroth coefficient is the mean, and the others do not see it: taking it out keeps their digits.
        mean = logs.mean(dim=-1, keepdim=True)
        return torch.addcmul((logs - mean) @ self.cosine_transform, mean, self.zeroth)


class Deltas(nn.Module):
    """Features with their local slopes (and curvatures) appended: `librosa.feature.delta(mode="nearest")`.

    Shape: features (B, n, F), lengths (B,) in frames or None → (B, n, F · (1 + order)).
    """

    def __init__(self, order: int = 1, width: int = 9) -> None:
        super().__init__()
        if order not in (1, 2):
            raise ConfigError(f"deltas of order {order} do not exist; {one_of((1, 2))}")
        offsets = np.arange(width) - width // 2
        for k in range(1, order + 1):
            slopes = np.linalg.pinv(np.vander(offsets, k + 1, increasing=True))[k] * math.factorial(k)
            self.register_buffer(f"slopes_{k}", torch.tensor(slopes, dtype=torch.float32), persistent=False)
        self.order, self.width = order, width

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See the class."""
        batch, n, size = features.shape
        ends = features.new_full((batch,), n).long() if lengths is None else lengths
        offsets = torch.arange(self.width, device=features.device) - self.width // 2
        index = torch.arange(n, device=features.device)[:, None] + offsets  # (n, width)
        index = torch.minimum(index.clamp(min=0)[None], (ends - 1)[:, None, None])  # (B, n, width)
        flat = index.reshape(batch, -1, 1).expand(-1, -1, size)
        near = features.gather(1, flat).reshape(batch, n, self.width, size)
        slopes = [torch.einsum("bnwf,w->bnf", near, self.get_buffer(f"slopes_{k}")) for k in self._orders()]
        return torch.cat([features, *slopes], dim=-1)

    def _orders(self) -> range:
        return range(1, self.order + 1)


class FrontEnd(nn.Module):
    """What every model hears: the features that its settings name, and the level of each frame.

    Shape: waveform (B, T), lengths (B,) in samples or None → features (B, n, F), level (B, n) in dB full scale.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.settings = settings
        self.base = FEATURES[settings.name](settings)
        self.deltas = Deltas(settings.deltas) if settings.deltas else None
        self.size = self.base.size * (1 + settings.deltas)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the class."""
        blocks = [
            (self.base.from_squares(block), self.base.spectrum.level(block))
            for block in self.base.spectrum.blocks(waveform)
        ]
        features, level = (torch.cat(parts, dim=1) for parts in zip(*blocks, strict=True))
        if self.deltas is not None:
            features = self.deltas(features, None if lengths is None else self.frames(lengths))
        return features, level

    def frames(self, samples: Tensor) -> Tensor:
        """Samples → frames, as tensors."""
        return torch.div(samples, self.settings.hop, rounding_mode="floor") + 1


FEATURES: dict[str, Callable[[FeatureSettings], LogMel]] = {"mfcc": MFCC, "log-mel": LogMel}


def decibels(power: Tensor) -> Tensor:
    """10 · log10 with a floor of 1e-10."""
    return power.clamp(min=POWER_FLOOR).log10_().mul_(10.0)


def mel_filters(sampling_rate: int, window: int, mels: int) -> NDArray[np.float64]:
    """Triangles on Slaney's mel scale with equal area (librosa's default), shape (window // 2 + 1, mels)."""
    edges = _mel_to_hertz(np.linspace(0.0, _hertz_to_mel(sampling_rate / 2), mels + 2))
    bins = np.fft.rfftfreq(window, 1.0 / sampling_rate)
    rising = (bins[:, None] - edges[None, :-2]) / np.diff(edges)[:-1]
    falling = (edges[None, 2:] - bins[:, None]) / np.diff(edges)[1:]
    area = 2.0 / (edges[2:] - edges[:-2])
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling)) * area
    return filters


def dct_matrix(size: int, coefficients: int) -> NDArray[np.float64]:
    """Orthonormal DCT-II, shape (size, coefficients)."""
    angles = np.pi * np.outer(np.arange(size) + 0.5, np.arange(coefficients)) / size
    matrix: NDArray[np.float64] = np.cos(angles) * math.sqrt(2.0 / size)
    matrix[:, 0] /= math.sqrt(2.0)
    return matrix


# Slaney's scale: linear to 1 kHz (200/3 Hz a mel), then 27 mels for each factor of 6.4.
_LINEAR_HERTZ, _KNEE_HERTZ, _LOG_STEP = 200.0 / 3.0, 1000.0, math.log(6.4) / 27.0


def _hertz_to_mel(hertz: float) -> float:
    if hertz < _KNEE_HERTZ:
        return hertz / _LINEAR_HERTZ
    return _KNEE_HERTZ / _LINEAR_HERTZ + math.log(hertz / _KNEE_HERTZ) / _LOG_STEP


def _mel_to_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _KNEE_HERTZ / _LINEAR_HERTZ
    above = _KNEE_HERTZ * np.exp(_LOG_STEP * (np.maximum(mels, knee) - knee))
    return np.where(mels < knee, mels * _LINEAR_HERTZ, above)
