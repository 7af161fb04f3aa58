"""Sources of the emotions of live speech: a model in this process, or a service."""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from logging import getLogger
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from emofocus.errors import MissingExtraError
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.streaming import STREAM_HOP, Event, StreamingRecognizer

LOGGER = getLogger("emofocus.agents")

SEAM_SECONDS = 0.01
"""Chunks that follow each other within this time are one stream."""

WAITS = (0.5, 8.0)
"""Shortest and longest time between two attempts to reach a service, in seconds; each failure doubles it."""

CLOSE_SECONDS = 2.0
"""Time for which the end of a connection is waited for."""


class Heard(NamedTuple):
    """Emotion of one segment of speech.

    Attributes:
        start: Seconds on the clock of the listener.
        end: Seconds on the clock of the listener.
        scores: Probability of each emotion.
        speech: Whether there is speech, none of which was lost.
    """

    start: float
    end: float
    scores: dict[str, float]
    speech: bool


Deliver = Callable[[Heard], None]
"""Takes segments in order."""


class Source(Protocol):
    """Turns samples into segments of speech with their emotions."""

    deliver: Deliver

    @property
    def threshold(self) -> float | None:
        """Lowest probability of a confident emotion; None as long as it is not known."""

    async def feed(self, samples: NDArray[Any], sampling_rate: int, position: float) -> None:
        """Take the next samples (T,) or (channels, T), which begin at a position in seconds."""

    async def settle(self, position: float) -> None:
        """Wait until all segments up to a position in seconds, about, are delivered."""

    async def rest(self) -> list[Heard]:
        """Segments of speech that is too short to fill one, as if silence followed."""

    async def close(self) -> None:
        """End the stream and free what it holds."""


@cache
def shipped() -> Recognizer:
    """The shipped model, which all conversations of a process share."""
    return Recognizer.from_pretrained(threads=1)


def ignore(_: Heard) -> None:
    """Take a segment and do nothing."""


class LocalSource:
    """A `StreamingRecognizer` of this process, in a thread of its own, so that the agent's loop never waits for it.

    Args:
        recognizer: The model; None for the shipped one, which is loaded with the first samples.
        adapt: Whether the stream adapts to the voice as it goes, with a model that can.
        hop: Seconds from segment to segment.
    """

    def __init__(self, recognizer: Recognizer | None = None, adapt: bool = False, hop: float = STREAM_HOP) -> None:
        self._recognizer, self._adapt, self._hop = recognizer, adapt, hop
        self._pool = ThreadPoolExecutor(1, "emofocus")
        self._stream: StreamingRecognizer | None = None
        self._offset = self._next = 0.0
        self.deliver: Deliver = ignore

    @property
    def threshold(self) -> float | None:
        """Lowest probability of a confident emotion; None as long as no model is loaded."""
        return None if self._recognizer is None else self._recognizer.threshold

    async def feed(self, samples: NDArray[Any], sampling_rate: int, position: float) -> None:
        """Take the next samples, as in `Source.feed`; another rate or a gap begins another stream."""
        for heard in await self._in_thread(self._feed, samples, sampling_rate, position):
            self.deliver(heard)

    async def settle(self, position: float) -> None:
        """Return at once: segments are delivered before `feed` returns."""

    async def rest(self) -> list[Heard]:
        """Segments of speech that is too short to fill one, as in `Source.rest`."""
        return await self._in_thread(self._rest)

    async def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _feed(self, samples: NDArray[Any], sampling_rate: int, position: float) -> list[Heard]:
        stream = self._stream
        if stream is None or stream.sampling_rate != sampling_rate or abs(position - self._next) > SEAM_SECONDS:
            stream = self._stream = self._opened(sampling_rate)
            self._offset = position
        self._next = position + samples.shape[-1] / sampling_rate
        return [self._heard(event) for event in stream.feed(samples)]

    def _opened(self, sampling_rate: int) -> StreamingRecognizer:
        if self._recognizer is None:
            self._recognizer = shipped()
        return StreamingRecognizer(self._recognizer.for_stream(self._hop), sampling_rate, adapt=self._adapt)

    def _rest(self) -> list[Heard]:
        return [] if self._stream is None else [self._heard(event) for event in self._stream.copy().finish()]

    def _heard(self, event: Event) -> Heard:
        scores = dict(zip(event.labels, event.scores.tolist(), strict=True))
        times = self._offset + event.start, self._offset + event.end
        return Heard(*times, scores, event.speech and not event.damaged)

    async def _in_thread(self, work: Callable[..., list[Heard]], *arguments: Any) -> list[Heard]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


class ServiceSource:
    """The socket of `emofocus serve`, which is opened again whenever it breaks; speech meanwhile is not heard.

    Args:
        url: Address of the service, such as ``http://127.0.0.1:8000``.
        token: Token from `emofocus tokens add`, if the service needs one.
        model: Name of a model; the service's first by default.
        hop: Seconds from segment to segment.

    Raises:
        MissingExtraError: The package websockets is not installed.
    """

    def __init__(self, url: str, token: str | None = None, model: str | None = None, hop: float = STREAM_HOP) -> None:
        try:
            from websockets.asyncio.client import connect
        except ImportError as error:
            raise MissingExtraError("websockets", "client") from error
        self._connect, self._url = connect, url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._query = {"format": "pcm16", "hop": hop} | ({"model": model} if model else {})
        self._socket: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._rate, self._offset, self._next, self._hop = 0, 0.0, 0.0, hop
        self._wait, self._not_before = WAITS[0], 0.0
        self._reached = asyncio.Event()
        self._latest = 0.0
        self._threshold: float | None = None
        self.deliver: Deliver = ignore

    @property
    def threshold(self) -> float | None:
        """Lowest probability of a confident emotion; None before the service has told it."""
        return self._threshold

    async def feed(self, samples: NDArray[Any], sampling_rate: int, position: float) -> None:
        """Send the next samples, as in `Source.feed`; another rate, a gap or a broken socket begins another stream."""
        if sampling_rate != self._rate or abs(position - self._next) > SEAM_SECONDS:
            await self._hang_up()
        self._next = position + samples.shape[-1] / sampling_rate
        if self._socket is None and not await self._open(sampling_rate, position):
            return
        try:
            await self._socket.send(pcm16(samples).tobytes())
        except Exception as error:  # of the socket, the network and the system
            await self._lost(error)

    async def settle(self, position: float) -> None:
        """Wait for the last segment before a position; forever if the service has stopped answering."""
        while self._socket is not None and self._latest < position - 2 * self._hop:
            self._reached.clear()
            await self._reached.wait()

    async def rest(self) -> list[Heard]:
        """Nothing: a service cannot be asked for what a stream would say if it ended here."""
        return []

    async def close(self) -> None:
        """Close the socket."""
        await self._hang_up()

    async def _open(self, sampling_rate: int, position: float) -> bool:
        """Whether the service could be reached; it is not tried too often."""
        if time.monotonic() < self._not_before:
            return False
        address = f"ws{self._url.removeprefix('http')}/v1/stream?{urlencode(self._query | {'rate': sampling_rate})}"
        try:
            socket = await self._connect(address, additional_headers=self._headers, close_timeout=CLOSE_SECONDS)
            ready = await greeting(socket)
        except Exception as error:  # of the socket, the network, the system and the answer
            await self._lost(error)
            return False
        if self._wait > WAITS[0]:
            LOGGER.warning("%s: reached again at %.1f s", self._url, position)
        self._socket, self._wait, self._threshold = socket, WAITS[0], ready.get("threshold")
        self._rate, self._offset, self._latest = sampling_rate, position, position
        self._reader = asyncio.create_task(self._read(socket, position))
        return True

    async def _read(self, socket: Any, offset: float) -> None:
        """Deliver the segments of one connection until it ends."""
        try:
            async for text in socket:
                message = json.loads(text)
                if message["type"] != "event":
                    raise ConnectionError(str(message.get("error", {}).get("message", message)))
                start, end = offset + message["start"], offset + message["end"]
                self._latest = end
                self.deliver(Heard(start, end, message["scores"], message["speech"] and not message["damaged"]))
                self._reached.set()
            raise ConnectionError("the service closed the stream")
        except Exception as error:  # of the socket and of the answer
            if socket is self._socket:
                await self._lost(error)

    async def _lost(self, error: Exception) -> None:
        LOGGER.warning("%s: %s; tried again in %.1f s", self._url, error, self._wait)
        self._not_before = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, WAITS[1])
        await self._hang_up()

    async def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        self._reached.set()
        reader, self._reader = self._reader, None
        if reader is not None and reader is not asyncio.current_task():
            reader.cancel()
        if socket is not None:
            try:
                with suppress(Exception):  # it may be broken
                    await socket.close()
            finally:  # the agent may end while the service has not yet answered
                socket.transport.abort()


async def greeting(socket: Any) -> dict[str, Any]:
    """The first message of a service; the connection ends if it is another one, or if nobody waits for it any more.

    Raises:
        ConnectionError: The service refuses the stream.
    """
    try:
        ready: dict[str, Any] = json.loads(await socket.recv())
        if ready["type"] != "ready":
            raise ConnectionError(str(ready))
    except BaseException:
        socket.transport.abort()
        raise
    return ready


def pcm16(samples: NDArray[Any]) -> NDArray[np.int16]:
    """Samples (T,) or (channels, T), 16-bit integers or floats in [-1, 1] → one channel of 16-bit integers (T,)."""
    mono = samples if samples.ndim == 1 else samples.mean(axis=0)
    scaled = mono if samples.dtype == np.int16 else mono * 32_767
    return np.asarray(np.clip(np.rint(scaled), -32_768, 32_767), np.int16)
