"""Result files of a cross-validation: the types of `summary.json`, and the lines of `predictions.csv`.

The lines recompute every figure of the summary.
"""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from emofocus.config import Recipe, parse, to_plain
from emofocus.corpora import Corpus
from emofocus.metrics.calibration import CalibrationFigures, measure_calibration, probabilities
from emofocus.metrics.classification import Metrics, measure
from emofocus.splits.folds import Positions
from emofocus.utils.atomic import write_text

# Fields that older versions did not write are unset, and are left out when the summary is written again.


class ProtocolEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Protocol of the folds: its name, their digest, and the selection of weights."""

    name: str
    note: str
    folds: int
    digest: str | UnsetType = UNSET
    selection: str


class FoldEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One finished fold.

    Attributes:
        fold: Number of the fold.
        train: Utterances of the training part; ``valid`` and ``test`` likewise.
        best_epoch: Epoch whose weights were kept.
        seconds: Time of all epochs; None if one of them was not timed.
        history: Loss, validation WA and UA of each epoch.
        precision: Arithmetic of training; scoring runs in float32.
    """

    fold: int
    train: int
    valid: int
    test: int
    best_epoch: int | UnsetType = UNSET
    seconds: float | UnsetType | None = UNSET
    temperature: float | UnsetType = UNSET
    threshold: float | UnsetType = UNSET
    energy: float | UnsetType | None = UNSET
    wa: float
    ua: float
    macro_f1: float
    ece_before: float | UnsetType = UNSET
    ece: float | UnsetType = UNSET
    nll_before: float | UnsetType = UNSET
    nll: float | UnsetType = UNSET
    coverage: float | UnsetType = UNSET
    selective_wa: float | UnsetType | None = UNSET
    valid_coverage: float | UnsetType | None = UNSET
    valid_selective_wa: float | UnsetType | None = UNSET
    version: str | UnsetType = UNSET
    history: list[list[float | None]] | UnsetType = UNSET
    precision: str | UnsetType = UNSET


class CorpusEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One of several corpora: its utterances, speakers and classes, and whether it is only tested."""

    utterances: int
    speakers: int
    classes: list[str]
    only_tested: bool


class Average(msgspec.Struct, frozen=True):
    """Mean and sample standard deviation over folds."""

    mean: float
    std: float

    def __str__(self) -> str:
        """Both in percent."""
        return f"{100 * self.mean:.2f} ± {100 * self.std:.2f}"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Everything by which one cross-validation is told from another: the head of `summary.json`."""

    corpus: str
    corpora: dict[str, CorpusEntry] | UnsetType = UNSET
    utterances: int
    classes: list[str]
    left_out: dict[str, int] | UnsetType = UNSET
    model: str
    recipe: str
    recipe_settings: dict[str, Any]
    members: list[dict[str, Any]] | UnsetType = UNSET
    parameters: int
    protocol: ProtocolEntry
    seed: int
    init: dict[str, Any] | UnsetType = UNSET


class Summary(Identity, frozen=True, kw_only=True):
    """A cross-validation: its identity (`Experiment.identity`), its finished folds, and their averages."""

    version: str | UnsetType = UNSET
    folds: list[FoldEntry] = []
    audit: dict[str, int] | UnsetType = UNSET
    wa: Average | UnsetType = UNSET
    ua: Average | UnsetType = UNSET
    macro_f1: Average | UnsetType = UNSET
    ece_before: Average | UnsetType = UNSET
    ece: Average | UnsetType = UNSET
    nll_before: Average | UnsetType = UNSET
    nll: Average | UnsetType = UNSET
    coverage: Average | UnsetType = UNSET
    selective_wa: Average | UnsetType = UNSET

    @property
    def numbers(self) -> set[int]:
        """Numbers of the finished folds."""
        return {entry.fold for entry in self.folds}

    def with_fold(self, entry: FoldEntry) -> "Summary":
        """The summary with one more finished fold."""
        folds = sorted([*self.folds, entry], key=lambda item: item.fold)
        figures = {name: Average(**value) for name, value in averages([plain(item) for item in folds]).items()}
        return msgspec.structs.replace(self, folds=folds, **figures)

    def write(self, path: Path) -> None:
        """Write `summary.json`, atomically."""
        write_text(path, json.dumps(plain(self), indent=1) + "\n")


def plain(value: msgspec.Struct) -> dict[str, Any]:
    """Plain data, ready for JSON, without unset fields."""
    fields: dict[str, Any] = msgspec.to_builtins(value)
    return fields


def averages(folds: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation over folds of each figure, over those that have it.

    A fold in which nothing was answered has no `selective_wa`, and folds of older versions have no calibration.
    """
    figures = {}
    for name in (*Metrics._fields, *CalibrationFigures._fields):
        values = [item[name] for item in folds if item.get(name) is not None]
        if not values:
            continue
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        figures[name] = {"mean": round(statistics.fmean(values), 6), "std": round(deviation, 6)}
    return figures


def read_summary(path: Path) -> Summary:
    """Read a `summary.json`; settings that its recipe did not have yet when it ran are at their defaults.

    Raises:
        ConfigError: It holds other keys or values than those of a summary.
    """
    return parse(Summary, with_defaults(json.loads(path.read_text(encoding="utf-8")), str(path)), str(path))


def with_defaults(record: dict[str, Any], source: str) -> dict[str, Any]:
    """A record whose recipe has all settings; those that an older version did not have are at their defaults."""
    settings = parse(Recipe, record.get("recipe_settings", {}), source)
    return record | {"recipe_settings": to_plain(settings)}


def print_summary(summary: Summary) -> None:
    """Print the table of a cross-validation."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    protocol = summary.protocol
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{summary.corpus} · {summary.model} · {summary.recipe} · protocol {protocol.name}",
        caption="utterances: train/valid/test; mean ± sample standard deviation over folds; "
        f"{protocol.note}; {protocol.selection}; seed {summary.seed}{_calibration(summary)}",
    )
    for name in ("fold", "utterances", "epoch", "WA %", "UA %", "macro-F1 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in summary.folds:
        figures = (f"{100 * value:.2f}" for value in (item.wa, item.ua, item.macro_f1))
        table.add_row(str(item.fold), f"{item.train}/{item.valid}/{item.test}", str(item.best_epoch), *figures)
    table.add_section()
    table.add_row("mean", "", "", str(summary.wa), str(summary.ua), str(summary.macro_f1))
    Console().print(table)


def _calibration(summary: Summary) -> str:
    """Effect of temperature and threshold on the test parts, in words; empty if the summary lacks it."""
    before, after, coverage, right = summary.ece_before, summary.ece, summary.coverage, summary.selective_wa
    if not (isinstance(before, Average) and isinstance(after, Average) and isinstance(coverage, Average)):
        return ""
    answered = f" with {right.mean:.1%} of them right" if isinstance(right, Average) else ""
    return (
        f"; calibration error {before.mean:.1%} → {after.mean:.1%}; "
        f"answers above the threshold: {coverage.mean:.1%}{answered}"
    )


PredictionRow = dict[str, str]
"""A line of `predictions.csv`: column → text."""


def prediction_rows(
    corpus: Corpus, number: int, part: Positions, logits: NDArray[np.float32], temperature: float
) -> list[PredictionRow]:
    """A line for each utterance of a part: positions (P,), logits (P, C) and their temperature."""
    rows = []
    predictions = logits.argmax(axis=1)
    for index, best, scores in zip(part, predictions, probabilities(logits, temperature), strict=True):
        assert scores[best] == scores.max(), "a temperature above 0 keeps the prediction"
        row = {"fold": str(number), **identity(corpus, index), "prediction": corpus.classes[int(best)]}
        # Significant digits, not decimals: small probabilities are needed to undo the temperature.
        rows.append(row | {f"p_{name}": f"{p:.6g}" for name, p in zip(corpus.classes, scores, strict=True)})
    return rows


def identity(corpus: Corpus, index: int) -> PredictionRow:
    """Columns that identify the utterance of a line."""
    item = corpus.utterances[index]
    times = {} if item.end is None else {"start": f"{item.start or 0:g}", "end": f"{item.end:g}"}
    traits = {"corpus": item.corpus, "gender": item.gender, "language": item.language} if item.corpus else {}
    return {"file": item.file, **times, "speaker": item.speaker, **traits, "label": item.emotion}


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV of lines, with the columns of the first one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def measure_rows(rows: Sequence[PredictionRow], classes: Sequence[str]) -> Metrics:
    """Figures of lines of `predictions.csv`."""
    return measure([row["label"] for row in rows], [row["prediction"] for row in rows], classes)


def measure_row_calibration(
    rows: Sequence[PredictionRow], classes: Sequence[str], temperature: float, threshold: float
) -> CalibrationFigures:
    """Calibration of lines of `predictions.csv`, whose probabilities were made with this temperature."""
    scores = np.array([[float(row[f"p_{name}"]) for name in classes] for row in rows])
    labels = np.array([classes.index(row["label"]) for row in rows])
    correct = np.array([row["label"] == row["prediction"] for row in rows])
    return measure_calibration(scores, labels, correct, temperature, threshold)


def recalls(rows: Sequence[PredictionRow], classes: Sequence[str]) -> dict[str, float]:
    """Share of each class' utterances that were recognized."""
    hits: dict[str, list[bool]] = {name: [] for name in classes}
    for row in rows:
        hits[row["label"]].append(row["label"] == row["prediction"])
    return {name: round(float(np.mean(correct)), 4) for name, correct in hits.items() if correct}
