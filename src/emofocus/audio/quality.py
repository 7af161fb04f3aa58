"""Faults of a recording, which are said beside its answer, because no probability reflects them.

Thresholds and what they are worth: `docs/limits.md`.
"""

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.notices import Notice
from emofocus.audio.samples import Waveform

SOFT_DB = -45.0
"""Full-scale level (dB) of the largest sample below which a recording is soft."""

CLIPPED_SHARE = 1e-3
"""Share of the samples in runs of `CLIPPED_RUN` at the largest value, above which a recording is clipped."""

CLIPPED_RUN = 4

NARROW_HERTZ, NARROW_DB = 6_200, -65.0
"""Frequency, and power above it over all power below which nothing is there: studio speech has -20 to -35 dB, what a
telephone or an MP3 of 16 kbit/s leaves less than -100."""

NOISY_DB = 20.0
"""Distance in dB between loud and soft frames (95 and 10 % of them), below which there is noise, or no pause."""

SPARSE_SHARE = 0.15
"""Share of frames within 40 dB of the loudest one, below which a recording is silence for the most part."""

OFFSET_SHARE = 3e-4
"""Mean of the samples, of full scale, above which a recording has a DC offset: 2 of 420 recordings of seven corpora
have more, and 3e-4 changes two answers of thirty of a model whose features keep it."""

OFFSET_ERRORS = 4.0
"""Standard errors of the mean, as independent samples have them, that an offset passes too: loud noise has a mean."""

LEAST_FRAMES = 50
"""Fewest frames among which loud and soft ones are compared."""

SPECTRUM = 1024
"""Samples of a transform."""

LOOKS = 64
"""Transforms of a block, evenly spread: the treble needs no more."""


class Quality:
    """Watches a recording block by block."""

    def __init__(self) -> None:
        self.samples = self.clipped = 0
        self.peak = 0.0
        self.lowest = self.highest = 0.0
        self._sum = self._squares = 0.0
        self._power = np.zeros(SPECTRUM // 2 + 1)
        self._window = np.hanning(SPECTRUM).astype(np.float32)

    def feed(self, block: Waveform) -> None:
        """Take samples."""
        if not len(block):
            return
        size = np.abs(block)
        top = float(size.max())
        if top > 1.001 * self.peak:  # earlier runs were not at the largest value of all
            self.peak, self.clipped = top, 0
        if top >= 0.999 * self.peak:
            self.clipped += _in_runs(size >= 0.999 * self.peak, CLIPPED_RUN)
        lowest, highest = float(block.min()), float(block.max())
        self.lowest = min(lowest, self.lowest) if self.samples else lowest
        self.highest = max(highest, self.highest) if self.samples else highest
        self._sum += float(block.sum(dtype=np.float64))
        self._squares += float(np.dot(block, block))
        self.samples += len(block)
        if len(block) < SPECTRUM:
            return
        # No np.unique here, and no np.quantile below: they load numpy.ma, 16 ms of every start.
        starts = sorted({int(start) for start in np.linspace(0, len(block) - SPECTRUM, LOOKS)})
        looks = np.lib.stride_tricks.sliding_window_view(block, SPECTRUM)[starts] * self._window  # (LOOKS, SPECTRUM)
        spectra = np.fft.rfft(looks)
        self._power += (spectra.real**2 + spectra.imag**2).sum(axis=0)

    @property
    def swing(self) -> float:
        """Half of the distance from the lowest to the highest sample: the peak of what is not a DC offset."""
        return (self.highest - self.lowest) / 2

    @property
    def offset(self) -> float:
        """Mean of the samples."""
        return self._sum / max(1, self.samples)

    @property
    def has_offset(self) -> bool:
        """Whether the mean of the samples is no chance."""
        error = max(self._squares / max(1, self.samples) - self.offset**2, 0.0) ** 0.5 / max(1, self.samples) ** 0.5
        return bool(abs(self.offset) > max(OFFSET_SHARE, OFFSET_ERRORS * error))

    def notices(self, level: NDArray[np.float32], offset_removed: bool = False) -> tuple[Notice, ...]:
        """Faults of the whole recording.

        Args:
            level: Level of each frame (n,), dB full scale.
            offset_removed: Whether the model's features, and so levels, are without a DC offset.
        """
        found: list[Notice] = []
        shifted = not offset_removed and self.has_offset
        if shifted:  # levels are the offset's then, and say nothing of noise or pauses
            found.append(
                Notice("offset", f"the mean of the samples is {self.offset:.2%} of full scale, which changes answers")
            )
        peak = 20 * np.log10(max(self.peak, 1e-9))
        if peak < SOFT_DB:
            found.append(Notice("soft", f"its largest sample is at {peak:.0f} dB full scale"))
        share = self.clipped / max(1, self.samples)
        if share > CLIPPED_SHARE:
            found.append(Notice("clipped", f"{share:.1%} of the samples are cut off at the largest value"))
        band = self.treble
        if band is not None and band < NARROW_DB:
            found.append(Notice("narrow", "nothing above 6 kHz, as on a telephone or after strong compression"))
        if len(level) >= LEAST_FRAMES and not shifted:
            places = np.array([0.95, 0.1]) * (len(level) - 1)
            loud, soft = np.interp(places, np.arange(len(level)), np.sort(level))
            if loud - soft < NOISY_DB:
                found.append(Notice("noisy", f"{loud - soft:.0f} dB between loud and soft moments; noise, or no pause"))
            active = float(np.mean(level >= level.max() - 40.0))
            if active < SPARSE_SHARE:
                found.append(Notice("sparse", f"{active:.0%} of it is near its loudest"))
        return tuple(found)

    @property
    def treble(self) -> float | None:
        """Power above `NARROW_HERTZ` over all power, in dB; None of silence and of less than a transform."""
        whole = float(self._power.sum())
        if whole <= 0:
            return None
        first = round(NARROW_HERTZ / SAMPLING_RATE * SPECTRUM)
        return float(10 * np.log10(max(float(self._power[first:].sum()) / whole, 1e-12)))


def _in_runs(held: NDArray[np.bool_], length: int) -> int:
    """True values that stand in runs of at least a length."""
    places = np.flatnonzero(held)  # mostly few
    ends = np.flatnonzero(np.diff(places, append=places[-1:] + 2) > 1)
    sizes = np.diff(ends, prepend=-1)
    return int(sizes[sizes >= length].sum())
