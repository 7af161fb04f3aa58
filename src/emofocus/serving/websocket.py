"""WebSocket for live speech: clients send samples and get the events of `StreamingRecognizer`."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import checked_rate
from emofocus.errors import AudioError, EmofocusError, one_of
from emofocus.recognition.engine import Engine
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.streaming import STREAM_HOP, Event, StreamingRecognizer
from emofocus.serving.auth import PROTOCOL
from emofocus.serving.limits import Limits, Refusal
from emofocus.serving.metrics import Metrics
from emofocus.serving.stream_batching import SharedEngine
from emofocus.serving.voices import checked_profile

SampleType: TypeAlias = "np.dtype[Any]"

FORMATS: dict[str, SampleType] = {"pcm16": np.dtype("<i2"), "float32": np.dtype("<f4")}
"""Sample formats of a binary message: one channel, little-endian."""

RATES = (8_000, 192_000)
"""Lowest and highest sampling rate, in hertz."""

HOPS = (0.02, 10.0)
"""Shortest and longest time from event to event, in seconds."""

STREAM_THREADS = 32
"""Streams at most that work at the same time: twice as many as share a run of the engine."""

END, VOICE = "end", "voice"
"""Types of a client's texts: its last message, like the service's, and the profile of the voice that will speak."""

FLAGS = {"true": True, "false": False}
"""Spellings of a truth value in a query."""

GOING_AWAY, POLICY_VIOLATION, TOO_BIG = 1001, 1008, 1009
"""Codes that close a socket (RFC 6455, section 7.4)."""


class Streams:
    """All sockets of a service.

    Args:
        limits: Number and duration of streams.
        threads: Threads that run the engines.
        metrics: Counts the events.

    Attributes:
        open: Number of open sockets.
    """

    def __init__(self, limits: Limits, threads: int, metrics: Metrics) -> None:
        self.limits, self.metrics, self.open = limits, metrics, 0
        # The thread of a stream mostly waits for the engine, so streams need more threads than engines do.
        self._pool = ThreadPoolExecutor(max(1, min(limits.streams, STREAM_THREADS)), "stream")
        self._engine_pool = ThreadPoolExecutor(threads, "engine")
        self._engines: dict[Engine, SharedEngine] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def admit(self) -> None:
        """Check that another stream may be opened.

        Raises:
            Refusal: As many streams are open as are allowed (503).
        """
        if self.open >= self.limits.streams:
            message = f"{self.open} streams are open, of {self.limits.streams} that may be"
            raise Refusal(503, "busy", message, retry_after=5.0)

    async def serve(self, socket: WebSocket, recognizer: Recognizer) -> None:
        """Serve one socket until it is closed.

        Raises:
            Refusal: Too many streams are open (503), or the query has an invalid value (400).
        """
        self.admit()
        self.open += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            if recognizer.engine not in self._engines:
                self._engines[recognizer.engine] = SharedEngine(recognizer.engine, self._engine_pool)
            stream, sample_type = _open_stream(socket, recognizer, self._engines[recognizer.engine])
            await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", []) else None)
            await self._converse(socket, stream, sample_type)
        finally:
            self.open -= 1
            self._tasks.discard(task)

    async def stop(self) -> None:
        """Close all sockets, with a message to their clients, and end the threads."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._engine_pool.shutdown(wait=False)  # without cancel_futures: a stream may be waiting for an answer

    async def _converse(self, socket: WebSocket, stream: StreamingRecognizer, sample_type: SampleType) -> None:
        """Exchange messages until either side ends the stream, and close the socket with a reason if it fails."""
        try:
            await socket.send_text(json.dumps(_ready_message(stream)))
            message = await self._receive(socket, sample_type)
            if isinstance(message, bytes):
                stream = stream.with_voice(checked_profile(stream.recognizer, message))
                message = await self._receive(socket, sample_type)
            while message is not None:
                if isinstance(message, bytes):
                    raise Refusal(400, "bad_message", "a voice comes once, before the samples")
                await self._send(socket, await self._in_thread(stream.feed, message))
                if stream.seconds > self.limits.stream_seconds:
                    raise Refusal(413, "too_long", f"a stream may last {self.limits.stream_seconds:g} s; begin another")
                message = await self._receive(socket, sample_type)
            await self._send(socket, await self._in_thread(stream.finish))
            await socket.send_text(json.dumps(_end_message(stream)))
            await socket.close()
        except TimeoutError:
            refusal = Refusal(408, "idle", f"nothing came for {self.limits.idle_seconds:g} s")
            await _close(socket, POLICY_VIOLATION, refusal)
        except AudioError as error:
            await _close(socket, POLICY_VIOLATION, Refusal(422, "not_audio", str(error)))
        except Refusal as refusal:
            await _close(socket, TOO_BIG if refusal.status == 413 else POLICY_VIOLATION, refusal)
        except asyncio.CancelledError:
            await _close(socket, GOING_AWAY, Refusal(503, "ending", "the service ends"))
            raise
        except WebSocketDisconnect:
            return

    async def _receive(self, socket: WebSocket, sample_type: SampleType) -> NDArray[Any] | bytes | None:
        """The samples of the next message (T,), the JSON of a profile, or None if the client has ended the stream.

        Raises:
            Refusal: A message that is neither whole samples (422) nor a text of those that clients send (400).
            TimeoutError: No message came in time.
            WebSocketDisconnect: The client has gone.
        """
        message = await asyncio.wait_for(socket.receive(), self.limits.idle_seconds)
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        data = message.get("bytes")
        if data is None:
            return _profile_of(message.get("text") or "")
        if len(data) % sample_type.itemsize:
            size = sample_type.itemsize
            raise Refusal(422, "not_audio", f"a frame of {len(data)} bytes holds no whole samples of {size}")
        return np.frombuffer(data, sample_type)

    async def _in_thread(self, work: Callable[..., list[Event]], *arguments: Any) -> list[Event]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def _send(self, socket: WebSocket, events: list[Event]) -> None:
        for event in events:
            await socket.send_text(json.dumps({"type": "event"} | event.to_dict()))
        self.metrics.events.inc(len(events))


def _ready_message(stream: StreamingRecognizer) -> dict[str, Any]:
    """The service's first message: labels, threshold, sampling rate in hertz, and seconds from event to event."""
    config = stream.recognizer.config
    hop = round(config.segment.hop * config.features.hop / SAMPLING_RATE, 4)
    labels, threshold = list(stream.recognizer.labels), stream.recognizer.threshold
    return {"type": "ready", "labels": labels, "threshold": threshold, "rate": stream.sampling_rate, "hop": hop}


def _open_stream(
    socket: WebSocket, recognizer: Recognizer, engine: SharedEngine
) -> tuple[StreamingRecognizer, SampleType]:
    """The stream that a socket's query describes, and the type of its samples.

    Raises:
        Refusal: The query has an invalid value (400).
    """
    query = socket.query_params
    kind = query.get("format", "pcm16")
    if kind not in FORMATS:
        raise Refusal(400, "bad_value", f"unknown format {kind[:80]!r} ({one_of(FORMATS)})")
    rate = _number(query.get("rate", "16000"), "rate", *RATES)
    hop = _number(query.get("hop", str(STREAM_HOP)), "hop", *HOPS)
    flag = query.get("adapt", "false")
    if flag not in FLAGS:
        raise Refusal(400, "bad_value", f"adapt {flag[:80]!r} is not valid ({one_of(FLAGS)})")
    if rate != int(rate):
        raise Refusal(400, "bad_value", f"rate {rate:g} is no whole number of hertz")
    try:
        known = recognizer.for_stream(hop), checked_rate(int(rate))
        stream = StreamingRecognizer(*known, engine=engine, adapt=FLAGS[flag])
    except EmofocusError as error:
        raise Refusal(400, "bad_value", str(error)) from error
    return stream, FORMATS[kind]


def _number(text: str, name: str, least: float, most: float) -> float:
    """A number in a query.

    Raises:
        Refusal: The text is no number, or the number is out of range (400).
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise Refusal(400, "bad_value", f"{name} {text[:80]!r} is not valid (valid: {least:g} to {most:g})")
    return value


def _end_message(stream: StreamingRecognizer) -> dict[str, Any]:
    """The service's last message: the seconds of audio, and the voice's profile of a stream that adapts."""
    message: dict[str, Any] = {"type": END, "seconds": round(stream.seconds, 3)}
    if stream.adapts:
        message[VOICE] = None if stream.profile is None else json.loads(stream.profile.to_json())
    return message


def _profile_of(text: str) -> bytes | None:
    """JSON of the profile that a text message holds; None for the message that ends the stream.

    Raises:
        Refusal: Another message (400).
    """
    try:
        message = json.loads(text)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == VOICE:
            return json.dumps(message.get(VOICE)).encode()
    except (ValueError, RecursionError):
        kind = None
    if kind != END:
        raise Refusal(
            400,
            "bad_message",
            f'text may only be {{"type": "{END}"}}, and at first {{"type": "{VOICE}", "{VOICE}": …}}; samples come in '
            "binary frames",
        )
    return None


async def _close(socket: WebSocket, code: int, refusal: Refusal) -> None:
    """Send the reason and close the socket, if it is still open."""
    if socket.application_state != WebSocketState.CONNECTED:
        return
    try:
        await socket.send_text(json.dumps({"type": "error"} | refusal.to_dict()))
        await socket.close(code, refusal.code)
    except (RuntimeError, WebSocketDisconnect):
        return
