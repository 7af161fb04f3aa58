"""Mel spectra and cepstra of frames, with librosa's numbers."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from emofocus.config import FeatureSettings
from emofocus.errors import ConfigError
from emofocus.features.descriptors import DESCRIPTORS
from emofocus.features.filterbanks import dct_matrix, mel_filters
from emofocus.features.pitch import PitchGram
from emofocus.features.stft import POWER_FLOOR, SquaredSpectrum, joined, times

MEL_CUTS = (0.375, 0.625, 0.875)
"""Shares of the mel filters at which they are cut into groups; each group covers few of the bins."""

BLUR_LIMIT = 4e6
"""A frame's energy over that of a mel's mean bin, summed over mels, up to which float32 transforms are sharp enough.

The error follows its root. With this limit MFCCs keep within 7e-4 of librosa's on speech, and within 8e-4 on the worst
sounds found, clipped tones (two million frames).
"""

DECIBELS = 10.0 / math.log(10.0)
"""Decibels of power in a natural logarithm's unit; of logarithms to any base, the natural one is the fastest."""

FLOOR_DB = 10.0 * math.log10(POWER_FLOOR)
"""The same in decibels."""


class LogMel(nn.Module):
    """Mel spectrogram in decibels: `librosa.power_to_db(melspectrogram(...), top_db=None)`.

    librosa transforms in float64. float32 takes less than half of the time, and blurs what is very quiet beside the
    frame's loudest bin. So frames are transformed in float32, and those with such mels once more in float64.

    A frame's mels, or coefficients, are followed by its further `DESCRIPTORS` and by its `PitchGram`, if there are any.
    """

    peaks: Tensor
    filters: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        further = [DESCRIPTORS[name](settings) for name in settings.also if name in DESCRIPTORS]
        self.further = nn.ModuleList([*further, PitchGram(settings)] if settings.pitch_bins else further)
        self.size = settings.mels + sum(item.size for item in further) + settings.pitch_bins
        self.blur_limit = BLUR_LIMIT
        self.spectrum = SquaredSpectrum(settings.window, settings.hop, settings.remove_offset is True)
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
        """Waveform (B, T) → (B, 1 + T // hop, mels + further ones)."""
        return joined([features for features, _ in self.blocks(waveform)])

    def blocks(self, waveform: Tensor, lengths: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
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
