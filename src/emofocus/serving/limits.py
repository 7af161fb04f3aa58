"""What a service allows its clients, and what a request that asks for more is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from emofocus.config import Count, Positive, Settings


class Limits(Settings, frozen=True, kw_only=True):
    """Bounds of everything that a stranger can send.

    Attributes:
        megabytes: Of a request's body.
        seconds: Of audio in a request.
        header_seconds: In which a connection must have sent a whole request's head.
        body_seconds: In which a body must have come.
        decode_seconds: Of processor time to decode a request, and twice as much of a clock's.
        decode_megabytes: Of memory to decode it, beyond what the decoder holds itself.
        waiting_seconds: Of audio that may wait to be recognized; further requests are told to come again.
        requests: That may be under way at a time, from being received to being answered.
        connections: At a time.
        rate: Requests a minute from one client, on average; a tenth of it may come at once.
        streams: At a time.
        stream_seconds: Of audio in a stream.
        idle_seconds: For which a stream may send nothing.
        drain_seconds: For which requests may go on after the service was told to end.
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
    """A request that is not answered.

    Attributes:
        status: Of HTTP.
        code: A word for programs.
        message: A sentence for people.
        retry_after: Seconds after which it may be worth another try.
    """

    status: int
    code: str
    message: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.message

    def headers(self) -> Mapping[str, str]:
        """That go with the answer."""
        found = {"Retry-After": str(max(1, round(self.retry_after)))} if self.retry_after is not None else {}
        return found | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})

    def to_dict(self) -> dict[str, dict[str, str]]:
        """The answer's body."""
        return {"error": {"code": self.code, "message": self.message}}
