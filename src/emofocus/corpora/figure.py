"""One figure of a corpus: utterances of each class and speaker, how many, and how long they are."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emofocus.utils.atomic import replacing
from emofocus.utils.file_formats import suffix_of
from emofocus.utils.plotting import BLUE, MAP, ORANGE, blank, style

FORMATS = (".png", ".pdf", ".svg")
"""Suffixes of figures."""

WIDTH = 11.0
"""Width of the figure in inches; wider than others, because speakers stand side by side."""

COLUMNS = 36
"""Most speakers in one row."""

MOST_SPEAKERS = 180
"""Most speakers in the figure; those with the most utterances are chosen."""

LONGEST_NAME = 10
"""Most letters of a speaker's name."""

BINS = 50
"""Bins of a histogram of durations."""

GENDERS = {"female": "women", "male": "men", "": "not known"}
"""Value of the column `gender` → heading of a group of speakers."""


def write_overview(
    path: Path, table: pl.DataFrame, seconds: Mapping[str, float], title: str, classes: Sequence[str] = ()
) -> None:
    """Draw the figure into a file, atomically.

    Args:
        path: File to write; its suffix, one of `FORMATS`, sets the format.
        table: One row per utterance, columns as in `emofocus.corpora.corpus.SCHEMA`.
        seconds: Duration of each decoded utterance in seconds, by key.
        title: Title of the corpus.
        classes: Classes in their order; alphabetical by default.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ConfigError: The suffix is no format of figures.
    """
    kind = suffix_of(path, FORMATS).removeprefix(".")
    with style():
        figure = draw(table, seconds, title, classes or sorted(table["emotion"].unique()))
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=150)


def draw(table: pl.DataFrame, seconds: Mapping[str, float], title: str, classes: Sequence[str]) -> Any:
    """Draw the overview as a `matplotlib.figure.Figure`."""
    rows = list(_rows(_speakers(table)))
    cell = 0.24  # inches
    heights = [cell * len(classes) + 0.75] * len(rows) + [0.3 * len(classes) + 0.8]
    figure = blank(sum(heights) + 0.4, WIDTH)
    figure.get_layout_engine().set(h_pad=0.08)
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[1.2, 1])
    most = int(table.group_by("speaker", "emotion").len()["len"].max() or 1)  # type: ignore[arg-type]
    for number, row in enumerate(rows):
        _draw_speakers(figure.add_subplot(grid[number, :]), table, row, classes, most)
    _draw_durations(figure.add_subplot(grid[-1, 0]), table, seconds, classes)
    _draw_classes(figure.add_subplot(grid[-1, 1]), table, seconds, classes)
    figure.suptitle(_headline(table, seconds, title), fontsize=12, fontweight="bold")
    return figure


def _headline(table: pl.DataFrame, seconds: Mapping[str, float], title: str) -> str:
    speakers = table["speaker"].n_unique()
    hours = sum(seconds.get(key, 0.0) for key in table["key"]) / 3600
    left_out = f", {MOST_SPEAKERS} of them shown" if speakers > MOST_SPEAKERS else ""
    return f"{title}: {len(table)} utterances, {speakers} speakers{left_out}, {hours:.2f} hours"


def _speakers(table: pl.DataFrame) -> list[tuple[str, str]]:
    """Gender and name of each speaker in the figure; women first, speakers of unknown gender last."""
    sizes = (
        table.group_by("speaker")
        .agg(pl.col("gender").first(), pl.len())
        .sort("len", "speaker", descending=[True, False])
    )
    largest = sizes.head(MOST_SPEAKERS).select("gender", "speaker").rows()
    return sorted(largest, key=lambda item: (item[0] not in GENDERS, item[0] == "", item))


def _rows(speakers: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Split speakers into rows of about equal length."""
    rows = -(-len(speakers) // COLUMNS)
    length = -(-len(speakers) // rows)
    for start in range(0, len(speakers), length):
        yield speakers[start : start + length]


def _counts(table: pl.DataFrame, speakers: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Number of utterances (classes, speakers)."""
    counts = {(name, speaker): n for name, speaker, n in table.group_by("emotion", "speaker").len().iter_rows()}
    return np.array([[counts.get((name, speaker), 0) for speaker in speakers] for name in classes])


def _draw_speakers(
    axes: Any, table: pl.DataFrame, row: list[tuple[str, str]], classes: Sequence[str], most: int
) -> None:
    names = [name for _, name in row]
    counts = _counts(table, names, classes)
    shown = np.ma.masked_equal(counts, 0)  # zeros stay white
    axes.pcolormesh(shown, cmap=MAP, vmin=0, vmax=most, edgecolors="white", linewidth=1)
    for (y, x), n in np.ndenumerate(counts):
        axes.text(x + 0.5, y + 0.5, n or "·", ha="center", va="center", fontsize=8, color=_ink(n / most))
    axes.set_yticks(np.arange(len(classes)) + 0.5, classes)
    _name_speakers(axes, names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _name_genders(axes, [gender for gender, _ in row], len(classes))
    axes.set(xlim=(0, len(names)), ylim=(len(classes), 0))


def _ink(share: float) -> str:
    """Color of a number that is legible on a cell of this share of the largest count."""
    return "white" if share > 0.55 else "black"


def _name_speakers(axes: Any, names: Sequence[str]) -> None:
    # Long names usually share their beginning, so the end is kept.
    shorter = [name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}" for name in names]
    upright = max(map(len, shorter)) * 0.09 > WIDTH * 0.9 / len(names)  # inches
    axes.set_xticks(np.arange(len(names)) + 0.5, shorter, rotation=90 if upright else 0, fontsize=8)


def _name_genders(axes: Any, genders: Sequence[str], height: int) -> None:
    """Write a word above each gender's speakers, and draw a line between two genders."""
    for gender in dict.fromkeys(genders) if any(genders) else ():
        start, number = genders.index(gender), genders.count(gender)
        axes.text(start + number / 2, -0.25, GENDERS.get(gender, gender), ha="center", va="bottom", fontweight="bold")
        if start:
            axes.plot([start, start], [-0.9, height], color="black", linewidth=1.5, clip_on=False)


def _draw_durations(axes: Any, table: pl.DataFrame, seconds: Mapping[str, float], classes: Sequence[str]) -> None:
    """Draw one histogram per class, stacked, with a line at the median."""
    known = table.filter(table["key"].is_in(list(seconds)))
    lengths = known["key"].replace_strict(dict(seconds), return_dtype=pl.Float64)
    edges = _edges(lengths.to_numpy())
    for y, name in enumerate(classes):
        durations = lengths.filter(known["emotion"] == name).to_numpy()
        heights, _ = np.histogram(durations, edges)
        top = y + 0.45 - 0.85 * heights / max(1, heights.max())
        axes.fill_between(edges, y + 0.45, np.append(top, y + 0.45), step="post", color=BLUE, linewidth=0)
        if len(durations):
            axes.plot([np.median(durations)] * 2, [y - 0.4, y + 0.45], color=ORANGE, linewidth=2)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(ylim=(len(classes) - 0.5, -0.5), xlim=(edges[0], edges[-1]), xlabel="seconds")
    axes.set_title("Length of the utterances, with the median", loc="left")
    axes.tick_params(axis="y", length=0)


def _edges(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of a histogram's bins (BINS + 1,), with a margin on both sides."""
    shortest, longest = (float(lengths.min()), float(lengths.max())) if len(lengths) else (0.0, 1.0)
    margin = 0.05 * (longest - shortest) or 0.1
    return np.linspace(max(0.0, shortest - margin), longest + margin, BINS + 1)


def _draw_classes(axes: Any, table: pl.DataFrame, seconds: Mapping[str, float], classes: Sequence[str]) -> None:
    numbers = [int((table["emotion"] == name).sum()) for name in classes]
    axes.barh(range(len(classes)), numbers, color=BLUE, height=0.7)
    for y, (name, n) in enumerate(zip(classes, numbers, strict=True)):
        keys = table.filter(table["emotion"] == name)["key"]
        minutes = sum(seconds.get(key, 0.0) for key in keys) / 60
        axes.text(n, y, f" {n}  ({minutes:.0f} min)", va="center")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(ylim=(len(classes) - 0.5, -0.5), xlim=(0, 1.35 * max(numbers)), xlabel="utterances")
    axes.set_title("Utterances, with their minutes", loc="left")
    axes.tick_params(axis="y", length=0)
