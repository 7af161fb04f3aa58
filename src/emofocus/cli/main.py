"""The command `emofocus`: names of all commands, and error handling.

Each command is a file of this package, imported only when the command is used. click is used because Typer takes three
times as long to start.
"""

import os
import sys
import warnings
from importlib import import_module
from typing import NamedTuple, cast

import click

from emofocus.cli.examples import epilog_of
from emofocus.errors import AudioWarning, EmofocusError, MissingExtraError
from emofocus.version import __version__


class Entry(NamedTuple):
    """Module and summary of a command.

    Attributes:
        file: Module of this package.
        summary: Line in the list of commands.
        function: Name of the function in the module; the command's name by default.
    """

    file: str
    summary: str
    function: str | None = None


SECTIONS: dict[str, dict[str, Entry]] = {
    "Recognize": {
        "predict": Entry("predict", "Recognize the emotion in audio files."),
        "stream": Entry("stream", "Recognize live speech."),
        "adapt": Entry("adapt", "Learn how somebody sounds, from speech without labels."),
    },
    "Explain": {
        "explain": Entry("explain", "Show the prediction for a clip, and the attention behind it."),
    },
    "Serve": {
        "serve": Entry("serve", "Recognize over HTTP and WebSocket, with a page for people."),
        "tokens": Entry("serve", "Add, revoke and list the tokens of a service."),
    },
    "Train": {
        "train": Entry("train", "Train one model directory, selected on a validation part."),
        "crossval": Entry("train", "Train and test on every fold of a corpus."),
        "grid": Entry("train", "Cross-validate models × recipes × protocols × seeds on Ray."),
        "export": Entry("export", "Write model.onnx and the model card of a trained fold."),
        "calibrate": Entry("export", "Fit a model's confidence to corpora that it was not trained on."),
    },
    "Evaluate": {
        "evaluate": Entry("evaluate", "Measure how well models recognize labeled speech, and whom."),
        "compare": Entry("evaluate", "Show runs of one experiment as a leaderboard, with paired tests."),
        "combine": Entry("evaluate", "Score the mean of several networks' probabilities."),
        "report": Entry("evaluate", "Write tables and figures of all results, from their predictions."),
        "alignment": Entry("evaluate", "Measure whether attention does what the paper says."),
        "adaptation": Entry("evaluate", "Measure what unlabelled speech of the test speakers brings."),
        "robustness": Entry("evaluate", "Measure what loudness, coding, noise and rooms do to a model."),
        "bench": Entry("evaluate", "Measure a model's speed, latency, memory and start, here."),
    },
    "Data": {
        "corpora": Entry("corpora", "Download, check and describe corpora."),
        "audit": Entry("audit", "Look for leaks in a split.", "audit_command"),
        "features": Entry("train", "Write the features of a corpus to one file."),
        "shards": Entry("train", "Write a fold as shards, for corpora larger than memory or disk."),
        "cache": Entry("cache", "Show how full the cache of features is, or clear it."),
    },
}
"""Commands by section, in the order of work."""

COMMANDS = {name: entry for entries in SECTIONS.values() for name, entry in entries.items()}

PYTHON_FORMAT = warnings.formatwarning

TRAINING = ("torch", "lightning_fabric", "safetensors", "sklearn", "lmdb", "polars", "scipy", "pooch", "onnx", "yaml")
"""Modules of the extra `[train]`, which half of the commands need."""


HELP_WIDTH = 120
"""Most columns of a help text; click alone stops at 80."""


class Commands(click.Group):
    """Group of all commands; listing them imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Command by name; None if there is none."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"emofocus.cli.{entry.file}")
        return _with_examples(cmd_name, cast(click.Command, getattr(module, entry.function or cmd_name)))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section; all sections share the width of the name column."""
        width = max(map(len, COMMANDS))
        for section, entries in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in entries.items()])


def _with_examples(name: str, command: click.Command) -> click.Command:
    """Give a command and its subcommands their examples, and subcommands summaries that are not cut."""
    command.epilog = epilog_of(name)
    if isinstance(command, click.Group):
        for part in command.commands.values():
            summary = (part.help or "").partition("\n\n")[0].partition(";")[0]
            part.short_help = summary.rstrip(".") + "."
            _with_examples(f"{name} {part.name}", part)
    return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": HELP_WIDTH},
)
@click.version_option(__version__, prog_name="emofocus", message="%(prog)s %(version)s")
def app() -> None:
    """Speech emotion recognition with focus and calibration attention."""


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Spell a warning: those of recordings without a place in the code, which says nothing to users."""
    if issubclass(category, AudioWarning):
        return f"emofocus: {message}\n"
    return PYTHON_FORMAT(message, category, filename, lineno, line)


def main() -> None:
    """Run the command line; an error that a user can cause ends with one line and exit code 1."""
    # torch's exporter warns at every LSTM of what the parity check then shows to be right; read when torch is loaded.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    warnings.formatwarning = _format_warning
    try:
        app()
    except (EmofocusError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError):
            if error.name not in TRAINING:
                raise
            error = MissingExtraError(error.name, "train")
        if os.environ.get("LOCAL_RANK", "0") == "0":  # once a machine, where several processes train together
            print(f"emofocus: {error}", file=sys.stderr)
        sys.exit(1)
