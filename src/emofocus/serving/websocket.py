"""A socket for live speech: samples in, an event for each segment out, the same as `StreamingRecognizer`'s."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from emofocus.audio.loading import SAMPLING_RATE, checked_rate
from emofocus.errors import AudioError, EmofocusError, one_of
from emofocus.recognition.engine import Engine
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.streaming import STREAM_HOP, Event, StreamingRecognizer
from emofocus.serving.auth import PROTOCOL
from emofocus.serving.limits import Limits, Refusal
from emofocus.serving.metrics import Observer
from emofocus.serving.stream_batching import SharedEngine

FORMATS: dict[str, np.dtype[Any]] = {"pcm16": np.dtype("<i2"), "float32": np.dtype("<f4")}
"""Samples of a frame of the socket, one channel, little-endian."""

RATES = (8_000, 192_000)
"""Lowest and highest, in hertz."""

HOPS = (0.02, 10.0)
"""Shortest and longest time from event to event, in seconds."""

FEEDING = 32
"""Streams that are fed at a time: the most that can share a run of the engine."""

END = "end"

GOING_AWAY, WRONG, TOO_MUCH, BROKEN = 1001, 1008, 1009, 1011
"""Codes with which a socket is closed."""


class Streams:
    """All sockets of a service.

    Args:
        limits: How many, and how long.
        threads: That recognize.
        observer: Is told of events.

    Attributes:
        open: How many there are.
    """

    def __init__(self, limits: Limits, threads: int, observer: Observer) -> None:
        self.limits, self.observer, self.open = limits, observer, 0
        # A stream's thread mostly waits for the engine, whose threads are few.
        self._pool = ThreadPoolExecutor(max(1, min(limits.streams, FEEDING)), "stream")
        self._engine_pool = ThreadPoolExecutor(threads, "engine")
        self._shared: dict[Engine, SharedEngine] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def admit(self) -> None:
        """Refuse a stream (`Refusal`, 503) when there are as many as there may be."""
        if self.open >= self.limits.streams:
            message = f"{self.open} streams are open, of {self.limits.streams} that may be"
            raise Refusal(503, "busy", message, retry_after=5.0)

    async def serve(self, socket: WebSocket, recognizer: Recognizer) -> None:
        """One socket, from its acceptance to its end."""
        self.admit()
        self.open += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            if recognizer.engine not in self._shared:
                self._shared[recognizer.engine] = SharedEngine(recognizer.engine, self._engine_pool)
            stream, samples_of = _begin(socket, recognizer, self._shared[recognizer.engine])
            await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", []) else None)
            await self._converse(socket, stream, samples_of)
        finally:
            self.open -= 1
            self._tasks.discard(task)

    async def stop(self) -> None:
        """End all sockets, and tell their clients."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._engine_pool.shutdown(wait=False)  # a thread that waits for it gets its answer

    async def _converse(
        self, socket: WebSocket, stream: StreamingRecognizer, samples_of: Callable[[bytes], NDArray[Any]]
    ) -> None:
        labels, hop = list(stream.recognizer.labels), stream.recognizer.config.segment.hop
        seconds = round(hop * stream.recognizer.config.features.hop / SAMPLING_RATE, 4)
        try:
            ready = {"labels": labels, "rate": stream.sampling_rate, "hop": seconds}
            await socket.send_text(json.dumps({"type": "ready"} | ready))
            while True:
                message = await asyncio.wait_for(socket.receive(), self.limits.idle_seconds)
                if message["type"] == "websocket.disconnect":
                    return
                data = message.get("bytes")
                if data is None:
                    _check_end(message.get("text") or "")
                    break
                await self._send(socket, await self._work(stream.feed, samples_of(data)))
                if stream.seconds > self.limits.stream_seconds:
                    raise Refusal(413, "too_long", f"a stream may last {self.limits.stream_seconds:g} s; begin another")
            await self._send(socket, await self._work(stream.finish))
            await socket.send_text(json.dumps({"type": END, "seconds": round(stream.seconds, 3)}))
            await socket.close()
        except TimeoutError:
            await _end(socket, WRONG, Refusal(408, "idle", f"nothing came for {self.limits.idle_seconds:g} s"))
        except AudioError as error:
            await _end(socket, WRONG, Refusal(422, "not_audio", str(error)))
        except Refusal as refusal:
            await _end(socket, TOO_MUCH if refusal.status == 413 else WRONG, refusal)
        except asyncio.CancelledError:
            await _end(socket, GOING_AWAY, Refusal(503, "ending", "the service ends"))
            raise
        except WebSocketDisconnect:
            return

    async def _work(self, work: Callable[..., list[Event]], *arguments: Any) -> list[Event]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def _send(self, socket: WebSocket, events: list[Event]) -> None:
        for event in events:
            await socket.send_text(json.dumps({"type": "event"} | event.to_dict()))
        self.observer.events.inc(len(events))


def _begin(
    socket: WebSocket, recognizer: Recognizer, engine: SharedEngine
) -> tuple[StreamingRecognizer, Callable[[bytes], NDArray[Any]]]:
    """The stream that a socket's query asks for, and what makes samples of its frames.

    Raises:
        Refusal: A value that is not valid (400).
    """
    query = socket.query_params
    kind = query.get("format", "pcm16")
    if kind not in FORMATS:
        raise Refusal(400, "bad_value", f"unknown format {kind[:80]!r} ({one_of(FORMATS)})")
    rate = _number(query.get("rate", "16000"), "rate", *RATES)
    hop = _number(query.get("hop", str(STREAM_HOP)), "hop", *HOPS)
    if rate != int(rate):
        raise Refusal(400, "bad_value", f"rate {rate:g} is no whole number of hertz")
    try:
        own = Recognizer(recognizer.engine, recognizer.config, recognizer.threshold, hop)
        stream = StreamingRecognizer(own, checked_rate(int(rate)), engine=engine)
    except EmofocusError as error:
        raise Refusal(400, "bad_value", str(error)) from error
    return stream, lambda data: _samples(data, FORMATS[kind])


def _number(text: str, name: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise Refusal(400, "bad_value", f"{name} {text[:80]!r} is not valid (valid: {least:g} to {most:g})")
    return value


def _samples(data: bytes, kind: "np.dtype[Any]") -> NDArray[Any]:
    if len(data) % kind.itemsize:
        raise Refusal(422, "not_audio", f"a frame of {len(data)} bytes holds no whole samples of {kind.itemsize}")
    return np.frombuffer(data, kind)


def _check_end(text: str) -> None:
    """Text says that the stream has ended, and nothing else.

    Raises:
        Refusal: It says something else.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or told.get("type") != END:
        raise Refusal(400, "bad_message", f'text may only be {{"type": "{END}"}}; samples come in binary frames')


async def _end(socket: WebSocket, code: int, refusal: Refusal) -> None:
    """Say why, and close, if anybody is there."""
    if socket.application_state != WebSocketState.CONNECTED:
        return
    try:
        await socket.send_text(json.dumps({"type": "error"} | refusal.to_dict()))
        await socket.close(code, refusal.code)
    except (RuntimeError, WebSocketDisconnect):
        return
