"""A client of `emofocus serve`: the same answers as `Recognizer`, from elsewhere."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from emofocus.errors import EmofocusError, MissingExtraError

try:
    import httpx
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import ClientConnection, connect
except ImportError as error:
    raise MissingExtraError(error.name or "httpx", "client") from error

LARGEST_FRAME = 1 << 18
"""Samples of a message."""

OCTETS = {"Content-Type": "application/octet-stream"}


class ServiceError(EmofocusError):
    """The service did not answer, and said why.

    Attributes:
        status: Of HTTP; 0 if it came on a socket.
        code: A word for programs.
        retry_after: Seconds after which another try may do; None if none will.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


@dataclass(frozen=True)
class Answer:
    """What was heard in one clip; `Prediction` says more of each.

    Attributes:
        listening: Where the model listened, if it was asked for: lists by name, as in the OpenAPI page.
        timeline: One entry a segment, if it was asked for: start, end, label, scores.
    """

    model: str
    label: str
    confident: bool
    scores: dict[str, float]
    duration: float
    warnings: tuple[str, ...]
    timeline: tuple[dict[str, Any], ...] = ()
    listening: dict[str, Any] | None = None


class Client:
    """Asks a service.

    >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     client.recognize("clip.wav").label
    'happy'

    Args:
        url: Where it listens.
        token: Of `emofocus tokens`, if it wants one.
        seconds: To wait for an answer.
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
        """End the connection."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """Which models may be asked: name, network, labels, threshold, license, explains, streams.

        Raises:
            ServiceError: It did not answer.
        """
        found: list[dict[str, Any]] = self._told(self._ask("GET", "/v1/models"))["models"]
        return found

    def recognize(
        self, audio: str | Path | bytes, model: str | None = None, timeline: bool = False, explain: bool = False
    ) -> Answer:
        """What is heard in one clip.

        Args:
            audio: A file's path, or its bytes.
            model: A name of `models`; the first by default.
            timeline: Also what was heard in each segment.
            explain: Also where the model listened.

        Raises:
            ServiceError: It refused; the message says why.
            OSError: The file cannot be read.
        """
        body = audio if isinstance(audio, bytes) else Path(audio).read_bytes()
        query = {"timeline": timeline, "explain": explain} | ({"model": model} if model else {})
        told = self._told(self._ask("POST", "/v1/recognize", content=body, params=query, headers=OCTETS))
        return Answer(**told | {"warnings": tuple(told["warnings"]), "timeline": tuple(told["timeline"] or ())})

    def stream(self, sampling_rate: int, model: str | None = None, hop: float = 0.1) -> "Stream":
        """Open a socket for live speech.

        Args:
            sampling_rate: Of all samples, in hertz.
            model: As in `recognize`.
            hop: Seconds from event to event.

        Raises:
            ServiceError: It refused.
        """
        query = httpx.QueryParams(rate=sampling_rate, format="float32", hop=hop)
        query = query.set("model", model) if model else query
        address = f"ws{self.url.removeprefix('http')}/v1/stream?{query}"
        try:
            return Stream(connect(address, additional_headers=self._headers))
        except InvalidStatus as error:
            response = error.response
            raise _error(
                response.status_code, bytes(response.body or b""), response.headers.get("Retry-After")
            ) from error
        except OSError as error:
            raise ServiceError(0, "unreachable", f"{self.url}: {error}") from error

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ServiceError(0, "unreachable", f"{self.url}: {error}") from error

    @staticmethod
    def _told(response: httpx.Response) -> dict[str, Any]:
        if response.is_success:
            told: dict[str, Any] = response.json()
            return told
        raise _error(response.status_code, response.content, response.headers.get("Retry-After"))


class Stream:
    """Live speech on its way: feed samples, and iterate over what was heard.

    Attributes:
        labels: Names of the emotions.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.labels: tuple[str, ...] = tuple(self._next()["labels"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def feed(self, samples: NDArray[Any]) -> None:
        """Send samples (T,), floats in [-1, 1]."""
        whole = np.asarray(samples, "<f4")
        for start in range(0, len(whole), LARGEST_FRAME):
            self._socket.send(whole[start : start + LARGEST_FRAME].tobytes())

    def finish(self) -> None:
        """Say that this was all; what is left is heard by iterating."""
        self._socket.send(json.dumps({"type": "end"}))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Events, as `Event.to_dict` gives them, until the stream has ended.

        Raises:
            ServiceError: The service ended it, and said why.
        """
        while (message := self._next())["type"] == "event":
            yield {name: value for name, value in message.items() if name != "type"}

    def _next(self) -> dict[str, Any]:
        try:
            message: dict[str, Any] = json.loads(self._socket.recv())
        except ConnectionClosed as error:
            raise ServiceError(0, "closed", "the service closed the stream") from error
        if message["type"] == "error":
            raise ServiceError(0, message["error"]["code"], message["error"]["message"])
        return message


def _error(status: int, body: bytes, retry_after: str | None) -> ServiceError:
    try:
        told = json.loads(body)["error"]
        code, message = told["code"], told["message"]
    except (ValueError, KeyError, TypeError):
        code, message = "unknown", f"it answered {status}, and not as emofocus does"
    return ServiceError(status, code, message, float(retry_after) if retry_after else None)
