"""Options that several commands share."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
ANY_PATH = click.Path(path_type=Path)


class ListingOption(click.Option):
    """An option whose help lists the valid names, which are looked up when the help is printed.

    Args:
        names: Returns the valid names. What it imports may be missing; the help then lists none.
    """

    def __init__(self, *arguments: Any, names: Callable[[], Iterable[str]], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.names = names

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option and its help, with the names at the end."""
        plain = self.help
        with suppress(ModuleNotFoundError):  # of an optional part
            self.help = f"{plain or ''} {', '.join(self.names())}.".lstrip()
        try:
            return super().get_help_record(ctx)
        finally:
            self.help = plain


def network_names() -> Iterable[str]:
    """Names of all networks."""
    from emofocus.models import MODELS

    return MODELS


def network_option(help: str = "Network to train:") -> Callable[[Command], Command]:
    """The option that names a network to train."""
    return click.option("--model", cls=ListingOption, names=network_names, default="compact-faca", help=help)


def model_option() -> Callable[[Command], Command]:
    """The option that says which model recognizes."""
    return click.option(
        "-m", "--model", show_default="the shipped model", help="Model directory, or org/name on the Hub."
    )


def precision_options() -> list[Callable[[Command], Command]]:
    """Options that say on what it recognizes."""
    return [
        click.option(
            "--precision", default="fp32", help="Arithmetic of the network: fp32, int8 or fp16, if the model has it."
        ),
        device_option(),
    ]


def smoothing_option(help: str) -> Callable[[Command], Command]:
    """The option that sets the time constant of averaged scores."""
    return click.option("--smoothing", "smoothing_seconds", default=1.0, metavar="SECONDS", help=help)


def device_option() -> Callable[[Command], Command]:
    """The device alone."""
    return click.option("--device", default="auto", help="cpu, cuda, coreml, directml, or what there is.")


def ray_option() -> Callable[[Command], Command]:
    """The option that says where a cluster is."""
    return click.option(
        "--ray",
        metavar="ADDRESS",
        show_default="this machine without it",
        help="Work on Ray: local starts it here, auto finds it, or host:6379.",
    )


def corpus_options() -> list[Callable[[Command], Command]]:
    """Options that say which utterances are meant."""
    return [
        click.option("--corpus", help="A corpus (emofocus corpora list), or a manifest."),
        click.option("--root", type=ANY_PATH, help="Folder of the corpus; a manifest's own folder by default."),
        click.option("--labels", help="A preset (four, default, …), or: 'happy=hap,exc sad=sad'."),
        click.option("--only", multiple=True, metavar="COLUMN=VALUE", help="Keep a part, such as style=improvised."),
    ]


def embedding_option() -> Callable[[Command], Command]:
    """The option that says where embeddings of speakers come from."""
    return click.option(
        "--embeddings",
        metavar="SOURCE",
        show_default="none",
        help="Who speaks, for networks that take it: an extractor's .onnx file, or manifest, for its column embedding.",
    )


def with_options(options: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Several options as one decorator, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
