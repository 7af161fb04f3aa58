"""Waveform → (B, n, F): MFCC and friends as torch modules with librosa's numbers.

Everything is matrix products, slices and logarithms, so the modules are batched, differentiable and export to
ONNX with dynamic time. A waveform of T samples has n = 1 + T // hop frames, the first centred at sample 0; outside
the waveform there are zeros, so zero-padding a batch changes no frame that belongs to the shorter waveform.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emofocus.config import FeatureSettings
from emofocus.errors import ConfigError, one_of
from emofocus.pitch import PitchGram

MEL_CUTS = (0.375, 0.625, 0.875)
"""Where the mel filters are cut into groups, each of which sees few of the bins."""

BLOCK_FRAMES = 640
"""Frames transformed at a time, for memory that does not grow with the recording."""

BLUR_LIMIT = 4e6
"""A frame's energy over that of a mel's mean bin, summed over mels, up to which float32 transforms are sharp enough.

The error follows its root. With this limit MFCCs keep within 7e-4 of librosa's on speech, and within 8e-4 on the worst
sounds found, clipped tones (two million frames).
"""

DECIBELS = 10.0 / math.log(10.0)
"""Decibels of power in a natural logarithm's unit; of logarithms to any base, the natural one is the fastest."""

POWER_FLOOR = 1e-10
"""Smallest power before the logarithm (librosa's `amin`)."""

FLOOR_DB = 10.0 * math.log10(POWER_FLOOR)
"""The same in decibels."""


def frame_count(samples: int, hop: int = 160) -> int:
    """Frames of a waveform of ``samples``."""
    return 1 + samples // hop


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
        cosines = np.cos(2 * np.pi * np.arange(window) / window)
        self.register_buffer("window", torch.tensor(0.5 - 0.5 * cosines), persistent=False)
        self.register_buffer("rounded_window", self.window.float(), persistent=False)
        self.register_buffer("cosines", torch.tensor(cosines), persistent=False)
        self.energy = window * float(((0.5 - 0.5 * cosines) ** 2).sum())
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


class LogMel(nn.Module):
    """Mel spectrogram in decibels: `librosa.power_to_db(melspectrogram(...), top_db=None)`.

    librosa transforms in float64. float32 takes less than half of the time, and blurs what is very quiet beside the
    frame's loudest bin. So frames are transformed in float32, and those with such mels once more in float64.

    With ``pitch_bins`` a frame's `PitchGram` follows its mels, or its coefficients.

    Shape: waveform (B, T) → (B, 1 + T // hop, mels + pitch bins).
    """

    peaks: Tensor
    filters: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.size = settings.mels + settings.pitch_bins
        self.pitch = PitchGram(settings) if settings.pitch_bins else None
        self.blur_limit = BLUR_LIMIT
        self.spectrum = SquaredSpectrum(settings.window, settings.hop)
        # In units of the floor, logarithms begin at 0: small numbers, whose sums keep their digits.
        filters = mel_filters(settings.sampling_rate, settings.window, settings.mels) / POWER_FLOOR
        peaks = self.spectrum.energy * filters.max(axis=0)
        self.register_buffer("peaks", torch.tensor(peaks, dtype=torch.float32), persistent=False)
        # A triangle sees few bins, so the matrix is nearly empty; multiplying it in groups of filters skips that.
        self.groups: list[tuple[str, int, int]] = []
        cuts = [int(cut * settings.mels) for cut in MEL_CUTS]
        for number, group in enumerate(np.split(filters.repeat(2, axis=0), cuts, axis=1)):
            seen = np.flatnonzero(group.any(axis=1))
            first, last = (int(seen[0]), int(seen[-1])) if len(seen) else (0, 0)
            self.groups.append((f"filters_{number}", first, last + 1 - first))
            self.register_buffer(f"filters_{number}", torch.tensor(group[first : last + 1]).float(), persistent=False)
        self.register_buffer("filters", torch.tensor(filters.repeat(2, axis=0)).float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """See the class."""
        return joined([features for features, _ in self.blocks(waveform)])

    def blocks(self, waveform: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (B, n, F) and mean square (B, n) of consecutive blocks of frames."""
        for frames in self.spectrum.blocks(waveform):
            batch, rows = frames.shape[0], frames.flatten(0, 1)  # (B · n, N), a view if B is 1
            squares = self.spectrum.squares(rows)
            mels, power = self.mels(squares), self.spectrum.power(squares)
            if rows.dtype == torch.float32:
                self.sharpen(mels, power, rows)
            features = self.from_mels(mels)
            if self.pitch is not None:
                features = torch.cat([features, self.pitch(squares)], dim=1)
            yield features.view(batch, -1, self.size), power.view(batch, -1)

    def mels(self, squares: Tensor) -> Tensor:
        """(n, N + 2) → power (n, mels), in units of the floor."""
        groups = [squares.narrow(1, first, count) @ getattr(self, name) for name, first, count in self.groups]
        return torch.cat(groups, dim=1).clamp_(min=1.0)

    def sharpen(self, mels: Tensor, power: Tensor, frames: Tensor) -> None:
        """Replace the mels (n, mels) of those frames (n, N) that float32 has blurred by float64's.

        A transform's error is spread over all bins, in proportion to the frame's energy. So a mel's relative error
        has the variance energy · peak / mel (its filter's greatest weight over its power) but for a constant, and a
        coefficient's error has the sum of these.
        """
        variance = (mels.reciprocal() @ self.peaks) * power
        blurred = (variance > self.blur_limit).nonzero().flatten()
        if len(blurred):
            windowed = frames.index_select(0, blurred) * self.spectrum.window  # float64
            # Few frames: one product with the whole matrix costs less than the groups' calls.
            sharp = (self.spectrum.transform(windowed) @ self.filters).clamp_(min=1.0)
            mels.index_copy_(0, blurred, sharp)

    def from_mels(self, mels: Tensor) -> Tensor:
        """Power (n, mels), which is overwritten, → features (n, F)."""
        return mels.log_().mul_(DECIBELS).add_(FLOOR_DB)


class MFCC(LogMel):
    """Mel-frequency cepstral coefficients: `librosa.feature.mfcc` of the log-mel spectrogram above.

    Shape: waveform (B, T) → (B, 1 + T // hop, coefficients + pitch bins).
    """

    cosine_transform: Tensor
    floor: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__(settings)
        if settings.coefficients > settings.mels:
            raise ConfigError(f"{settings.coefficients} coefficients cannot be made of {settings.mels} mels")
        self.size = settings.coefficients + settings.pitch_bins
        self.blur_limit = BLUR_LIMIT * settings.mels / 2  # no weight of a mel exceeds √(2 / mels)
        transform = torch.tensor(DECIBELS * dct_matrix(settings.mels, settings.coefficients)).float()
        floor = FLOOR_DB * settings.mels**0.5 * torch.eye(1, settings.coefficients)[0]  # what all mels at it give
        self.register_buffer("cosine_transform", transform, persistent=False)
        self.register_buffer("floor", floor, persistent=False)

    def from_mels(self, mels: Tensor) -> Tensor:
        """Power (n, mels), which is overwritten, → features (n, F)."""
        return torch.addmm(self.floor, mels.log_(), self.cosine_transform)


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
        self.plain = self.base.size - settings.pitch_bins
        self.size = self.plain * (1 + settings.deltas) + settings.pitch_bins

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the class."""
        features, power = (joined(parts) for parts in zip(*self.base.blocks(waveform), strict=True))
        level = decibels(power)
        if self.deltas is not None:
            plain, pitch = features[..., : self.plain], features[..., self.plain :]
            sloped = self.deltas(plain, None if lengths is None else self.frames(lengths))
            features = torch.cat([sloped, pitch], dim=-1)
        return features, level

    def frames(self, samples: Tensor) -> Tensor:
        """Samples → frames, as tensors."""
        return torch.div(samples, self.settings.hop, rounding_mode="floor") + 1


FEATURES: dict[str, Callable[[FeatureSettings], LogMel]] = {"mfcc": MFCC, "log-mel": LogMel}


def joined(blocks: Sequence[Tensor]) -> Tensor:
    """Blocks of frames (B, …, F) as one; the only block of a short waveform is not copied."""
    return blocks[0] if len(blocks) == 1 else torch.cat(tuple(blocks), dim=1)


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
