"""`emofocus serve` and `emofocus tokens`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from emofocus.cli.options import ANY_PATH, precision_options, with_options
from emofocus.config import parse
from emofocus.serving.limits import Limits

LIMITS = {
    "megabytes": "Of a request's body.",
    "seconds": "Of audio in a request.",
    "waiting_seconds": "Of audio that may wait; further requests are told to come again.",
    "requests": "Under way at a time.",
    "connections": "At a time.",
    "rate": "Requests a minute from one client.",
    "streams": "At a time.",
    "stream_seconds": "Of audio in a stream.",
}
"""Limits that have an option; all of them: `emofocus.serving.limits.Limits`."""


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each of `LIMITS`."""
    for name, text in reversed(LIMITS.items()):
        flag, default = f"--{name.replace('_', '-')}", getattr(Limits(), name)
        command = click.option(flag, name, type=type(default), default=default, show_default=True, help=text)(command)
    return command


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="There.")
@click.option(
    "-m", "--model", "models", multiple=True, metavar="[NAME=]DIR", help="One or more; the first is asked by default."
)
@click.option("--tokens", type=ANY_PATH, help="File of tokens (emofocus tokens); without it, everybody may ask.")
@click.option("--origin", "origins", multiple=True, help="Another page that may use it, as https://example.org.")
@click.option("--name", "names", multiple=True, help="Another name that it goes by, beside this machine's.")
@click.option("--threads", type=click.IntRange(min=1), show_default="all cores", help="That recognize.")
@with_options(precision_options())
@limit_options
def serve(**arguments: Any) -> None:
    """Recognize over HTTP and a socket: POST /v1/recognize, WebSocket /v1/stream.

    Without --host it answers this machine alone. Audio is neither stored nor logged.
    """
    from emofocus.serving.server import run_service

    given = {name: arguments.pop(name) for name in LIMITS}
    run_service(limits=parse(Limits, given, "emofocus serve"), **arguments)


@click.group()
def tokens() -> None:
    """Say who may ask a service."""


@tokens.command("add")
@click.argument("name")
@click.option("--file", "path", required=True, type=ANY_PATH, help="File of tokens.")
def add(name: str, path: Path) -> None:
    """Make a token for NAME and print it; the file holds its hash alone, so this is the only time that it is seen."""
    from emofocus.serving.tokens import add_token

    click.echo(add_token(path, name))


@tokens.command("revoke")
@click.argument("name")
@click.option("--file", "path", required=True, type=ANY_PATH, help="File of tokens.")
def revoke(name: str, path: Path) -> None:
    """End NAME's token, at once, also for a service that runs."""
    from emofocus.serving.tokens import revoke_token

    revoke_token(path, name)


@tokens.command("list")
@click.option("--file", "path", required=True, type=ANY_PATH, help="File of tokens.")
def names(path: Path) -> None:
    """Print the names of those who have a token."""
    from emofocus.serving.tokens import Tokens

    for name in Tokens(path).read():
        click.echo(name)
