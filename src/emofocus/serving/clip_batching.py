"""Recognition of whole clips for all clients, in batches that share the engine."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from emofocus.audio.loading import SAMPLING_RATE, check
from emofocus.audio.samples import Waveform
from emofocus.errors import AudioError
from emofocus.recognition.bulk import LONGEST_SECONDS, recognize_together
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.serving.batching import DynamicBatcher
from emofocus.serving.limits import Limits, Refusal

Value = TypeVar("Value")

FIRST_SPEED = 50.0
"""Seconds of audio a second that are assumed before the first measurement."""

SPEED_UPDATE = 0.1
"""Share of the newest measurement in the moving average of the speed."""


@dataclass(frozen=True)
class Clip:
    """A clip to recognize.

    Attributes:
        waveform: Samples at 16 kHz (T,).
        recognizer: The model to use.
    """

    waveform: Waveform
    recognizer: Recognizer

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.waveform) / SAMPLING_RATE

    @property
    def short(self) -> bool:
        """Whether it may share a batch; longer clips are recognized alone, block by block."""
        return self.seconds <= LONGEST_SECONDS


class ClipBatcher:
    """Recognizes clips on a few threads; other clips in a batch change an answer by rounding errors at most.

    Args:
        limits: How much audio may wait.
        threads: Number of threads; one per core by default.

    Attributes:
        speed: Seconds of audio per second of all threads together, a moving average.
    """

    def __init__(self, limits: Limits, threads: int | None = None) -> None:
        self.limits, self.threads, self.speed = limits, threads or os.cpu_count() or 1, FIRST_SPEED
        self._samples, self._lock = 0, Lock()
        self._pool = ThreadPoolExecutor(self.threads, "recognize")
        self._batcher = DynamicBatcher(self._pool, self._recognize, _fits)

    @property
    def waiting(self) -> float:
        """Seconds of audio that wait or are being recognized."""
        return self._samples / SAMPLING_RATE

    async def recognize(self, recognizer: Recognizer, waveform: Waveform) -> Prediction:
        """Recognize a clip, samples at 16 kHz (T,).

        Raises:
            Refusal: Too much audio waits (503), or the clip holds nothing to recognize (422).
        """
        self.admit(len(waveform) / SAMPLING_RATE)
        answer = await self._answer(self._batcher.submit(Clip(waveform, recognizer)), len(waveform))
        if isinstance(answer, AudioError):
            raise Refusal(422, "nothing_to_recognize", str(answer))
        return answer

    async def run(self, waveform: Waveform, work: Callable[..., Value], *arguments: Any) -> Value:
        """Run other work on a clip, on the same threads.

        Raises:
            Refusal: Too much audio waits (503).
        """
        self.admit(len(waveform) / SAMPLING_RATE)
        return await self._answer(self._pool.submit(work, *arguments), len(waveform))

    def admit(self, seconds: float = 0.0) -> None:
        """Check that a clip may wait; one that nothing waits before is always admitted.

        Raises:
            Refusal: Too much audio waits (503).
        """
        waiting = self.waiting
        if waiting and waiting + seconds > self.limits.waiting_seconds:
            message = f"{waiting:.0f} s of audio wait already, of {self.limits.waiting_seconds:g} that may"
            raise Refusal(503, "busy", message, retry_after=waiting / self.speed)

    def stop(self) -> None:
        """End the threads after their present work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, answer: "Future[Value]", samples: int) -> Value:
        """Wait for an answer, and count the clip's samples until it is there, even if its client goes before."""
        self._count(samples)
        answer.add_done_callback(lambda _: self._count(-samples))
        return await asyncio.wrap_future(answer)

    def _count(self, samples: int) -> None:
        with self._lock:
            self._samples += samples

    def _recognize(self, clips: Sequence[Clip]) -> Sequence[Prediction | AudioError]:
        began = time.perf_counter()
        answers = _predictions(clips)
        speed = self.threads * sum(clip.seconds for clip in clips) / max(time.perf_counter() - began, 1e-6)
        with self._lock:
            self.speed += SPEED_UPDATE * (speed - self.speed)
        return answers


def _fits(batch: Sequence[Clip], clip: Clip) -> bool:
    """Whether a clip may join a batch: short clips for one model, as many as the engine takes."""
    first = batch[0]
    same = clip.recognizer is first.recognizer and clip.short and first.short
    return same and len(batch) < first.recognizer.engine.batch


def _predictions(clips: Sequence[Clip]) -> list[Prediction | AudioError]:
    """Each clip's prediction, or the reason why it has none."""
    answers: list[Prediction | AudioError | None] = [_check(clip) for clip in clips]
    good = [number for number, error in enumerate(answers) if error is None]
    if good:
        for number, prediction in zip(good, _recognize_good([clips[number] for number in good]), strict=True):
            answers[number] = prediction
    return [answer for answer in answers if answer is not None]


def _recognize_good(clips: Sequence[Clip]) -> list[Prediction]:
    recognizer, waveforms = clips[0].recognizer, [clip.waveform for clip in clips]
    if clips[0].short:
        return recognize_together(recognizer, waveforms)
    return [recognizer({"array": waveform, "sampling_rate": SAMPLING_RATE}) for waveform in waveforms]


def _check(clip: Clip) -> AudioError | None:
    try:
        check(clip.waveform, "the given file")
    except AudioError as error:
        return error
    return None
