"""Answers of a model to labeled utterances, as `predictions.csv` holds them."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.corpora import CORPORA
from emofocus.corpora.labels import aligned
from emofocus.errors import ConfigError, CorpusError
from emofocus.evaluation.assessment.classes import Classes
from emofocus.metrics.statistics import Array, Numbers, Predictions

FILE = "predictions.csv"
"""Name of the file that holds the answers of a run."""

REQUIRED = ("file", "label", "prediction")

TRAITS = ("gender", "language", "channel", "length", "corpus", "session", "fold", "warnings", "speaker")
"""Traits by which results are told apart, in the order of a report."""

COLUMN_OF = {"channel": "channel_kind"}
"""Trait → its column in a file; the column ``channel`` is that of the channel of a file which was heard alone."""

LENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Edges between lengths of utterances, in seconds."""

Row = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of one model to labeled utterances.

    Attributes:
        name: Name of the model in a report.
        classes: Classes that it may answer (C,).
        utterances: Name of each utterance (U,).
        labels: True class of each, which the model may lack (U,).
        predictions: Class that it answered (U,).
        probabilities: Probability of each class (U, C).
        thresholds: Probability from which on an answer counts as confident; NaN where it is not known (U,).
        traits: Trait → its value for each utterance, empty where it is not known (U,).
    """

    name: str
    classes: tuple[str, ...]
    utterances: tuple[str, ...]
    labels: tuple[str, ...]
    predictions: tuple[str, ...]
    probabilities: Array
    thresholds: Array
    traits: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self.utterances)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Speaker of each utterance; all are empty where nobody knows them."""
        return self.traits["speaker"]

    def kept(self, chosen: NDArray[np.bool_]) -> "Answers":
        """Some of the utterances: chosen (U,)."""
        numbers = np.flatnonzero(chosen).tolist()

        def part(values: Sequence[str]) -> tuple[str, ...]:
            return tuple(values[number] for number in numbers)

        return replace(
            self,
            utterances=part(self.utterances),
            labels=part(self.labels),
            predictions=part(self.predictions),
            probabilities=self.probabilities[numbers],
            thresholds=self.thresholds[numbers],
            traits={name: part(values) for name, values in self.traits.items()},
        )

    def with_labels_in(self, classes: Iterable[str]) -> "Answers":
        """Utterances whose true class is one of some."""
        known = set(classes)
        return self.kept(np.array([label in known for label in self.labels], dtype=bool))

    def renamed(self, classes: Sequence[str]) -> "Answers":
        """Classes and labels called as those of another model that mean the same."""
        names = aligned((*self.classes, *self.labels), classes)

        def new(values: Sequence[str]) -> tuple[str, ...]:
            return tuple(names.get(value, value) for value in values)

        return replace(self, classes=new(self.classes), labels=new(self.labels), predictions=new(self.predictions))

    def asked(self, classes: Classes) -> "Answers":
        """Answers where only some classes are asked for, each of which may stand for several.

        Utterances of other classes are left out. Probabilities are summed and divided by their sum, and the largest
        one is the answer.
        """
        standing = {member: name for name, members in classes.items() for member in members}
        kept = self.with_labels_in(standing)
        sums = np.zeros((len(kept), len(classes)))
        for column, members in enumerate(classes.values()):
            for member in members:
                if member in kept.classes:
                    sums[:, column] += kept.probabilities[:, kept.classes.index(member)]
        names = tuple(classes)
        best = sums.argmax(axis=1) if len(kept) else np.zeros(0, int)
        return replace(
            kept,
            classes=names,
            labels=tuple(standing[label] for label in kept.labels),
            predictions=tuple(names[number] for number in best.tolist()),
            probabilities=sums / np.maximum(sums.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny),
        )

    def numbered(self, classes: Sequence[str]) -> Predictions:
        """Answers as tests and intervals take them, with the numbers of some classes."""
        number = {name: index for index, name in enumerate(classes)}

        def numbers(values: Sequence[str]) -> Numbers:
            return np.array([number[value] for value in values], dtype=np.int64)

        return Predictions(
            name=self.name,
            classes=tuple(classes),
            protocol="",
            digest="",
            utterances=self.utterances,
            speakers=self.speakers,
            labels=numbers(self.labels),
            predictions=numbers(self.predictions),
        )


def shared_utterances(answers: Sequence[Answers]) -> list[Answers]:
    """Answers to those utterances that all of several models have answered, in one order.

    Raises:
        ConfigError: There are none, or two models have other labels for one.
    """
    common = set.intersection(*(set(item.utterances) for item in answers))
    if not common:
        names = " and ".join(item.name for item in answers)
        raise ConfigError(f"{names} have answered no utterance in common: name results on the same corpus")
    order = sorted(common)
    made = []
    for item in answers:
        place = {name: number for number, name in enumerate(item.utterances)}
        numbers = [place[name] for name in order]
        made.append(
            replace(
                item,
                utterances=tuple(order),
                labels=tuple(item.labels[number] for number in numbers),
                predictions=tuple(item.predictions[number] for number in numbers),
                probabilities=item.probabilities[numbers],
                thresholds=item.thresholds[numbers],
                traits={name: tuple(values[number] for number in numbers) for name, values in item.traits.items()},
            )
        )
    for item in made[1:]:
        for name, one, other in zip(order, made[0].labels, item.labels, strict=True):
            if one != other:
                raise ConfigError(f"{made[0].name} and {item.name} label {name} differently: {one!r} and {other!r}")
    return made


def read_answers(path: Path, name: str) -> Answers:
    """Read a `predictions.csv`, as `emofocus crossval` and `emofocus evaluate` write it.

    The thresholds of a cross-validation are read from the `summary.json` beside it. Where that names a known corpus,
    names of files tell what their rows do not, such as the sex of speakers.

    Args:
        path: The file.
        name: Name of the model in a report.

    Raises:
        ConfigError: The file is not there, or holds no answers.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows: list[Row] = list(csv.DictReader(file))
    except (OSError, UnicodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read ({reason})") from error
    columns = list(rows[0]) if rows else []
    classes = tuple(column.removeprefix("p_") for column in columns if str(column).startswith("p_"))
    missing = [column for column in REQUIRED if column not in columns]
    if missing or not classes:
        lacks = f"no column {missing[0]!r}" if missing else "no probabilities (p_…)"
        raise ConfigError(f"{path}: holds no answers to labeled utterances: it has {lacks if rows else 'no line'}")
    try:
        probabilities = np.array([[float(row[f"p_{name}"]) for name in classes] for row in rows])
        answers = Answers(
            name=name,
            classes=classes,
            utterances=tuple(_utterance(row) for row in rows),
            labels=tuple(row["label"] for row in rows),
            predictions=tuple(row["prediction"] for row in rows),
            probabilities=probabilities,
            thresholds=_thresholds(path, rows),
            traits=_traits(path, rows),
        )
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: damaged, its rows cannot be read ({error})") from error
    strange = next((label for label in answers.predictions if label not in classes), None)
    if strange is not None or not np.isfinite(probabilities).all():
        raise ConfigError(f"{path}: damaged, {strange or 'a probability'!r} is no class of it, or no number")
    return answers


def _utterance(row: Row) -> str:
    start, end = row.get("start") or "", row.get("end") or ""
    return f"{row['file']}@{start or 0}-{end}" if start or end else row["file"]


def _summary(path: Path) -> Mapping[str, Any]:
    with suppress(OSError, ValueError):
        content = json.loads((path.parent / "summary.json").read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _thresholds(path: Path, rows: Sequence[Row]) -> Array:
    """Threshold of each row: its own, or that of its fold."""
    if "threshold" in rows[0]:
        return np.array([float(row["threshold"] or "nan") for row in rows])
    folds = _summary(path).get("folds", []) if "fold" in rows[0] else []
    by_fold = {str(fold["fold"]): fold.get("threshold", np.nan) for fold in folds}
    return np.array([by_fold.get(row.get("fold", ""), np.nan) for row in rows], dtype=np.float64)


def _traits(path: Path, rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    traits = {name: tuple(row.get(COLUMN_OF.get(name, name)) or "" for row in rows) for name in TRAITS}
    traits["length"] = tuple(_length(row) for row in rows)
    reader = CORPORA.get(str(_summary(path).get("corpus", "")))
    if reader is not None and not any(traits["gender"]):
        genders = []
        for row in rows:
            utterance = None
            with suppress(CorpusError):
                utterance = reader.parse(PurePosixPath(row["file"]))
            genders.append(utterance.gender if utterance else "")
        traits["gender"] = tuple(genders)
    return traits


def _length(row: Row) -> str:
    """Length of an utterance in words."""
    seconds = row.get("duration") or ""
    if not seconds and row.get("end"):
        seconds = str(float(row["end"]) - float(row.get("start") or 0))
    return length_in_words(float(seconds)) if seconds else ""


def length_in_words(seconds: float) -> str:
    """Length of an utterance between two of `LENGTHS`."""
    number = int(np.searchsorted(LENGTHS, seconds))
    if number == 0:
        return f"up to {LENGTHS[0]:g} s"
    return f"over {LENGTHS[-1]:g} s" if number == len(LENGTHS) else f"{LENGTHS[number - 1]:g} to {LENGTHS[number]:g} s"
