"""Voice activity of frames, decided without look-ahead, so that streams and files agree."""

import numpy as np
from numpy.typing import NDArray

FALL_DB = 0.5
"""Decibels by which the reference loudness falls each second after a loud moment."""

FLOOR_DB = -65.0
"""Level in dB full scale below which nothing is speech."""

MIDDLE_SECONDS = 0.15
"""Seconds on either side of a segment's middle in which a frame must be speech for the segment to count as speech."""


class EnergyVoice:
    """Voice activity by level: the rule of `active_segments` for streams.

    A frame is speech if it is above `FLOOR_DB` and within ``top_db`` of the reference, the loudest frame so far, which
    falls by `FALL_DB` a second.

    Args:
        top_db: Decibels below the reference.
        frame_seconds: Seconds from frame to frame.
    """

    def __init__(self, top_db: float, frame_seconds: float) -> None:
        self.top_db, self.fall = top_db, FALL_DB * frame_seconds
        self.loudest = -np.inf

    def __call__(self, level: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each of the next frames is speech (k,), by their levels (k,) in dB."""
        if not len(level):
            return np.zeros(0, bool)
        falls = self.fall * np.arange(1, len(level) + 1)
        # The falling maximum is a plain one of levels that are raised by how long ago they were.
        raised = np.maximum.accumulate(level.astype(np.float64) + falls)
        reference = np.maximum(raised, self.loudest) - falls
        self.loudest = float(reference[-1])
        return np.asarray(level >= np.maximum(reference - self.top_db, FLOOR_DB))


def voiced_segments(
    voiced: NDArray[np.bool_], starts: NDArray[np.int64], lengths: NDArray[np.int64], reach: int
) -> NDArray[np.bool_]:
    """Whether there is speech around the middle of each segment.

    A segment of two seconds with one word in its middle has that word's emotion, though most of it is silence.

    Args:
        voiced: Whether each frame is speech (n,).
        starts: First frame of each segment (S,).
        lengths: Number of frames of each segment (S,).
        reach: Number of frames on either side of the middle that count.
    """
    total = np.concatenate([[0], np.cumsum(voiced)])
    middles = starts + lengths // 2
    first, last = np.maximum(middles - reach, starts), np.minimum(middles + reach + 1, starts + lengths)
    return np.asarray(total[last] > total[first])
