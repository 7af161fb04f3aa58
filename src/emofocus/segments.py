"""Segments of frames, and scores of utterances from those of segments: one rule for training and recognition.

Needs numpy only, because both halves of the project use it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.config import SegmentSettings


def segment_count(frames: int, settings: SegmentSettings) -> int:
    """Number of segments of an utterance, at least one."""
    return max(1, 1 + (frames - settings.frames) // settings.hop)


def active_segments(level: NDArray[np.float32], settings: SegmentSettings) -> NDArray[np.bool_]:
    """Whether each segment holds speech: at least half of its frames are within `top_db` of the loudest frame.

    Args:
        level: Level of each frame (n,), in dB.
        settings: Segment length, hop and `top_db`.

    Returns:
        One truth value for each segment (S,), of which at least one is true.
    """
    loud = np.concatenate([[0], np.cumsum(level >= level.max() - settings.top_db)])
    starts = np.arange(segment_count(len(level), settings)) * settings.hop
    ends = np.minimum(starts + settings.frames, len(level))
    share = (loud[ends] - loud[starts]) / (ends - starts)
    active: NDArray[np.bool_] = share >= min(0.5, float(share.max()))
    return active


def utterance_logits(logits: NDArray[np.float32], active: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean of the logits (S, C) over the active segments (S,): (C,)."""
    return np.asarray(logits[active].mean(axis=0), dtype=np.float32)


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities along the last axis of logits that are divided by a temperature above 0."""
    shifted = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def energy(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Energy log Σ exp(z) of logits along the last axis.

    Inputs unlike the training data mostly have less of it (Liu, Wang, Owens and Li, *Energy-based
    Out-of-distribution Detection*, NeurIPS 2020, who call its negative the energy).
    """
    values = np.asarray(logits, np.float64)
    top = values.max(axis=-1)
    return np.asarray(top + np.log(np.exp(values - top[..., None]).sum(axis=-1)))


def runs(held: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last position of each run of true values in an array (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]]).astype(np.int8))).reshape(-1, 2)
    return [(int(first), int(behind) - 1) for first, behind in edges]
