"""Access control: tokens, host names, origins of pages, and request rates."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from emofocus.serving.limits import Limits, Refusal
from emofocus.serving.tokens import Tokens

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names and addresses of this machine for itself."""

CLIENTS = 10_000
"""Clients whose requests are counted; beyond that, the one that has been silent longest is dropped."""

WRONG_TOKENS = 20
"""Wrong tokens a minute from one address; further ones are not looked up. Tokens cannot be guessed, but guesses cost
work."""

PROTOCOL, BEARER = "emofocus", "bearer."
"""Subprotocols of a browser's socket, which cannot send an Authorization header: the service's own, and the prefix of
the one that carries the token."""


class RateLimiter:
    """A token bucket for each client; a tenth of a minute's requests may come at once.

    Args:
        per_minute: Requests a minute from one client, on average.
    """

    def __init__(self, per_minute: float) -> None:
        self.per_second, self.capacity = per_minute / 60.0, max(1.0, per_minute / 10.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float | None = None) -> float:
        """Count a request.

        Args:
            client: Any name of the client.
            now: Seconds of a monotonic clock; the system's by default.

        Returns:
            0 if the request is allowed, otherwise the seconds until the next one is.
        """
        now = time.monotonic() if now is None else now
        level, updated = self._buckets.pop(client, (self.capacity, now))
        level = min(self.capacity, level + (now - updated) * self.per_second)
        allowed = level >= 1.0
        self._buckets[client] = (level - 1.0 if allowed else level, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - level) / self.per_second


class AccessControl:
    """Decides which requests the service answers.

    Args:
        limits: Request rates.
        tokens: Valid tokens; None admits everybody.
        hosts: Host names of the service. An empty sequence admits any name, so a token must then protect the service.
        origins: Origins of other pages that may use the service, such as https://example.org.
    """

    def __init__(
        self, limits: Limits, tokens: Tokens | None, hosts: Sequence[str] = (), origins: Sequence[str] = ()
    ) -> None:
        self.tokens, self.hosts, self.origins = tokens, frozenset(hosts), frozenset(origins)
        self._requests, self._wrong_tokens = RateLimiter(limits.rate), RateLimiter(WRONG_TOKENS)

    def admit(self, connection: HTTPConnection) -> str:
        """Check a request or a socket.

        Returns:
            The client: the owner of the token, or the address where no token is needed.

        Raises:
            Refusal: Another host name (421) or origin (403), a missing or wrong token (401), or too many requests
                (429).
        """
        self.check_origin(connection)
        address = connection.client.host if connection.client else "unknown"
        client = address if self.tokens is None else self._owner(self.tokens, connection, address)
        wait = self._requests.wait(client)
        if wait:
            raise Refusal(429, "too_often", "more requests than are allowed", retry_after=wait)
        return client

    def check_origin(self, connection: HTTPConnection) -> None:
        """Check host name and origin, against DNS rebinding and requests from other pages.

        Raises:
            Refusal: Another host name (421) or origin (403).
        """
        host = _host_name(f"//{connection.headers.get('host', '')}")
        if self.hosts and host not in self.hosts:
            raise Refusal(421, "other_host", f"this service is not {host or 'nameless'}")
        origin = connection.headers.get("origin")
        if origin is None or origin in self.origins:
            return
        if urlsplit(origin).netloc != connection.headers.get("host"):
            raise Refusal(403, "other_page", "pages of other places may not use this service")

    def _owner(self, tokens: Tokens, connection: HTTPConnection, address: str) -> str:
        """Name of the token's owner."""
        token = bearer_token(connection)
        if token is None:
            raise Refusal(401, "no_token", "this service needs a token: Authorization: Bearer …")
        owner = tokens.owner(token)
        if owner is not None:
            return owner
        wait = self._wrong_tokens.wait(address)
        if wait:
            raise Refusal(429, "too_often", "too many wrong tokens", retry_after=wait)
        raise Refusal(401, "wrong_token", "nobody has this token, or nobody has it any more")


def bearer_token(connection: HTTPConnection) -> str | None:
    """The token in the Authorization header, or in a browser's list of subprotocols; None if there is none."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    offered = connection.headers.get("sec-websocket-protocol", "").split(",")
    return next((item.strip()[len(BEARER) :] for item in offered if item.strip().startswith(BEARER)), None)


def _host_name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
