"""The command `emofocus serve`: it loads the models and listens until the process is told to end."""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from emofocus.errors import ConfigError, MissingExtraError
from emofocus.recognition.recognizer import Recognizer

try:
    import uvicorn
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from emofocus.serving.app import create_app
except ImportError as error:
    raise MissingExtraError(error.name or "fastapi", "serve") from error

from emofocus.serving.auth import LOOPBACK
from emofocus.serving.limits import Limits
from emofocus.serving.tokens import Tokens

DEFAULT = "default"
"""Name of a model that was given none."""

FRAME_BYTES = 1 << 20
"""Bytes that one message on a socket may have."""

ABSENT_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Codes of an address that this machine does not have, such as ::1 where IPv6 is off."""


def run_service(
    host: str,
    port: int,
    models: Sequence[str],
    tokens: Path | None,
    origins: Sequence[str],
    names: Sequence[str],
    limits: Limits,
    threads: int | None = None,
    precision: str = "fp32",
    device: str = "cpu",
) -> None:
    """Serve until the process is told to end; then let requests that are under way end, and no new ones in.

    Args:
        host: Address to listen on.
        port: There.
        models: ``NAME=DIR``, or a directory alone; the shipped model if there are none.
        tokens: File of tokens; needed wherever others than this machine can ask.
        origins: Of other pages that may use it.
        names: Further names that it goes by, besides ``host``.
        limits: What clients may ask for.
        threads: That recognize; one a core by default.
        precision: As in `Recognizer.from_pretrained`.
        device: As there.

    Raises:
        EmofocusError: A model, or the tokens, cannot be had; or anybody could ask without a token.
    """
    local = host in LOOPBACK
    if not local and tokens is None:
        raise ConfigError(
            f"--host {host} lets other machines ask: say who may, with --tokens FILE (emofocus tokens add NAME --file "
            f"FILE), or listen on this machine alone ({', '.join(LOOPBACK)})"
        )
    with listening_sockets(host, port) as sockets:
        app = create_app(
            load_models(models, precision, device),
            limits,
            None if tokens is None else Tokens(tokens),
            (*LOOPBACK, *names) if local else tuple(names),
            tuple(origins),
            threads,
        )
        Server(config_of(app, host, port, limits)).run(sockets)


@contextmanager
def listening_sockets(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Open a socket on each address of a host, and close them at the end of the block.

    Raises:
        ConfigError: The host is unknown, the address is not this machine's, or the port is taken.
    """
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sockets += _socket_of(family, address)
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    except OSError as error:
        _close(sockets)
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise ConfigError(f"cannot listen on {_shown(host)}:{port} ({reason})") from error
    try:
        yield sockets
    finally:
        _close(sockets)


def _socket_of(family: int, address: Any) -> list[socket.socket]:
    """One listening socket, or none where this machine does not have the address."""
    try:
        return [socket.create_server(address[:2], family=family)]
    except OSError as error:
        if error.errno in ABSENT_ADDRESS:
            return []
        raise


def _close(sockets: Sequence[socket.socket]) -> None:
    for item in sockets:
        item.close()


def config_of(app: Any, host: str, port: int, limits: Limits) -> uvicorn.Config:
    """How it listens."""
    return uvicorn.Config(
        app,
        host,
        port,
        http=_patient(limits.header_seconds),
        ws="websockets-sansio",
        ws_max_size=FRAME_BYTES,
        ws_ping_interval=None,  # who sends nothing is ended by idle_seconds; pings would end streams that are behind
        limit_concurrency=limits.connections,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=round(limits.drain_seconds),
        access_log=False,
        log_level="warning",
        server_header=False,
    )


class Server(uvicorn.Server):
    """Uvicorn's server, which prints its address once it listens and ends with 0 when it is told to end."""

    def run(self, sockets: Any = None) -> None:
        """Serve until a signal ends the process."""
        with suppress(KeyboardInterrupt):
            super().run(sockets)

    async def startup(self, sockets: Any = None) -> None:
        """Listen, then print the address."""
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        url = f"http://{_shown(self.config.host)}:{port}"
        print(f"emofocus listens on {url} (API: /openapi.json)", file=sys.stderr, flush=True)


def load_models(given: Sequence[str], precision: str, device: str) -> dict[str, Recognizer]:
    """Models by name, each for one thread.

    Raises:
        ConfigError: Two of one name, or a name that cannot be one.
        ModelError: One cannot be loaded.
    """
    found: dict[str, Recognizer] = {}
    for item in given or [""]:
        name, equals, source = item.partition("=")
        name, source = (name, source) if equals else (DEFAULT, item)
        if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
            raise ConfigError(f"{name!r} is no name for a model (valid: letters, digits, '-' and '_')")
        if name in found:
            raise ConfigError(f"two models are called {name}; give each a name: --model NAME=DIR")
        found[name] = Recognizer.from_pretrained(source or None, threads=1, precision=precision, device=device)
    return found


def _patient(seconds: float) -> type[asyncio.Protocol]:
    """Uvicorn's protocol, which by itself waits for a request's head for ever."""

    class Patient(HttpToolsProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(seconds, self._end_unless_asked)

        def _end_unless_asked(self) -> None:
            if self.cycle is None and not self.transport.is_closing() and self.transport.get_protocol() is self:
                self.transport.close()

    return Patient


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
