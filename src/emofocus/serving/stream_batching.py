"""Streams of all clients share the engine: what is asked for while it is busy runs together."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emofocus.recognition.engine import Array, Engine

ENCODED, CLASSIFIED = 16, 8
"""Streams whose new frames, or segments, are run together at most. On a core with AVX2 a segment takes 4.5 ms by
itself and 1.9 ms among eight, and a tenth of a second's frames 2.6 ms, nearly all of which many streams can share."""

Job: TypeAlias = "tuple[tuple[Any, ...], Future[Any]]"
"""Arguments, and where the answer goes."""

Jobs: TypeAlias = "deque[Job]"


class SharedEngine:
    """An engine as `StreamingRecognizer` needs it, for many threads at a time, each of which waits for its own answer.

    Nothing waits for others to come. Numbers are the engine's own, but for rounding.

    Args:
        engine: What runs.
        pool: Threads that run it.
    """

    def __init__(self, engine: Engine, pool: ThreadPoolExecutor) -> None:
        self._engine, self._pool = engine, pool
        self._to_encode: Jobs = deque()
        self._to_classify: Jobs = deque()
        self._lock = Lock()

    def encode(self, waveform: Array, lengths: NDArray[np.int64]) -> tuple[Array, Array]:
        """See `Engine.encode`; of one stream."""
        found: tuple[Array, Array] = self._ask(self._to_encode, self._encode, waveform, lengths)
        return found

    def classify(self, frames: Array) -> Array:
        """See `Engine.classify`."""
        found: Array = self._ask(self._to_classify, self._classify, frames)
        return found

    def _ask(self, jobs: Jobs, run: Callable[[], None], *arguments: Any) -> Any:
        answer: Future[Any] = Future()
        jobs.append((arguments, answer))
        self._pool.submit(run)
        return answer.result()

    def _taken(self, jobs: Jobs, fit: Callable[[Sequence[Job]], bool]) -> list[Job]:
        """The longest waiting job, and those behind it that fit to it; none if others took all of them."""
        found: list[Job] = []
        with self._lock:
            while jobs and (not found or fit([*found, jobs[0]])):
                found.append(jobs.popleft())
        return found

    def _encode(self) -> None:
        jobs = self._taken(self._to_encode, _like_each_other)
        with _Answering(jobs) as answers:
            if not jobs:
                return
            lengths = np.concatenate([lengths for (_, lengths), _ in jobs])
            rows = np.zeros((len(jobs), int(lengths.max())), np.float32)
            for row, ((waveform, _), _) in zip(rows, jobs, strict=True):
                row[: waveform.shape[1]] = waveform[0]
            encoded, level = self._engine.encode(rows, lengths)
            answers += [(encoded[number : number + 1], level[number : number + 1]) for number in range(len(jobs))]

    def _classify(self) -> None:
        jobs = self._taken(self._to_classify, _few_alike)
        with _Answering(jobs) as answers:
            if not jobs:
                return
            logits = self._engine.classify(np.concatenate([frames for (frames,), _ in jobs]))
            ends = np.cumsum([len(frames) for (frames,), _ in jobs])
            answers += np.split(logits, ends[:-1])


class _Answering:
    """Hands each job its answer at the end of the block, or what went wrong in it."""

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = jobs
        self._answers: list[Any] = []

    def __enter__(self) -> list[Any]:
        return self._answers

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        for number, (_, future) in enumerate(self._jobs):
            if error is None:
                future.set_result(self._answers[number])
            else:
                future.set_exception(error)
        return True


def _like_each_other(jobs: Sequence[Job]) -> bool:
    """Whether waveforms are few, and none mostly padding beside another."""
    lengths = [int(lengths[0]) for (_, lengths), _ in jobs]
    return len(jobs) <= ENCODED and max(lengths) <= 2 * min(lengths)


def _few_alike(jobs: Sequence[Job]) -> bool:
    """Whether segments are few, and of one length."""
    shapes = [frames.shape for (frames,), _ in jobs]
    return sum(rows for rows, *_ in shapes) <= CLASSIFIED and len({frames for _, frames, _ in shapes}) == 1
