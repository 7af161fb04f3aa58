"""Who may ask, from where, and how often."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from emofocus.serving.limits import Limits, Refusal
from emofocus.serving.tokens import Tokens

LOOPBACK = ("localhost", "127.0.0.1", "::1")

CLIENTS = 10_000
"""Whose requests are counted; who has been away longest is forgotten first."""

WRONG_TOKENS = 20
"""A minute, from one address, of which more are not looked at: chance finds none, but guessing costs work."""

PROTOCOL, BEARER = "emofocus", "bearer."
"""Subprotocols of a browser's socket, which can send no other header: ours, and one that is the token."""


class Rate:
    """So many a minute on average, of which a tenth may come at once (a token bucket for each client)."""

    def __init__(self, minute: float) -> None:
        self.speed, self.most = minute / 60.0, max(1.0, minute / 10.0)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float | None = None) -> float:
        """Count a request; seconds after which the next one is welcome, 0 if this one is."""
        now = time.monotonic() if now is None else now
        left, since = self._left.pop(client, (self.most, now))
        left = min(self.most, left + (now - since) * self.speed)
        welcome = left >= 1.0
        self._left[client] = (left - 1.0 if welcome else left, now)
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if welcome else (1.0 - left) / self.speed


class Gate:
    """Lets requests in.

    Args:
        limits: How often.
        tokens: Who may; None lets everybody on this machine.
        hosts: Names that the service goes by; none lets any through, which a token must then do.
        origins: Of other pages that may use it, such as https://example.org.
    """

    def __init__(
        self, limits: Limits, tokens: Tokens | None, hosts: Sequence[str] = (), origins: Sequence[str] = ()
    ) -> None:
        self.tokens, self.hosts, self.origins = tokens, frozenset(hosts), frozenset(origins)
        self._rate, self._wrong = Rate(limits.rate), Rate(WRONG_TOKENS)

    def admit(self, connection: HTTPConnection) -> str:
        """Who asks.

        Raises:
            Refusal: Another host's name (421) or page (403), no token or a wrong one (401), or too often (429).
        """
        self.check_place(connection)
        address = connection.client.host if connection.client else "unknown"
        client = address
        if self.tokens is not None:
            client = self._owner(connection, address)
        wait = self._rate.wait(client)
        if wait:
            raise Refusal(429, "too_often", "more requests than are allowed", retry_after=wait)
        return client

    def check_place(self, connection: HTTPConnection) -> None:
        """Refuse names that are not ours, which a page elsewhere may have pointed here, and other pages."""
        host = _host(f"//{connection.headers.get('host', '')}")
        if self.hosts and host not in self.hosts:
            raise Refusal(421, "other_host", f"this service is not {host or 'nameless'}")
        origin = connection.headers.get("origin")
        if origin is None or origin in self.origins:
            return
        if urlsplit(origin).netloc != connection.headers.get("host"):
            raise Refusal(403, "other_page", "pages of other places may not use this service")

    def _owner(self, connection: HTTPConnection, address: str) -> str:
        assert self.tokens is not None
        token = bearer(connection)
        if token is None:
            raise Refusal(401, "no_token", "this service needs a token: Authorization: Bearer …")
        owner = self.tokens.owner(token)
        if owner is not None:
            return owner
        wait = self._wrong.wait(address)
        if wait:
            raise Refusal(429, "too_often", "too many wrong tokens", retry_after=wait)
        raise Refusal(401, "wrong_token", "nobody has this token, or nobody has it any more")


def bearer(connection: HTTPConnection) -> str | None:
    """The token of a request, or of a socket that a browser opened."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    offered = connection.headers.get("sec-websocket-protocol", "").split(",")
    return next((item.strip()[len(BEARER) :] for item in offered if item.strip().startswith(BEARER)), None)


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
