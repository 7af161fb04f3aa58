"""`emofocus serve` and `emofocus tokens`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from emofocus.cli.options import ANY_PATH, precision_options, voice_option, with_options
from emofocus.config import parse
from emofocus.serving.limits import Limits

LIMITS = {
    "megabytes": "Size of a request's body.",
    "seconds": "Duration of the audio in a request.",
    "waiting_seconds": "Duration of all audio that waits; further requests are refused.",
    "requests": "Requests under way at a time.",
    "connections": "Connections at a time.",
    "rate": "Requests a minute from one client.",
    "streams": "Streams at a time.",
    "stream_seconds": "Duration of the audio in a stream.",
}
"""Limits that have an option, with its help; `emofocus.serving.limits.Limits` has all of them."""


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each of `LIMITS`."""
    for name, text in reversed(LIMITS.items()):
        flag, default = f"--{name.replace('_', '-')}", getattr(Limits(), name)
        command = click.option(flag, name, type=type(default), default=default, show_default=True, help=text)(command)
    return command


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option(
    "-m", "--model", "models", multiple=True, metavar="[NAME=]DIR", help="One or more models; the first is the default."
)
@click.option("--tokens", type=ANY_PATH, help="File of tokens (emofocus tokens); without it, everybody may ask.")
@click.option("--origin", "origins", multiple=True, help="Another page that may use it, as https://example.org.")
@click.option("--name", "names", multiple=True, help="Another host name of the service, besides this machine's.")
@click.option("--threads", type=click.IntRange(min=1), show_default="all cores", help="Threads that recognize.")
@with_options(precision_options())
@voice_option()
@limit_options
def serve(
    host: str,
    port: int,
    models: tuple[str, ...],
    tokens: Path | None,
    origins: tuple[str, ...],
    names: tuple[str, ...],
    threads: int | None,
    precision: str,
    device: str,
    voice: str | None,
    **limits: float,
) -> None:
    """Recognize over HTTP and a socket: POST /v1/recognize, WebSocket /v1/stream.

    Without --host it answers this machine alone. Audio is neither stored nor logged.
    """
    from emofocus.recognition.options import RecognitionOptions
    from emofocus.serving.server import ServiceOptions, run_service

    options = ServiceOptions(
        host=host,
        port=port,
        models=models,
        tokens=tokens,
        origins=origins,
        names=names,
        threads=threads,
        recognition=RecognitionOptions(threads=1, precision=precision, device=device, voice=voice),
        limits=parse(Limits, limits, "emofocus serve"),
    )
    run_service(options)


@click.group()
def tokens() -> None:
    """Manage the tokens of a service's clients."""


FILE_OPTION = click.option("--file", "path", required=True, type=ANY_PATH, help="File of tokens.")


@tokens.command("add")
@click.argument("name")
@FILE_OPTION
def add(name: str, path: Path) -> None:
    """Make a token for NAME and print it. The file holds only its hash, so it is never shown again."""
    from emofocus.serving.tokens import add_token

    click.echo(add_token(path, name))


@tokens.command("revoke")
@click.argument("name")
@FILE_OPTION
def revoke(name: str, path: Path) -> None:
    """Remove NAME's token, at once, also for a service that runs."""
    from emofocus.serving.tokens import revoke_token

    revoke_token(path, name)


@tokens.command("list")
@FILE_OPTION
def names(path: Path) -> None:
    """Print the names that have a token."""
    from emofocus.serving.tokens import Tokens

    for name in Tokens(path).read():
        click.echo(name)
