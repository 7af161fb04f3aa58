"""A listener beside a conversation: it takes the user's audio as it comes, and tells the emotion of a turn."""

import asyncio
from collections import deque
from contextlib import suppress
from logging import getLogger
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.agents.sources import Heard, LocalSource, Source
from emofocus.errors import AudioError, EmofocusError
from emofocus.recognition.options import check_threshold
from emofocus.recognition.turns.turn import Turn, TurnEmotion

LOGGER = getLogger("emofocus.agents")

KEPT_SECONDS = 60.0
"""Speech that is remembered: the last minute of a turn counts."""

MOST_WAITING = 10.0
"""Seconds of audio that may wait to be heard. If more wait, some are left out, and the clock goes on."""

PATIENCE = 0.5
"""Seconds for which the emotion of a turn is waited for at most, because the agent has to answer."""


class TurnListener:
    """Hears the user of a voice agent.

    Feeding never waits, and never fails: an agent talks on when its ear does not work. Faults are logged.

    Args:
        source: The model, in this process or in a service; by default the shipped one in this process.
        minimum: Lowest probability of an emotion that counts as confident, 0 to 1; None for the model's threshold.
        patience: Longest time in seconds for which `emotion` waits for audio that was fed and is not heard yet.

    Raises:
        ConfigError: The minimum is no probability.
    """

    def __init__(self, source: Source | None = None, minimum: float | None = None, patience: float = PATIENCE) -> None:
        if minimum is not None:
            check_threshold(minimum)
        self._source: Source = source or LocalSource()
        self._source.deliver = self._take
        self._minimum, self._patience = minimum, patience
        self._heard: deque[Heard] = deque()
        self._waiting: asyncio.Queue[tuple[NDArray[Any], int, float]] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._waiting_seconds = 0.0
        self.seconds = 0.0

    def feed(self, samples: NDArray[Any], sampling_rate: int) -> None:
        """Take the next samples of the user.

        Args:
            samples: (T,) or (channels, T), 16-bit integers or floats in [-1, 1].
            sampling_rate: Samples a second.
        """
        length, position = samples.shape[-1] / sampling_rate, self.seconds
        self.seconds += length
        if self._waiting_seconds > MOST_WAITING:
            return  # the next chunk that is taken begins another stream
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        self._waiting_seconds += length
        self._waiting.put_nowait((samples, sampling_rate, position))

    async def emotion(self, start: float = 0.0, end: float | None = None) -> TurnEmotion:
        """The emotion of a turn.

        Args:
            start: Seconds of audio that had been fed when the turn began.
            end: Seconds of audio that had been fed when it ended; None for all.

        Returns:
            Mean scores of all segments in which there is speech, weighted by their time in the turn. Without any, the
            turn has an error instead of an emotion.
        """
        end = self.seconds if end is None else end
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self._waiting.join()
                await self._source.settle(end)
        turn = Turn(round(start, 3), round(max(start, end), 3))
        parts = overlapping(self._heard, turn)
        if not parts:
            parts = await self._short(turn)
        if not parts:
            return TurnEmotion(turn, error=AudioError("the turn: no speech was heard in it"))
        return self._mean(turn, parts)

    async def close(self) -> None:
        """End the listening."""
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
            self._worker = None
        await self._source.close()

    async def _work(self) -> None:
        while True:
            samples, rate, position = await self._waiting.get()
            try:
                await self._source.feed(samples, rate, position)
            except EmofocusError as error:
                LOGGER.error("no emotion is heard: %s", error)
            except Exception:  # of the engine: the agent goes on without an ear
                LOGGER.exception("no emotion is heard")
            finally:
                self._waiting_seconds -= samples.shape[-1] / rate
                self._waiting.task_done()

    def _take(self, heard: Heard) -> None:
        self._heard.append(heard)
        while self._heard[0].end < heard.end - KEPT_SECONDS:
            self._heard.popleft()

    async def _short(self, turn: Turn) -> list[tuple[float, Heard]]:
        """Segments of a turn that is too short to fill one."""
        try:
            return overlapping(await self._source.rest(), turn)
        except EmofocusError as error:
            LOGGER.error("no emotion is heard: %s", error)
            return []

    def _mean(self, turn: Turn, parts: list[tuple[float, Heard]]) -> TurnEmotion:
        labels = list(parts[0][1].scores)
        weights = np.array([weight for weight, _ in parts])
        scores = np.array([[heard.scores[label] for label in labels] for _, heard in parts])
        mean = weights @ scores / weights.sum()
        found = {label: round(float(score), 6) for label, score in zip(labels, mean, strict=True)}
        emotion = labels[int(mean.argmax())]
        least = self._source.threshold if self._minimum is None else self._minimum
        return TurnEmotion(turn, emotion, found, found[emotion] >= (1.0 if least is None else least))


def overlapping(heard: "deque[Heard] | list[Heard]", turn: Turn) -> list[tuple[float, Heard]]:
    """Segments of speech that share time with a turn, and how many seconds they share."""
    shared = ((min(part.end, turn.end) - max(part.start, turn.start), part) for part in heard if part.speech)
    return [(seconds, part) for seconds, part in shared if seconds > 0]


def spoken(emotion: TurnEmotion) -> str:
    """A sentence about a turn for a language model."""
    return f"The user's voice sounds {emotion.emotion} ({emotion.probability:.0%} sure)."
