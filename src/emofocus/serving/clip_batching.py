"""Requests of all clients share the engine: what waits while it is busy is recognized together."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

from emofocus.audio.loading import SAMPLING_RATE, Waveform, check
from emofocus.errors import AudioError
from emofocus.recognition.bulk import LONGEST_SECONDS, recognize_together
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.serving.limits import Limits, Refusal

Result = TypeVar("Result")
Answers: TypeAlias = "asyncio.Future[list[Prediction | AudioError]]"

FIRST_SPEED = 50.0
"""Seconds of audio a second, until it has been measured."""


@dataclass
class _Job:
    waveform: Waveform
    recognizer: Recognizer
    seconds: float
    answer: "asyncio.Future[Prediction]" = field(repr=False)

    @property
    def short(self) -> bool:
        """Whether it is recognized together with others."""
        return self.seconds <= LONGEST_SECONDS


class Batcher:
    """Recognizes on a few threads; a clip's answer does not depend on its company, but for rounding.

    Nothing waits for others to come: a batch is what has gathered while the threads were busy.

    Args:
        limits: How much may wait.
        threads: That recognize; one a core by default.

    Attributes:
        waiting: Seconds of audio that wait or are being recognized.
        speed: Seconds of audio a second, all threads together, as of late.
    """

    def __init__(self, limits: Limits, threads: int | None = None) -> None:
        self.limits, self.threads = limits, threads or os.cpu_count() or 1
        self.waiting, self.speed = 0.0, FIRST_SPEED
        self._pool = ThreadPoolExecutor(self.threads, "recognize")
        self._jobs: deque[_Job] = deque()
        self._idle = self.threads

    async def recognize(self, recognizer: Recognizer, waveform: Waveform) -> Prediction:
        """What `Recognizer` makes of samples.

        Raises:
            Refusal: Too much waits (503), or there is nothing to recognize (422).
        """
        seconds = len(waveform) / SAMPLING_RATE
        self.admit(seconds)
        job = _Job(waveform, recognizer, seconds, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.waiting += seconds
        self._wake()
        return await job.answer

    def admit(self, seconds: float = 0.0) -> None:
        """Refuse audio (`Refusal`, 503) while too much waits; a single request is never too much by itself."""
        if self.waiting and self.waiting + seconds > self.limits.waiting_seconds:
            message = f"{self.waiting:.0f} s of audio wait already, of {self.limits.waiting_seconds:g} that may"
            raise Refusal(503, "busy", message, retry_after=self.waiting / self.speed)

    async def run(self, seconds: float, work: Callable[..., Result], *arguments: Any) -> Result:
        """Some other work on the same threads, on that many seconds of audio.

        Raises:
            Refusal: Too much waits (503).
        """
        self.admit(seconds)
        self.waiting += seconds
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._forget(seconds)

    def stop(self) -> None:
        """End the threads, once what they do is done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wake(self) -> None:
        """Start threads on what waits."""
        while self._idle and (batch := self._next()):
            self._idle -= 1
            done = asyncio.get_running_loop().run_in_executor(self._pool, _recognize, batch)
            done.add_done_callback(partial(self._done, batch, time.perf_counter()))

    def _next(self) -> list[_Job]:
        """The longest waiting job, and those behind it that can be recognized with it."""
        batch: list[_Job] = []
        while self._jobs:
            job = self._jobs[0]
            if job.answer.cancelled():  # its client has gone
                self._forget(self._jobs.popleft().seconds)
                continue
            fits = not batch or (job.short and job.recognizer is batch[0].recognizer)
            if not fits or len(batch) == job.recognizer.engine.batch:
                break
            batch.append(self._jobs.popleft())
            if not job.short:
                break
        return batch

    def _done(self, batch: list[_Job], began: float, future: Answers) -> None:
        self._idle += 1
        for job in batch:
            self._forget(job.seconds)
        self._measure(sum(job.seconds for job in batch), time.perf_counter() - began)
        error = future.exception() if not future.cancelled() else RuntimeError("the service ends")
        for number, job in enumerate(batch):
            if job.answer.done():
                continue
            if error is not None:
                job.answer.set_exception(error)
                continue
            result = future.result()[number]
            if isinstance(result, AudioError):
                job.answer.set_exception(Refusal(422, "nothing_to_recognize", str(result)))
            else:
                job.answer.set_result(result)
        self._wake()

    def _forget(self, seconds: float) -> None:
        self.waiting = max(0.0, self.waiting - seconds)

    def _measure(self, audio: float, taken: float) -> None:
        """Follow the speed, a tenth of the way at a time."""
        self.speed += 0.1 * (self.threads * audio / max(taken, 1e-6) - self.speed)


def _recognize(batch: list[_Job]) -> list[Prediction | AudioError]:
    """Each job's answer, or why there is none."""
    found: list[Prediction | AudioError | None] = [_refusal(job.waveform) for job in batch]
    good = [number for number, error in enumerate(found) if error is None]
    if good:
        recognizer = batch[0].recognizer
        waveforms = [batch[number].waveform for number in good]
        whole = [recognizer({"array": waveforms[0], "sampling_rate": SAMPLING_RATE})] if not batch[0].short else None
        for number, prediction in zip(good, whole or recognize_together(recognizer, waveforms), strict=True):
            found[number] = prediction
    return [item for item in found if item is not None]


def _refusal(waveform: Waveform) -> AudioError | None:
    try:
        check(waveform, "the given file")
    except AudioError as error:
        return error
    return None
