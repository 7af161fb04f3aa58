"""Waveform → (B, n, F): MFCC and friends as torch modules with librosa's numbers.

Everything is matrix products, slices and logarithms, so the modules are batched, differentiable and export to
ONNX with dynamic time. A waveform of T samples has n = 1 + T // hop frames, the first centred at sample 0; outside
the waveform there are zeros, so zero-padding a batch changes no frame that belongs to the shorter waveform.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from emofocus.config import FeatureSettings
from emofocus.errors import ConfigError, one_of
from emofocus.features.descriptors import DESCRIPTORS, Prosody
from emofocus.features.filterbanks import dct_matrix, mel_filters
from emofocus.features.pitch import PitchGram
from emofocus.features.stft import POWER_FLOOR, SquaredSpectrum, decibels, joined, times

MEL_CUTS = (0.375, 0.625, 0.875)
"""Where the mel filters are cut into groups, each of which sees few of the bins."""

BLUR_LIMIT = 4e6
"""A frame's energy over that of a mel's mean bin, summed over mels, up to which float32 transforms are sharp enough.

The error follows its root. With this limit MFCCs keep within 7e-4 of librosa's on speech, and within 8e-4 on the worst
sounds found, clipped tones (two million frames).
"""

DECIBELS = 10.0 / math.log(10.0)
"""Decibels of power in a natural logarithm's unit; of logarithms to any base, the natural one is the fastest."""

FLOOR_DB = 10.0 * math.log10(POWER_FLOOR)
"""The same in decibels."""


def frame_count(samples: int, hop: int = 160) -> int:
    """Frames of a waveform of ``samples``."""
    return 1 + samples // hop


class LogMel(nn.Module):
    """Mel spectrogram in decibels: `librosa.power_to_db(melspectrogram(...), top_db=None)`.

    librosa transforms in float64. float32 takes less than half of the time, and blurs what is very quiet beside the
    frame's loudest bin. So frames are transformed in float32, and those with such mels once more in float64.

    A frame's mels, or coefficients, are followed by its further `DESCRIPTORS` and by its `PitchGram`, if there are any.

    Shape: waveform (B, T) → (B, 1 + T // hop, mels + further ones).
    """

    peaks: Tensor
    filters: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        further = [DESCRIPTORS[name](settings) for name in settings.also if name in DESCRIPTORS]
        self.further = nn.ModuleList([*further, PitchGram(settings)] if settings.pitch_bins else further)
        self.size = settings.mels + sum(item.size for item in further) + settings.pitch_bins
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
            if rows.dtype == torch.float32 and not torch.onnx.is_in_onnx_export():  # which is in float64 anyhow
                self.sharpen(mels, power, rows)
            features = self.from_mels(mels)
            if self.further:
                features = torch.cat([features, *(describe(squares) for describe in self.further)], dim=1)
            yield features.view(batch, -1, self.size), power.view(batch, -1)

    def mels(self, squares: Tensor) -> Tensor:
        """(n, N + 2) → power (n, mels), in units of the floor."""
        if torch.onnx.is_in_onnx_export():
            return times(squares, self.filters).clamp_(min=1.0)
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

    Shape: waveform (B, T) → (B, 1 + T // hop, coefficients + further ones).
    """

    cosine_transform: Tensor
    floor: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__(settings)
        if settings.coefficients > settings.mels:
            raise ConfigError(f"{settings.coefficients} coefficients cannot be made of {settings.mels} mels")
        self.size += settings.coefficients - settings.mels
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


class Samples(nn.Module):
    """The waveform itself, a hop of samples a frame.

    Shape: waveform (B, T) → (B, 1 + T // hop, hop); behind the end there are zeros.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        if settings.pitch_bins or settings.deltas or settings.also:
            raise ConfigError("features 'waveform' take no pitch_bins, deltas or also")
        self.size = settings.hop

    def blocks(self, waveform: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (B, n, F) and mean square (B, n), in one block."""
        batch = waveform.shape[0]
        padded = torch.cat([waveform, waveform.new_zeros(batch, self.size)], dim=1)
        whole = padded.shape[1] // self.size
        frames = padded[:, : whole * self.size].reshape(batch, whole, self.size)
        yield frames, frames.square().mean(dim=2)


class FrontEnd(nn.Module):
    """What every model hears: the features that its settings name, and the level of each frame.

    A frame holds, in this order: mels, coefficients or samples; what `also` names, prosody last; slopes and curvatures
    of all these; the pitchgram.

    Shape: waveform (B, T), lengths (B,) in samples or None → features (B, n, F), level (B, n) in dB full scale.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.settings = settings
        self.base = FEATURES[settings.name](settings)
        self.prosody = Prosody(settings) if "prosody" in settings.also else None
        self.deltas = Deltas(settings.deltas) if settings.deltas else None
        self.plain = self.base.size - settings.pitch_bins
        sloped = self.plain + (self.prosody.size if self.prosody else 0)
        self.size = sloped * (1 + settings.deltas) + settings.pitch_bins

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the class."""
        features, power = (joined(parts) for parts in zip(*self.base.blocks(waveform), strict=True))
        if self.prosody is None and self.deltas is None:
            return features, decibels(power)
        plain, pitch = features[..., : self.plain], features[..., self.plain :]
        if self.prosody is not None:
            plain = torch.cat([plain, self.prosody(waveform)], dim=-1)
        if self.deltas is not None:
            plain = self.deltas(plain, None if lengths is None else self.frames(lengths))
        return torch.cat([plain, pitch], dim=-1), decibels(power)

    def frames(self, samples: Tensor) -> Tensor:
        """Samples → frames, as tensors."""
        return torch.div(samples, self.settings.hop, rounding_mode="floor") + 1


FEATURES: dict[str, Callable[[FeatureSettings], LogMel | Samples]] = {
    "mfcc": MFCC,
    "log-mel": LogMel,
    "waveform": Samples,
}
