"""The help of the terminal: sections in the order of work, whole summaries, examples, choices, and colors."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from emofocus.cli.examples import EXAMPLES
from emofocus.cli.main import COMMANDS, SECTIONS, app


def commands(group: click.Group = app, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands and subcommands with their names."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")


NAMES = [name for name, _ in commands()]


def help_of(name: str = "", width: int = 80) -> str:
    done = CliRunner().invoke(app, [*name.split(), "--help"], terminal_width=width, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_sections_are_in_the_order_of_work_and_no_summary_is_cut_or_broken() -> None:
    text = help_of()
    assert re.findall(r"^(\w+):$", text, re.MULTILINE) == ["Options", *SECTIONS]
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", text, re.MULTILINE), name


@pytest.mark.parametrize("group", ["corpora", "tokens", "cache"])
def test_summaries_of_subcommands_are_not_cut(group: str) -> None:
    assert "..." not in help_of(group).partition("Commands:")[2]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [80, 120])
def test_every_help_fits_and_ends_with_an_example(name: str, width: int) -> None:
    text = help_of(name, width)
    assert max(map(len, text.splitlines())) <= max(width, 100)  # examples are not broken
    assert re.search(r"^  Examples?:\n(    .+\n)+\Z", text, re.MULTILINE), text


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_options_of_examples_exist(line: str) -> None:
    words = shlex.split(line.rpartition("| ")[2])
    assert words[0] == "emofocus"
    name = " ".join(words[1:3]) if " ".join(words[1:3]) in NAMES else words[1]
    command = dict(commands())[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-") and word != "-"} <= known


def test_names_are_shown_as_choices() -> None:
    assert "[fp32|int8|fp16]" in help_of("predict")
    assert "[auto|cpu|cuda|coreml|directml]" in help_of("serve")
    assert "[s16le|s32le|f32le]" in help_of("stream")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("emofocus pre", "predict"),
        ("emofocus predict --precision in", "int8"),
        ("emofocus corpora che", "check"),
    ],
)
def test_shells_complete_commands_and_names(typed: str, expected: str) -> None:
    words = typed.split(" ")
    environment = {
        "_EMOFOCUS_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "import sys; sys.argv[0] = 'emofocus'; from emofocus.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [f"plain,{expected}"]


def test_no_color_is_respected() -> None:
    code = "from emofocus.cli.main import main; main()"
    colors = re.compile(r"\x1b\[[\d;]*[34]\d")
    done = subprocess.run(
        [sys.executable, "-c", code, "corpora", "list"],
        env=os.environ | {"NO_COLOR": "1", "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ravdess" in done.stdout
    assert not colors.search(done.stdout)
