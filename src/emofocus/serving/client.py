"""Client of `emofocus serve`: recognition by a service, with the answers of `Recognizer`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from emofocus.errors import EmofocusError, MissingExtraError
from emofocus.recognition.voice import VoiceProfile

try:
    import httpx
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import ClientConnection, connect
except ImportError as error:
    raise MissingExtraError(error.name or "httpx", "client") from error

MESSAGE_SAMPLES = 1 << 18
"""Samples at most in one message of a stream."""

BINARY = {"Content-Type": "application/octet-stream"}


class ServiceError(EmofocusError):
    """The service refused a request, or could not be reached.

    Attributes:
        status: HTTP status; 0 if there is none, as on a socket.
        code: A word for programs, such as ``too_large``.
        retry_after: Seconds after which another try may succeed; None if none will.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


@dataclass(frozen=True)
class Answer:
    """Emotion in one clip.

    Attributes:
        model: Name of the model.
        label: The likeliest emotion.
        confident: Whether its probability reaches the model's threshold.
        scores: Calibrated probability of each emotion.
        duration: Seconds.
        warnings: Faults of the recording.
        timeline: Start, end, label and scores of each segment; empty unless it was requested.
        listening: Attention of the model, lists by name as in the OpenAPI description; None unless it was requested.
        turns: Start, end, speaker, emotion, scores and more of each turn; empty unless `segments` were sent.
    """

    model: str
    label: str
    confident: bool
    scores: dict[str, float]
    duration: float
    warnings: tuple[str, ...]
    timeline: tuple[dict[str, Any], ...] = ()
    listening: dict[str, Any] | None = None
    turns: tuple[dict[str, Any], ...] = ()


class Client:
    """Connection to a service.

    Examples:
        >>> with Client("http://127.0.0.1:8000") as client:
        ...     client.recognize("clip.wav").label
        'happy'

    Args:
        url: Address of the service.
        token: Token from `emofocus tokens add`, if the service needs one.
        seconds: Time to wait for an answer.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None, seconds: float = 120.0) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=self.url, headers=self._headers, timeout=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """Models of the service: name, network, labels, threshold, license, explains, streams, adapts.

        Raises:
            ServiceError: The service refused, or cannot be reached.
        """
        models: list[dict[str, Any]] = self._request("GET", "/v1/models")["models"]
        return models

    def recognize(
        self,
        audio: str | Path | bytes,
        model: str | None = None,
        timeline: bool = False,
        explain: bool = False,
        voice: VoiceProfile | None = None,
        segments: str | Path | Iterable[Mapping[str, Any]] | None = None,
    ) -> Answer:
        """Recognize one clip.

        Args:
            audio: Path or bytes of a file.
            model: Name of a model; the service's first by default.
            timeline: Request the segments too.
            explain: Request the attention too.
            voice: Profile of the voice that speaks, which the service does not keep.
            segments: Who speaks when: a file (.rttm, .json, .srt, .vtt, .TextGrid or .csv), or mappings with start, end
                and perhaps speaker.

        Raises:
            ServiceError: The service refused, or cannot be reached.
            OSError: The file cannot be read.
        """
        body = audio if isinstance(audio, bytes) else Path(audio).read_bytes()
        query = {"timeline": timeline, "explain": explain} | ({"model": model} if model else {})
        content: dict[str, Any] = {"content": body, "headers": BINARY}
        parts: dict[str, Any] = {} if voice is None else {"voice": ("voice.json", voice.to_json())}
        if isinstance(segments, str | Path):
            parts["segments"] = Path(segments).name, Path(segments).read_bytes()
        elif segments is not None:
            parts["segments"] = "segments.json", json.dumps([dict(segment) for segment in segments])
        if parts:
            content = {"files": {"file": ("clip", body)} | parts}
        answer = self._request("POST", "/v1/recognize", params=query, **content)
        several = {name: tuple(answer.get(name) or ()) for name in ("warnings", "timeline", "turns")}
        return Answer(**answer | several)

    def stream(
        self,
        sampling_rate: int,
        model: str | None = None,
        hop: float = 0.1,
        voice: VoiceProfile | None = None,
        adapt: bool = False,
    ) -> "Stream":
        """Open a stream for live speech.

        Args:
            sampling_rate: Sampling rate of all samples, in hertz.
            model: Name of a model; the service's first by default.
            hop: Seconds from event to event.
            voice: Profile of the voice that speaks, which the service does not keep.
            adapt: Whether the stream adapts to the voice as it goes.

        Raises:
            ServiceError: The service refused, or cannot be reached.
        """
        query = httpx.QueryParams(rate=sampling_rate, format="float32", hop=hop, adapt=adapt)
        query = query.set("model", model) if model else query
        address = f"ws{self.url.removeprefix('http')}/v1/stream?{query}"
        try:
            return Stream(connect(address, additional_headers=self._headers), voice)
        except InvalidStatus as error:
            refused = error.response
            retry = refused.headers.get("Retry-After")
            raise _error_of(refused.status_code, bytes(refused.body or b""), retry) from error
        except OSError as error:
            raise ServiceError(0, "unreachable", f"{self.url}: {error}") from error

    def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request, with options of `httpx.Client.request`; return the answer's JSON."""
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServiceError(0, "unreachable", f"{self.url}: {error}") from error
        if not response.is_success:
            raise _error_of(response.status_code, response.content, response.headers.get("Retry-After"))
        answer: dict[str, Any] = response.json()
        return answer


class Stream:
    """Live speech: feed samples, then iterate over the events.

    Attributes:
        labels: Names of the emotions.
        profile: Profile of the voice, once a stream that adapts has ended; None before, or if no speech was heard.
    """

    def __init__(self, socket: ClientConnection, voice: VoiceProfile | None = None) -> None:
        self._socket = socket
        self.labels: tuple[str, ...] = tuple(self._next()["labels"])
        self.profile: VoiceProfile | None = None
        if voice is not None:
            self._socket.send(json.dumps({"type": "voice", "voice": json.loads(voice.to_json())}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def feed(self, samples: NDArray[Any]) -> None:
        """Send samples (T,), floats in [-1, 1]."""
        floats = np.asarray(samples, "<f4")
        for start in range(0, len(floats), MESSAGE_SAMPLES):
            self._socket.send(floats[start : start + MESSAGE_SAMPLES].tobytes())

    def finish(self) -> None:
        """End the stream; iterating then gives the remaining events."""
        self._socket.send(json.dumps({"type": "end"}))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the events, in the form of `Event.to_dict`, until the stream has ended.

        Raises:
            ServiceError: The service ended the stream with an error.
        """
        while (message := self._next())["type"] == "event":
            yield {name: value for name, value in message.items() if name != "type"}
        if message.get("voice") is not None:
            self.profile = VoiceProfile.parse(json.dumps(message["voice"]).encode())

    def _next(self) -> dict[str, Any]:
        try:
            message: dict[str, Any] = json.loads(self._socket.recv())
        except ConnectionClosed as error:
            raise ServiceError(0, "closed", "the service closed the stream") from error
        if message["type"] == "error":
            raise ServiceError(0, message["error"]["code"], message["error"]["message"])
        return message


def _error_of(status: int, body: bytes, retry_after: str | None) -> ServiceError:
    """The error of an answer with an error status."""
    try:
        error = json.loads(body)["error"]
        code, message = error["code"], error["message"]
    except (ValueError, KeyError, TypeError):
        code, message = "unknown", f"it answered {status}, and not as emofocus does"
    return ServiceError(status, code, message, float(retry_after) if retry_after else None)
