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

from emofocus.config import Settings
from emofocus.errors import ConfigError, MissingExtraError
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.version import __version__

try:
    import uvicorn
    from fastapi import FastAPI
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from emofocus.serving.app import create_app
except ImportError as error:
    raise MissingExtraError(error.name or "fastapi", "serve") from error

from emofocus.serving.auth import LOOPBACK, AccessControl
from emofocus.serving.limits import Limits
from emofocus.serving.tokens import Tokens

DEFAULT = "default"
"""Name of a model that was given without one."""

ONE_THREAD = RecognitionOptions(threads=1, device="cpu")
"""Default options of the models: requests run at the same time, so each has one thread."""

CAUTION = (
    "emofocus hears how something is said, not what is felt. Tell people that it hears them; "
    "the EU prohibits it at work and in education (docs/responsible-use.md)"
)
"""Line that is printed when the service starts."""

MESSAGE_BYTES = 1 << 20
"""Size of one message on a socket."""

ABSENT_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Codes of an address that this machine does not have, such as ::1 where IPv6 is off."""


class ServiceOptions(Settings, frozen=True, kw_only=True):
    """Options of `emofocus serve`.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        models: ``NAME=DIR``, or a directory alone; none for the shipped model.
        tokens: File of tokens, which is required unless ``host`` is in `LOOPBACK`.
        origins: Origins of other pages that may use the service.
        names: Host names of the service in addition to ``host``.
        threads: Threads that recognize; one per core by default.
        recognition: Options of the models. Requests run at the same time, each on one thread.
        limits: Limits of what clients may ask for.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    models: tuple[str, ...] = ()
    tokens: Path | None = None
    origins: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    threads: int | None = None
    recognition: RecognitionOptions = ONE_THREAD
    limits: Limits = Limits()


def run_service(options: ServiceOptions) -> None:
    """Serve until the process is told to end. Requests under way are then finished, and new ones refused.

    Raises:
        EmofocusError: A model or the tokens cannot be loaded, the port is taken, or other machines could ask without a
            token.
    """
    local, limits = options.host in LOOPBACK, options.limits
    if not local and options.tokens is None:
        raise ConfigError(
            f"--host {options.host} lets other machines ask: say who may, with --tokens FILE (emofocus tokens add NAME "
            f"--file FILE), or listen on this machine alone ({', '.join(LOOPBACK)})"
        )
    with listening_sockets(options.host, options.port) as sockets:
        hosts = (*LOOPBACK, *options.names) if local else options.names
        tokens = None if options.tokens is None else Tokens(options.tokens, _log)
        access = AccessControl(limits, tokens, hosts, options.origins)
        models = load_models(options.models, options.recognition)
        app = create_app(models, limits, access, options.threads)
        Server(server_config(app, options.host, options.port, limits)).run(sockets)


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


def server_config(app: FastAPI, host: str, port: int, limits: Limits) -> uvicorn.Config:
    """Uvicorn's settings."""
    return uvicorn.Config(
        app,
        host,
        port,
        http=_protocol(limits.header_seconds),
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        ws_ping_interval=None,  # idle_seconds ends silent streams; pings would also end those that are behind
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
        _log(f"emofocus {__version__} listens on {url} (API: {url}/docs)")
        _log(CAUTION)

    async def shutdown(self, sockets: Any = None) -> None:
        """Refuse new requests and finish those under way, with a line before and one after."""
        seconds = self.config.timeout_graceful_shutdown
        _log(f"emofocus ends: new requests are refused, those under way have {seconds} s")
        await super().shutdown(sockets)
        _log("emofocus has ended")


def load_models(sources: Sequence[str], options: RecognitionOptions) -> dict[str, Recognizer]:
    """Load models, each for one thread.

    Args:
        sources: As ``models`` of `ServiceOptions`.
        options: Options of every model.

    Returns:
        Recognizers by name.

    Raises:
        ConfigError: Two models have the same name, or a name is invalid.
        ModelError: A model cannot be loaded.
    """
    models: dict[str, Recognizer] = {}
    for item in sources or [""]:
        name, equals, source = item.partition("=")
        name, source = (name, source) if equals else (DEFAULT, item)
        if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
            raise ConfigError(f"{name!r} is no name for a model (valid: letters, digits, '-' and '_')")
        if name in models:
            raise ConfigError(f"two models are called {name}; give each a name: --model NAME=DIR")
        models[name] = Recognizer.load(source or None, options)
    return models


def _protocol(head_seconds: float) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP protocol, with a time limit for the head of the first request, which uvicorn itself lacks."""

    class TimedProtocol(HttpToolsProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(head_seconds, self._close_if_silent)

        def _close_if_silent(self) -> None:
            if self.cycle is None and not self.transport.is_closing() and self.transport.get_protocol() is self:
                self.transport.close()

    return TimedProtocol


def _log(line: str) -> None:
    """Print a line at once, where journals and containers read it."""
    print(line, file=sys.stderr, flush=True)


def _shown(host: str) -> str:
    """A host as URLs spell it."""
    return f"[{host}]" if ":" in host else host
