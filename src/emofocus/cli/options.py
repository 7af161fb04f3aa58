"""Options that several commands share."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
ANY_PATH = click.Path(path_type=Path)


class ListingOption(click.Option):
    """An option whose help lists the valid names, which are looked up when the help is printed.

    Args:
        names: Returns the valid names. If an optional part is missing, the help lists none.
    """

    def __init__(self, *arguments: Any, names: Callable[[], Iterable[str]], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.names = names

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Valid names that begin with what is typed."""
        with suppress(ModuleNotFoundError):  # of an optional part
            return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]
        return []

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option and its help, with the names at the end."""
        plain = self.help
        with suppress(ModuleNotFoundError):  # of an optional part
            self.help = f"{plain or ''} {', '.join(self.names())}.".lstrip()
        try:
            return super().get_help_record(ctx)
        finally:
            self.help = plain


class Names(click.types.StringParamType):
    """Names that an option takes: the help shows them, and shells complete them.

    It refuses nothing. The library refuses other names itself, in Python as well as here.

    Args:
        names: Valid names.
    """

    name = "name"

    def __init__(self, *names: str) -> None:
        self.names = names

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Valid names, as click shows choices."""
        return f"[{'|'.join(self.names)}]"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Valid names that begin with what is typed."""
        return [CompletionItem(name) for name in self.names if name.startswith(incomplete)]


PRECISIONS = Names("fp32", "int8", "fp16")
"""Precisions of a model that recognizes."""

DEVICES = Names("auto", "cpu", "cuda", "coreml", "directml")
"""Devices that a model may run on."""

TRAINING_PRECISIONS = Names("32-true", "bf16-mixed", "16-mixed")
"""Precisions of training."""

ACCELERATORS = Names("cpu", "gpu", "auto")
"""Devices that may train."""


def network_names() -> Iterable[str]:
    """Names of all networks."""
    from emofocus.models import MODELS

    return MODELS


def protocol_names() -> Iterable[str]:
    """Names of all protocols."""
    from emofocus.splits.protocols import PROTOCOLS

    return PROTOCOLS


def network_option(help: str = "Network to train:") -> Callable[[Command], Command]:
    """The option `--model`, the network to train."""
    return click.option("--model", cls=ListingOption, names=network_names, default="compact-faca", help=help)


def model_option() -> Callable[[Command], Command]:
    """The option `--model`, the model that recognizes."""
    return click.option(
        "-m", "--model", show_default="the shipped model", help="Model directory, or org/name on the Hub."
    )


def precision_options() -> list[Callable[[Command], Command]]:
    """The options `--precision` and `--device`."""
    return [
        click.option(
            "--precision", default="fp32", type=PRECISIONS, help="Arithmetic of the network, if the model has it."
        ),
        device_option(),
    ]


def smoothing_option(help: str) -> Callable[[Command], Command]:
    """The option `--smoothing`, the time constant of averaged scores in seconds."""
    return click.option("--smoothing", "smoothing_seconds", default=1.0, metavar="SECONDS", help=help)


def window_option(default: str) -> Callable[[Command], Command]:
    """The option `--window`, the length of a segment."""
    return click.option(
        "--window",
        type=float,
        metavar="SECONDS",
        show_default=default,
        help="Length of a segment, of models on a pretrained encoder.",
    )


def voice_option() -> Callable[[Command], Command]:
    """The option `--voice`, the profile of the voice that speaks."""
    return click.option(
        "--voice",
        type=click.Path(exists=True, dir_okay=False),
        help="Profile of the voice that speaks, from emofocus adapt.",
    )


def voices_options() -> list[Callable[[Command], Command]]:
    """The options `--by-speaker` and `--by-folder`, which adapt clips to their voices."""
    return [
        click.option(
            "--by-speaker", metavar="COLUMN", help="Adapt to each speaker: the column of a list that names them."
        ),
        click.option("--by-folder", is_flag=True, help="Adapt to each folder, which holds the clips of one voice."),
    ]


def device_option() -> Callable[[Command], Command]:
    """The option `--device`."""
    return click.option("--device", default="auto", type=DEVICES, help="Where it runs; auto takes the fastest.")


def ray_option() -> Callable[[Command], Command]:
    """The option `--ray`, the address of a cluster."""
    return click.option(
        "--ray",
        metavar="ADDRESS",
        show_default="this machine without it",
        help="Work on Ray: local starts it here, auto finds it, or host:6379.",
    )


def corpus_options() -> list[Callable[[Command], Command]]:
    """Options that choose utterances: `--corpus`, `--root`, `--labels` and `--only`."""
    return [corpus_option(), root_option(), labels_option(), only_option()]


def corpora_options() -> list[Callable[[Command], Command]]:
    """Options that choose utterances of one corpus or of several, for commands that train."""
    return [
        click.option(
            "--corpus",
            multiple=True,
            help="A corpus (emofocus corpora list), a manifest, or a folder with a folder for each class; several, to "
            "train on all of them.",
        ),
        click.option(
            "--root",
            multiple=True,
            metavar="[NAME=]FOLDER",
            show_default="a manifest's own folder",
            help="Folder of the corpus in its own layout. Of several corpora: NAME=FOLDER for each, or one folder in "
            "which they lie under their names.",
        ),
        click.option(
            "--keep",
            multiple=True,
            metavar="NAME",
            help="Of several corpora, one that is only tested; tess, ased and turev always are.",
        ),
        labels_option(),
        columns_option(),
        only_option(),
    ]


def corpus_option(required: bool = False) -> Callable[[Command], Command]:
    """The option `--corpus`."""
    return click.option(
        "--corpus",
        required=required,
        help="A corpus (emofocus corpora list), a manifest, or a folder with a folder for each class.",
    )


def root_option() -> Callable[[Command], Command]:
    """The option `--root`, the folder of a corpus."""
    return click.option(
        "--root", type=ANY_PATH, show_default="a manifest's own folder", help="Folder of the corpus in its own layout."
    )


def labels_option() -> Callable[[Command], Command]:
    """The option `--labels`, which maps labels to classes."""
    return click.option(
        "--labels", show_default="the usual classes", help="A preset (four, …), or classes: 'happy=hap,exc sad=sad'."
    )


def columns_option() -> Callable[[Command], Command]:
    """The option `--columns`, which names the columns of a manifest."""
    return click.option(
        "--columns", metavar="OURS=THEIRS,…", help="Other names of a manifest's columns: file=path,emotion=label."
    )


def only_option() -> Callable[[Command], Command]:
    """The option `--only`, which filters utterances."""
    return click.option("--only", multiple=True, metavar="COLUMN=VALUE", help="Keep a part, such as style=improvised.")


def seed_option(help: str) -> Callable[[Command], Command]:
    """The option `--seed`."""
    return click.option("--seed", default=0, help=help)


def cache_option(help: str = "Folder of the feature cache.") -> Callable[[Command], Command]:
    """The option `--cache`."""
    return click.option("--cache", type=FOLDER, show_default="the user's cache", help=help)


def threads_option() -> Callable[[Command], Command]:
    """The option `--threads`."""
    return click.option(
        "--threads", type=click.IntRange(min=1), show_default="all cores", help="Equal threads give equal bits."
    )


def embedding_option() -> Callable[[Command], Command]:
    """The option `--embeddings`, the source of speaker embeddings."""
    return click.option(
        "--embeddings",
        metavar="SOURCE",
        show_default="none",
        help="Who speaks, for networks that take it: an extractor's .onnx file, or manifest, for its column embedding.",
    )


def grouped(**kinds: type[msgspec.Struct]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command some of its arguments as typed options.

    ``grouped(device=FabricOptions)`` collects the arguments that are fields of `FabricOptions` in one argument
    ``device``. It stands directly above the function.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_groups(**arguments: Any) -> None:
            for name, kind in kinds.items():
                given = {field: arguments.pop(field) for field in kind.__struct_fields__ if field in arguments}
                arguments[name] = kind(**given)
            command(**arguments)

        return with_groups

    return decorate


def with_options(options: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Combine several options into one decorator, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
