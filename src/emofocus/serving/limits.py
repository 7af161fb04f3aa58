"""Limits of what clients may ask for, and the refusal of a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from emofocus.config import Count, Positive, Settings


class Limits(Settings, frozen=True, kw_only=True):
    """Bounds of everything that an unknown client can send.

    Attributes:
        megabytes: Size of a request's body.
        seconds: Duration of the audio in a request.
        header_seconds: Time until a connection must have sent the head of a request.
        body_seconds: Time until a body must have arrived.
        decode_seconds: Processor time for decoding a request; twice as much time may pass on the clock.
        decode_megabytes: Memory for decoding a request, in addition to the decoder's own.
        waiting_seconds: Duration of all audio that waits to be recognized; further requests are refused with 503.
        requests: Number of requests under way at a time, from arrival to answer.
        connections: Number of connections at a time.
        rate: Requests a minute from one client, on average; a tenth of it may come at once.
        streams: Number of streams at a time.
        stream_seconds: Duration of the audio in a stream.
        idle_seconds: Time for which a stream may send nothing.
        drain_seconds: Time for which requests may go on after the service was told to end.
    """

    megabytes: Positive = 25.0
    seconds: Positive = 600.0
    header_seconds: Positive = 10.0
    body_seconds: Positive = 60.0
    decode_seconds: Positive = 20.0
    decode_megabytes: Positive = 512.0
    waiting_seconds: Positive = 600.0
    requests: Count = 128
    connections: Count = 512
    rate: Positive = 600.0
    streams: Annotated[int, Meta(ge=0)] = 50
    stream_seconds: Positive = 3600.0
    idle_seconds: Positive = 30.0
    drain_seconds: Positive = 30.0


@dataclass
class Refusal(Exception):  # noqa: N818  (an answer, not a fault of the service)
    """A request that is answered with an error status.

    Attributes:
        status: HTTP status.
        code: A word for programs, such as ``too_large``.
        message: A sentence for people.
        retry_after: Seconds after which another try may succeed; None if none will.
    """

    status: int
    code: str
    message: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.message

    def headers(self) -> Mapping[str, str]:
        """HTTP headers of the answer."""
        retry = {} if self.retry_after is None else {"Retry-After": str(max(1, round(self.retry_after)))}
        return retry | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})

    def to_dict(self) -> dict[str, dict[str, str]]:
        """Body of the answer."""
        return {"error": {"code": self.code, "message": self.message}}
