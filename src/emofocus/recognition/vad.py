"""Who of the frames is speech: decided frame by frame, without looking ahead, so that streams and files agree."""

import numpy as np
from numpy.typing import NDArray

FALL_DB = 0.5
"""Decibels a second by which the loudness that speech is compared with falls after a loud moment."""

FLOOR_DB = -65.0
"""Level in dB full scale below which nothing is speech."""

MIDDLE_SECONDS = 0.15
"""On either side of a segment's middle: where some frame must be speech for the segment to be."""


class EnergyVoice:
    """Frames that are near the loudness of what was heard before: the rule of `active_segments`, for streams.

    A frame is speech if it is within ``top_db`` of the loudest one before it, whose loudness falls by `FALL_DB` a
    second, and above `FLOOR_DB`.

    Args:
        top_db: Decibels below the loudest.
        frame_seconds: From frame to frame.
    """

    def __init__(self, top_db: float, frame_seconds: float) -> None:
        self.top_db, self.fall = top_db, FALL_DB * frame_seconds
        self.loudest = -np.inf

    def __call__(self, level: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Levels of the next frames (k,) in dB → whether each is speech (k,)."""
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

    A segment of two seconds that is centred on one word tells that word's emotion, though most of it is silence.

    Args:
        voiced: Of each frame (n,).
        starts: First frame of each segment (S,).
        lengths: Frames of each (S,).
        reach: Frames on either side of the middle that count.
    """
    total = np.concatenate([[0], np.cumsum(voiced)])
    middles = starts + lengths // 2
    first, last = np.maximum(middles - reach, starts), np.minimum(middles + reach + 1, starts + lengths)
    return np.asarray(total[last] > total[first])
