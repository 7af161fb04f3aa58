"""A leaderboard as a terminal table, Markdown, CSV or a figure: `emofocus compare`."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emofocus.errors import ConfigError
from emofocus.evaluation.leaderboard import Leaderboard, Standing, leaderboard
from emofocus.evaluation.report.entries import OPTIMISTIC
from emofocus.evaluation.report.formatting import NAMES, NONE, p_value, points
from emofocus.utils.atomic import replacing, write_text
from emofocus.utils.file_formats import suffix_of
from emofocus.utils.markdown import table
from emofocus.utils.plotting import BLUE, ORANGE, add_title, blank, style
from emofocus.utils.progress import log_line

REFERENCE = "reference"

WIDTH = 100
"""Least width of the table in characters."""

UNITS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))
"""Factors and their prefixes."""

TESTS = ("ua_difference", "ua_difference_low", "ua_difference_high", "ua_p", "mcnemar_p")

METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
"""Suffix of a figure → metadata that is left out, so that equal runs give equal bytes."""


def compare_runs(runs: Sequence[Path], reference: Path | None, out: Sequence[Path], timed: bool) -> None:
    """Print a leaderboard, and write it to files.

    Args:
        runs: Folders that `emofocus crossval` wrote.
        reference: Folder of the run that the others are compared with; the one of the best UA by default.
        out: Files to write; the suffix of each sets its format.
        timed: Measure real-time factors.

    Raises:
        ConfigError: A suffix is no format, or a file cannot be written.
        MissingExtraError: A figure is requested, and matplotlib is not installed.
        EmofocusError: The runs cannot be compared; the message says why.
    """
    for path in out:
        _refuse_format(path)
    board = leaderboard(runs, reference, timed)
    print_board(board)
    for path in out:
        try:
            write_board(board, path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
        log_line(f"written: {path}")


def _refuse_format(path: Path) -> None:
    """Refuse an unknown format, or a figure without matplotlib, before minutes of measuring."""
    if suffix_of(path, (*TEXTS, *METADATA)) in METADATA:
        with style():
            pass


def write_board(board: Leaderboard, path: Path) -> None:
    """Write a leaderboard to a file in the format of its suffix.

    Raises:
        MissingExtraError: The file is a figure, and matplotlib is not installed.
    """
    kind = suffix_of(path, (*TEXTS, *METADATA))
    if kind in TEXTS:
        write_text(path, TEXTS[kind](board))
        return
    with style(), replacing(path) as temporary:
        draw(board).savefig(temporary, format=kind[1:], dpi=110, metadata=METADATA[kind])


def headline(board: Leaderboard) -> str:
    """Corpus and protocol of the runs, as a title."""
    corpus, protocol, *_ = board.reference.run.key
    return f"{corpus}, protocol {protocol}" + (f" ({OPTIMISTIC})" if board.optimistic else "")


def notes(board: Leaderboard) -> Iterator[str]:
    """Remarks that explain the figures."""
    agreed = board.reference.run.summary.protocol
    if board.optimistic:
        yield f"{OPTIMISTIC.capitalize()}: speakers of the test parts are heard in training."
    yield f"The split: {agreed.note}. Selection: {agreed.selection}."
    yield f"WA, UA and macro-F1: pooled over all test utterances, with 95 % intervals that resample {board.unit}."
    yield (
        f"The {REFERENCE}: {board.name(board.reference)}. Differences from it are in points; their p-values, and those "
        "of McNemar's exact test of equal WA, which takes utterances for independent, are adjusted by Holm's method."
    )
    yield "MAC / s: multiply-accumulates of the network for a second of audio, without those of the features."
    yield "Training: of a fold, on average, by the clock of the machine that did it."
    if board.timed:
        yield "Real time: seconds of one thread of this machine for a second of audio, with the features."


def print_board(board: Leaderboard) -> None:
    """Print a leaderboard as a table with its notes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), title=headline(board), leading=1)
    for number, name in enumerate(_head(board)):
        shown.add_column(name, justify="right" if number else "left", no_wrap=number > 0, overflow="fold")
    for item in board.standings:
        shown.add_row(*_cells(board, item))
    console = Console(highlight=False, markup=False)
    console.width = max(WIDTH, console.width)  # a narrower terminal breaks lines; rich would leave out digits
    console.print(shown)
    console.print("\n".join(["", *notes(board)]), style="dim")


def markdown(board: Leaderboard) -> str:
    """Leaderboard as Markdown: heading, table and notes."""
    rows = [
        [cell.replace("\n", "<br>") for cell in cells]
        for cells in (_head(board), *(_cells(board, item) for item in board.standings))
    ]
    listed = "\n".join(f"- {note}" for note in notes(board))
    return f"# {headline(board)}\n\n{table(rows[0], rows[1:], right=1)}\n{listed}\n"


def _head(board: Leaderboard) -> list[str]:
    head = ["model\nrecipe", "parameters\nMAC / s", *(f"{name} %" for name in NAMES.values())]
    return [*head, f"UA − that of\n{REFERENCE}", "p\nMcNemar", "training\nreal time" if board.timed else "training"]


def _cells(board: Leaderboard, item: Standing) -> Iterator[str]:
    """Cells of one row; each holds two lines."""
    yield f"{item.model}\n{item.recipe}, seed {item.run.seed}" if board.name(item) == item.name else item.run.name
    yield f"{item.parameters:,}\n{short(item.cost)}"
    for figure in item.intervals.values():
        yield f"{100 * figure.value:.2f}\n{100 * figure.low:.1f}–{100 * figure.high:.1f}"
    if item.difference is None:
        yield from (REFERENCE, "")
    else:
        yield points(item.difference.pair.ua).replace(" ", "\n", 1)
        yield f"{p_value(item.difference.ua_p)}\n{p_value(item.difference.mcnemar_p)}"
    training = NONE if item.seconds is None else f"{item.seconds / 60:.1f} min"
    factor = NONE if item.real_time_factor is None else f"{item.real_time_factor:.2g}"
    yield f"{training}\n{factor}" if board.timed else training


def short(number: int | None) -> str:
    """Number with three digits and a prefix, such as ``72.6 M``."""
    if number is None:
        return NONE
    size, unit = next((pair for pair in UNITS if number >= 0.9995 * pair[0]), (1, ""))
    return f"{number / size:.3g} {unit}".rstrip()


def csv_text(board: Leaderboard) -> str:
    """Leaderboard as CSV with a row per run, shares and p-values in full; unknown values are empty."""
    rows = [_record(item) for item in board.standings]
    names = [name for name in rows[0] if board.timed or name != "real_time_factor"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _record(item: Standing) -> dict[str, Any]:
    row: dict[str, Any] = {"run": item.run.name, "model": item.model, "recipe": item.recipe, "seed": item.run.seed}
    row |= {"parameters": item.parameters, "multiply_accumulates_per_second": item.cost}
    for name, interval in item.intervals.items():
        row |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    tests: tuple[float | None, ...] = (None,) * len(TESTS)
    if item.difference is not None:
        tests = (*item.difference.pair.ua[:3], item.difference.ua_p, item.difference.mcnemar_p)
    row |= zip(TESTS, tests, strict=True)
    return row | {"training_seconds": item.seconds, "real_time_factor": item.real_time_factor}


def draw(board: Leaderboard) -> Any:
    """Draw UA of each run with its interval, best on top."""
    places = np.arange(len(board.standings))
    figure = blank(1.6 + 0.42 * len(places))
    axes = figure.add_subplot()
    for place, item in zip(places, board.standings, strict=True):
        value, low, high = (100 * share for share in item.intervals["ua"])
        color = BLUE if item.difference else ORANGE
        axes.hlines(place, low, high, color=color, linewidth=2.4, alpha=0.5)
        axes.scatter(value, place, s=40, color=color, zorder=3)
        axes.annotate(f"{value:.1f}", (1.01, place), xycoords=("axes fraction", "data"), va="center", color=color)
        if not item.difference:
            axes.axvline(value, color=color, linewidth=1.2, linestyle="--", zorder=1)
    axes.set_yticks(places, [_line_name(board, item) for item in board.standings])
    axes.set(ylim=(len(places) - 0.5, -0.5), xlabel="UA %")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    add_title(figure, "Unweighted accuracy", f"{headline(board)}; lines: 95 % interval, resampling {board.unit}")
    return figure


def _line_name(board: Leaderboard, item: Standing) -> str:
    return board.name(item) if item.difference else f"{board.name(item)}\n({REFERENCE})"


TEXTS: dict[str, Callable[[Leaderboard], str]] = {".md": markdown, ".csv": csv_text}
"""Suffix of a text format → function that writes it."""
