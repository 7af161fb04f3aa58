"""An engine that the streams of all clients share: runs that they ask for at the same time become one batch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emofocus.recognition.engine import Array, Engine, Voice
from emofocus.serving.batching import DynamicBatcher

ENCODE_BATCH = 16
"""Streams at most whose new frames are encoded together. On a core with AVX2, a tenth of a second's frames of one
stream take 2.6 ms, nearly all of which many streams can share."""

CLASSIFY_BATCH = 8
"""Segments at most that are classified together. On the same core a segment takes 4.5 ms alone and 1.9 ms among
eight."""

LENGTH_RATIO = 2
"""Longest waveform of a batch relative to its shortest; more would be computed on padding."""


class Samples(NamedTuple):
    """New samples of one stream.

    Attributes:
        waveform: (1, T).
        lengths: (1,).
    """

    waveform: Array
    lengths: NDArray[np.int64]


class Segments(NamedTuple):
    """Segments of encoded frames (S, m, D), and the voice that speaks in them."""

    frames: Array
    voice: Voice | None


class SharedEngine:
    """A `StreamEngine` for many threads, each of which waits for its own answer.

    Numbers equal the engine's own within rounding errors.

    Args:
        engine: The engine to share.
        pool: Threads that run it.
    """

    def __init__(self, engine: Engine, pool: ThreadPoolExecutor) -> None:
        self._engine, self._pool = engine, pool
        self._encoder = DynamicBatcher(pool, self._encode, _fits_samples)
        self._classifier = DynamicBatcher(pool, self._classify, _fits_segments)

    def encode(self, waveform: Array, lengths: NDArray[np.int64]) -> tuple[Array, Array]:
        """Encode the samples of one stream, as `Engine.encode` does."""
        return self._encoder.submit(Samples(waveform, lengths)).result()

    def classify(self, frames: Array, voice: Voice | None = None) -> Array:
        """Classify segments of one stream, as `Engine.classify` does."""
        return self._classifier.submit(Segments(frames, voice)).result()

    def classify_and_measure(self, frames: Array, voice: Voice | None = None) -> tuple[Array, Array]:
        """Classify and measure a segment of one stream, as the engine does: a voice of its own shares no run."""
        return self._pool.submit(self._engine.classify_and_measure, frames, voice).result()

    def _encode(self, batch: Sequence[Samples]) -> list[tuple[Array, Array]]:
        lengths = np.concatenate([item.lengths for item in batch])
        rows = np.zeros((len(batch), int(lengths.max())), np.float32)
        for row, item in zip(rows, batch, strict=True):
            row[: item.waveform.shape[1]] = item.waveform[0]
        encoded, level = self._engine.encode(rows, lengths)
        return [(encoded[number : number + 1], level[number : number + 1]) for number in range(len(batch))]

    def _classify(self, batch: Sequence[Segments]) -> list[Array]:
        logits = self._engine.classify(np.concatenate([item.frames for item in batch]), batch[0].voice)
        return np.split(logits, np.cumsum([len(item.frames) for item in batch])[:-1])


def _fits_samples(batch: Sequence[Samples], samples: Samples) -> bool:
    """Whether the batch stays small and of similar lengths."""
    lengths = [int(item.lengths[0]) for item in (*batch, samples)]
    return len(lengths) <= ENCODE_BATCH and max(lengths) <= LENGTH_RATIO * min(lengths)


def _fits_segments(batch: Sequence[Segments], segments: Segments) -> bool:
    """Whether the batch stays small, and of one voice and segments of one length."""
    first = batch[0]
    count = sum(len(item.frames) for item in (*batch, segments))
    same = segments.voice is first.voice and segments.frames.shape[1] == first.frames.shape[1]
    return count <= CLASSIFY_BATCH and same
