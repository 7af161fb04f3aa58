"""Further descriptors of a frame: chroma, spectral contrast, tonnetz, mel power and prosody."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from emofocus.config import PITCH_WINDOW, FeatureSettings
from emofocus.features.filterbanks import chroma_filters, hann, mel_filters, tonnetz_matrix
from emofocus.features.stft import (
    POWER_FLOOR,
    SquaredSpectrum,
    bins_in_order,
    decibels,
    joined,
    power_of_bins,
    times,
)

TINY = 1e-30
"""Smallest divisor, for frames without sound."""

OCTAVES, LOWEST_EDGE, EXTREMES = 6, 200.0, 0.02
"""Spectral contrast: bands above the lowest, upper edge of the lowest in Hz, share of bins in peak and valley."""

LOWEST_PITCH, HIGHEST_PITCH = 60.0, 500.0
"""Range of the pitch in Hz."""

OCTAVE_COST = 0.03
"""Periodicity that a pitch must have more than the pitch an octave above it to be chosen.

The frame is not padded before its transform, so the autocorrelation is circular and favors long lags. With 0.01, a
buzz of 124 Hz was estimated an octave too low; with 0.03, none of 4000 buzzes is.
"""


class Chroma(nn.Module):
    """Share of each pitch class: `librosa.feature.chroma_stft(tuning=0)`."""

    size = 12
    table: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        filters = chroma_filters(settings.sampling_rate, settings.window).repeat(2, axis=0)
        self.register_buffer("table", torch.tensor(filters, dtype=torch.float32), persistent=False)

    def forward(self, squares: Tensor) -> Tensor:
        """Squares (…, N + 2) of `SquaredSpectrum` → (…, 12)."""
        raw = times(squares, self.table)
        share: Tensor = raw / raw.amax(dim=-1, keepdim=True).clamp(min=TINY)
        return share


class Tonnetz(nn.Module):
    """Fifths and thirds of the chroma: `librosa.feature.tonnetz(chroma=…)` (Harte et al., ACM AMCMM 2006)."""

    size = 6
    matrix: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.chroma = Chroma(settings)
        self.register_buffer("matrix", torch.tensor(tonnetz_matrix(), dtype=torch.float32), persistent=False)

    def forward(self, squares: Tensor) -> Tensor:
        """Squares (…, N + 2) → (…, 6)."""
        chroma = self.chroma(squares)
        tonnetz: Tensor = (chroma / chroma.sum(dim=-1, keepdim=True).clamp(min=TINY)) @ self.matrix
        return tonnetz


class Contrast(nn.Module):
    """Decibels from valley to peak of each octave: `librosa.feature.spectral_contrast` (Jiang et al., ICME 2002).

    librosa limits both to 80 dB below the recording's peak. A frame alone does not know that peak, so this does not.
    """

    size = OCTAVES + 1

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        hertz = np.fft.rfftfreq(settings.window, 1.0 / settings.sampling_rate)
        self.window = settings.window
        edges = [0.0, *LOWEST_EDGE * 2.0 ** np.arange(OCTAVES + 1)]
        self.bands: list[tuple[int, int, int]] = []  # first bin, bins, bins that are a peak or a valley
        for number, (low, high) in enumerate(pairwise(edges)):
            inside = np.flatnonzero((hertz >= low) & (hertz <= high))
            first, last = max(0, inside[0] - (number > 0)), inside[-1]
            bins = int(last + 1 - first)
            extreme = max(1, round(EXTREMES * bins))
            self.bands.append((int(first), bins if number == OCTAVES else bins - 1, extreme))

    def forward(self, squares: Tensor) -> Tensor:
        """Squares (…, N + 2) → (…, 7)."""
        magnitude = bins_in_order(squares, self.window).sqrt()  # (…, N / 2 + 1)
        contrasts = []
        for first, bins, extreme in self.bands:
            ordered = magnitude[..., first : first + bins].sort(dim=-1).values
            valley, peak = ordered[..., :extreme].mean(dim=-1), ordered[..., -extreme:].mean(dim=-1)
            contrasts.append(decibels(peak) - decibels(valley))
        return torch.stack(contrasts, dim=-1)


class MelPower(nn.Module):
    """Power in mel bands, before any logarithm: `librosa.feature.melspectrogram`."""

    filters: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.size = settings.mels
        filters = mel_filters(settings.sampling_rate, settings.window, settings.mels).repeat(2, axis=0)
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32), persistent=False)

    def forward(self, squares: Tensor) -> Tensor:
        """Squares (…, N + 2) → (…, mels)."""
        return times(squares, self.filters)


DESCRIPTORS: dict[str, Callable[[FeatureSettings], "Chroma | Tonnetz | Contrast | MelPower"]] = {
    "chroma": Chroma,
    "mel": MelPower,
    "contrast": Contrast,
    "tonnetz": Tonnetz,
}
"""Name → descriptor that is computed from the frame's spectrum."""


class Prosody(nn.Module):
    """Loudness, sign changes, voicing, harmonicity and pitch of each frame, from a longer window than the spectrum's.

    The pitch is the highest peak of the frame's autocorrelation, divided by the window's (Boersma, *Accurate short-term
    analysis of the fundamental frequency …*, Proc. IFA 17, 1993). His search for a path through the frames is left
    out, so each frame depends on its window alone. An unvoiced frame has a pitch too, the best guess, with a low
    voicing. The columns:

    ===== =============================================================
    0     level, dB full scale
    1     share of neighboring samples whose signs differ
    2     voicing: the peak's height, 0 … 1
    3     harmonics-to-noise ratio, ± 20 dB at most
    4     pitch, octaves above 100 Hz
    ===== =============================================================
    """

    size = 5
    table: Tensor
    lags: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.sampling_rate = settings.sampling_rate
        self.spectrum = SquaredSpectrum(PITCH_WINDOW, settings.hop, settings.remove_offset is True)
        bins = np.arange(PITCH_WINDOW // 2 + 1)
        # Lags between samples too: high voices' peaks are narrow, and would look lower than their octave's.
        longest, shortest = (settings.sampling_rate / hertz for hertz in (LOWEST_PITCH, HIGHEST_PITCH))
        lags = np.arange(2.0 * shortest, 2.0 * longest) / 2.0
        # Power → autocorrelation; every bin but the outermost counts for its mirror image too.
        waves = (
            np.cos(2 * np.pi * np.outer(bins, lags) / PITCH_WINDOW)
            * np.where(bins % (len(bins) - 1), 2.0, 1.0)[:, None]
        )
        window = hann(PITCH_WINDOW)
        overlap = np.correlate(window, window, "full")[len(window) - 1 :] / (window @ window)
        window_correlation = np.interp(lags, np.arange(len(window)), overlap)
        self.register_buffer("table", torch.tensor(waves / window_correlation, dtype=torch.float32), persistent=False)
        self.register_buffer("lags", torch.tensor(lags, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform (B, T) → (B, 1 + T // hop, 5), columns as in the class."""
        return joined(list(self.blocks(waveform)))

    def blocks(self, waveform: Tensor) -> Iterator[Tensor]:
        """Prosody (B, n, 5) of consecutive blocks of frames."""
        for frames in self.spectrum.blocks(waveform):
            squares = self.spectrum.squares(frames)
            changes = (frames[..., 1:] * frames[..., :-1] < 0).float().mean(dim=-1)
            power = self.spectrum.power(squares)
            yield torch.stack([decibels(power), changes, *self.periodicity(squares, power)], dim=-1)

    def periodicity(self, squares: Tensor, power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Squares (…, N + 2) and their power (…) → voicing, harmonics-to-noise ratio, pitch, each (…)."""
        bins, table = power_of_bins(squares, self.table)
        whole = (self.spectrum.energy * power)[..., None]  # the autocorrelation at lag 0
        similarity = (bins @ table) / whole.clamp(min=POWER_FLOOR)  # (…, lags)
        preferred = similarity - OCTAVE_COST * (self.lags / self.lags[0]).log2()
        peak = preferred[..., 1:-1].argmax(dim=-1, keepdim=True) + 1
        before, at, after = (similarity.gather(-1, peak + step).squeeze(-1) for step in (-1, 0, 1))
        # A parabola through three lags finds the peak between them.
        bend = (before - 2.0 * at + after).clamp(max=-1e-6)
        shift = (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
        lag = self.lags[peak.squeeze(-1)] + 0.5 * shift
        voicing = (at - 0.25 * (before - after) * shift).clamp(0.0, 1.0)
        sure = voicing.clamp(0.01, 0.99)
        ratio = 10.0 * (sure / (1.0 - sure)).log10()
        return voicing, ratio, (self.sampling_rate / lag / 100.0).log2()
