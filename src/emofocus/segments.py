"""How frames become segments and segments' scores an utterance's: one rule for training, recognizing and streams.

Needs numpy only, because both halves of the project use it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.config import SegmentSettings


def segment_count(frames: int, settings: SegmentSettings) -> int:
    """Segments of an utterance; one that is shorter than a segment still has one."""
    return max(1, 1 + (frames - settings.frames) // settings.hop)


def active_segments(level: NDArray[np.float32], settings: SegmentSettings) -> NDArray[np.bool_]:
    """Which segments hold speech: at least half of their frames are within `top_db` of the loudest frame.

    Args:
        level: Level of each frame (n,), in dB.
        settings: Segment length, hop and `top_db`.

    Returns:
        One truth value a segment (S,); never all false.
    """
    loud = np.concatenate([[0], np.cumsum(level >= level.max() - settings.top_db)])
    starts = np.arange(segment_count(len(level), settings)) * settings.hop
    ends = np.minimum(starts + settings.frames, len(level))
    share = (loud[ends] - loud[starts]) / (ends - starts)
    active: NDArray[np.bool_] = share >= min(0.5, float(share.max()))
    return active


def utterance_logits(logits: NDArray[np.float32], active: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean over the active segments: (S, C), (S,) → (C,)."""
    return np.asarray(logits[active].mean(axis=0), dtype=np.float32)


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities along the last axis, of logits divided by a temperature above 0."""
    shifted = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def energy(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """How much a network makes of an input: log Σ exp(z) of its logits along the last axis.

    Inputs that are unlike the training data mostly have less (Liu, Wang, Owens and Li, *Energy-based
    Out-of-distribution Detection*, NeurIPS 2020, who call its negative the energy).
    """
    values = np.asarray(logits, np.float64)
    top = values.max(axis=-1)
    return np.asarray(top + np.log(np.exp(values - top[..., None]).sum(axis=-1)))


def runs(held: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last position of each unbroken stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]]).astype(np.int8))).reshape(-1, 2)
    return [(int(first), int(behind) - 1) for first, behind in edges]
