"""A real service on loopback, for tests."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from emofocus import Recognizer
from emofocus.serving.app import create_app
from emofocus.serving.auth import AccessControl
from emofocus.serving.limits import Limits
from emofocus.serving.server import Server, server_config


@dataclass
class Service:
    """A running service: its port and its parts."""

    port: int
    parts: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/stream"

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)


@contextlib.contextmanager
def running(recognizer: Recognizer, limits: Limits | None = None, **access: Any) -> Iterator[Service]:
    """A service until the block ends; ``access`` are arguments of `AccessControl`."""
    limits = limits or Limits(rate=1e6, drain_seconds=5)
    control = AccessControl(limits, **({"tokens": None} | access))
    app = create_app({"default": recognizer}, limits, control, threads=2, decoders=2)
    server = Server(server_config(app, "127.0.0.1", 0, limits))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
        assert thread.is_alive()
    try:
        yield Service(server.servers[0].sockets[0].getsockname()[1], app.state.service)
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
