"""A stream of any rate → 16 kHz mono, chunk by chunk, with a state that can be copied."""

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import Waveform

HISTORY_SECONDS = 0.5
"""Input that is kept to rebuild the resampler: many times what its filter spans."""


class StreamResampler:
    """soxr's stream resampler, which cannot be copied, with enough of its input to build it again.

    Args:
        rate: Sampling rate of the input in hertz.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        divisor = gcd(rate, SAMPLING_RATE)
        self._period, self._periodically = rate // divisor, SAMPLING_RATE // divisor  # samples in and out
        self._history: Waveform = np.zeros(0, np.float32)
        self._first = 0  # period that the history begins with
        self._given = 0  # samples
        self._early: Waveform = np.zeros(0, np.float32)
        self._start()

    def _start(self) -> None:
        import soxr

        same = self.rate == SAMPLING_RATE
        self._soxr: Any = (
            None if same else soxr.ResampleStream(self.rate, SAMPLING_RATE, 1, dtype="float32", quality="HQ")
        )
        self._made = self._first * self._periodically  # position of the resampler's next sample

    def __call__(self, chunk: Waveform, last: bool = False) -> Waveform:
        """Samples (T,) → as many 16 kHz samples as they allow (T',); all of them with the last chunk."""
        if self._soxr is None:
            self._given += len(chunk)
            return chunk
        self._remember(chunk)
        made = self._give(self._soxr.resample_chunk(np.ascontiguousarray(chunk, np.float32), last=last))
        early, self._early = self._early, self._early[:0]
        return np.concatenate([early, made])

    def _give(self, made: NDArray[np.float32]) -> Waveform:
        """The part of new output that was not given before."""
        fresh = made[max(0, self._given - self._made) :]
        self._made += len(made)
        self._given += len(fresh)
        return fresh

    def _remember(self, chunk: Waveform) -> None:
        self._history = np.concatenate([self._history, chunk])
        spare = int((len(self._history) - HISTORY_SECONDS * self.rate) // self._period)
        if spare > 0:
            self._history = self._history[spare * self._period :]
            self._first += spare

    def copy(self) -> "StreamResampler":
        """Another resampler that goes on from here."""
        other = StreamResampler(self.rate)
        other._history, other._first, other._given = self._history.copy(), self._first, self._given
        other._start()
        if other._soxr is not None and len(other._history):
            # soxr answers in blocks of its own, so that it may answer a little earlier this time.
            fresh = other._give(other._soxr.resample_chunk(other._history))
            other._early = np.concatenate([self._early, fresh])
        return other
