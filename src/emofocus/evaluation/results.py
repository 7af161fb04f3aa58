"""Results of cross-validation, read and checked: every figure is computed anew from `predictions.csv`."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET
from msgspec.structs import replace
from numpy.typing import NDArray

from emofocus.config import FeatureSettings
from emofocus.errors import EmofocusError, one_of
from emofocus.metrics.calibration import CalibrationFigures, measure_calibration
from emofocus.metrics.statistics import FIGURES, Array, Numbers, Predictions, confusion, figures
from emofocus.splits.folds import PARTS, digest_of
from emofocus.splits.kept_recordings import DIGITS, RECORDINGS, kept_hashes
from emofocus.splits.protocols import PROTOCOLS
from emofocus.training.results import Average, PredictionRow, Summary, csv_text
from emofocus.utils.atomic import write_text
from emofocus.version import __version__

TOLERANCE = 1.5e-6
"""Largest difference of a figure that is written with six decimals."""

FILES = ("predictions.csv", "folds.json")
"""Files of a run beside its summary."""

GROUPS = ("corpus", "gender", "language")
"""Columns of predictions on several corpora, by which figures are told apart."""

HEAD = ("corpus", "classes", "model", "recipe", "recipe_settings", "parameters", "protocol", "seed", "folds")
"""Keys of every summary."""


ADAPTED = "+voice"
"""Mark in the name of a protocol whose networks were adapted to unlabelled speech of the test speakers."""


OFFSET_REMOVED = "+offset-removed"
"""Mark after the name of a recipe whose features remove a DC offset; recipes without it keep it."""


class ResultError(EmofocusError):
    """Results that are missing, incomplete, or disagree with their own predictions."""


class ResultKey(NamedTuple):
    """Names that results of several seeds share."""

    corpus: str
    protocol: str
    model: str
    recipe: str


@dataclass(frozen=True, eq=False)
class RunResult:
    """One run of cross-validation.

    Attributes:
        name: Folder of the run, relative to the folder of results if there is one.
        summary: Identity, finished folds and averages.
        predictions: Predictions of all folds, sorted by utterance (U,).
        folds: Number of the fold that tests each utterance (U,).
        probabilities: Probability of each class (U, C), calibrated if the run has temperatures.
        shared: Number of test speakers who are also in another part of their fold; None if names do not tell.
        audit: Number of offenders of each kind in the split; None if the run holds no audit.
        groups: Corpus, gender and language of each utterance (U,), in results on several corpora.
    """

    name: str
    summary: Summary
    predictions: Predictions
    folds: Numbers
    probabilities: Array
    shared: int | None
    audit: dict[str, int] | None
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    @property
    def key(self) -> ResultKey:
        """Corpus, protocol, model and recipe, which results of several seeds share.

        Recipes were changed to remove a DC offset and kept their names, so that the name alone does not tell.
        """
        summary = self.summary
        removed = any(features.remove_offset is True for features in _features(summary.recipe_settings))
        recipe = summary.recipe + OFFSET_REMOVED * removed
        return ResultKey(summary.corpus, summary.protocol.name, summary.model, recipe)

    @property
    def front_end(self) -> str:
        """Features in words; of an ensemble, those of each member that differ."""
        settings = _features(self.summary.recipe_settings)
        return "; ".join(dict.fromkeys(item.description for item in settings))

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.summary.seed

    @property
    def member_seeds(self) -> list[int]:
        """Distinct seeds of the runs that an ensemble combines; empty for a single run."""
        return sorted({int(member["seed"]) for member in self.summary.members or ()})

    @property
    def finished(self) -> bool:
        """Whether the run holds all folds."""
        return len(self.summary.folds) == self.summary.protocol.folds

    @property
    def optimistic(self) -> bool:
        """Whether speakers of test parts are heard in training."""
        protocol = PROTOCOLS.get(self.key.protocol)
        shared = protocol is not None and protocol.speakers_shared
        return shared or bool(self.shared) or "speaker" in (self.audit or {})

    @cached_property
    def by_fold(self) -> Array:
        """WA, UA and macro-F1 of each fold, in the order of the summary: (folds, 3)."""
        return np.stack([figures(self.counts(self.folds == item.fold)) for item in self.summary.folds])

    @cached_property
    def calibration(self) -> list[CalibrationFigures]:
        """Calibration figures of each fold; empty if a fold has no temperature, as in older versions."""
        measured = []
        for item in self.summary.folds:
            if item.temperature is UNSET or item.threshold is UNSET:
                return []
            chosen = self.folds == item.fold
            labels, correct = self.predictions.labels[chosen], self.predictions.correct[chosen]
            probabilities = self.probabilities[chosen]
            measured.append(measure_calibration(probabilities, labels, correct, item.temperature, item.threshold))
        return measured

    def figures_of(self, chosen: NDArray[np.bool_], classes: Sequence[str] | None = None) -> Array:
        """WA, UA and macro-F1 of some utterances, where only some classes are asked for: (3,).

        Args:
            chosen: Whether each utterance counts (U,).
            classes: Classes asked for: utterances of others do not count, and the most probable one of these is the
                prediction; all by default.
        """
        items = self.predictions
        if classes is None:
            return figures(self.counts(chosen))
        asked = np.array([items.classes.index(name) for name in classes if name in items.classes])
        kept = chosen & np.isin(items.labels, asked)
        best = asked[self.probabilities[kept][:, asked].argmax(axis=1)]
        return figures(confusion(items.labels[kept], best, len(items.classes)))

    def counts(self, chosen: NDArray[np.bool_] | slice = slice(None)) -> Numbers:
        """Confusion matrix of some utterances, or of all: (C, C)."""
        items = self.predictions
        return confusion(items.labels[chosen], items.predictions[chosen], len(items.classes))


def _features(recipe: Mapping[str, Any]) -> list[FeatureSettings]:
    """Features of a recipe's settings, or of those of each member of an ensemble."""
    members: list[Mapping[str, Any]] = [value for value in recipe.values() if isinstance(value, dict)]
    found = [member["features"] for member in members if "features" in member] or [recipe.get("features", {})]
    return [msgspec.convert(features, FeatureSettings) for features in found]


def read_results(root: Path) -> list[RunResult]:
    """Read and check all results below a folder.

    Returns:
        Results with at least one finished fold, sorted by corpus, protocol, model, recipe and seed.

    Raises:
        ResultError: The folder holds no results, files are missing, or a figure disagrees with `predictions.csv`.
    """
    paths = sorted(root.rglob("summary.json"))
    contents = ((path, _json(path)) for path in paths)
    results = [
        _read(path, _summary(path, content), path.parent.relative_to(root).as_posix())
        for path, content in contents
        if content.get("folds")
    ]
    if not results:
        reason = (
            "has no finished fold"
            if paths
            else "there is no summary.json below it"
            if root.is_dir()
            else "is not there"
        )
        raise ResultError(f"no results in {root} ({reason}); emofocus crossval writes some with --out {root}/NAME")
    seen: dict[tuple[ResultKey, int], str] = {}
    for result in results:
        other = seen.setdefault((result.key, result.seed), result.name)
        if other != result.name:
            raise ResultError(
                f"{other} and {result.name} are the same experiment: {', '.join(result.key)}, seed {result.seed}"
            )
    return sorted(results, key=lambda result: (result.key, result.seed))


def read_run(folder: Path, whole: bool = True) -> RunResult:
    """Read and check one run; its name is the folder as given.

    Args:
        folder: Folder of the run.
        whole: Refuse a run that lacks folds; otherwise one finished fold is enough.

    Raises:
        ResultError: The folder is no run, lacks folds, or holds a figure that disagrees with `predictions.csv`.
    """
    path = folder / "summary.json"
    if not path.exists():
        reason = "there is no summary.json in it" if folder.is_dir() else "there is no such folder"
        raise ResultError(f"{folder} is no run of emofocus crossval: {reason}")
    content = _json(path)
    missing = [key for key in HEAD if key not in content]
    if missing:
        raise ResultError(f"{folder} is no run of emofocus crossval: its summary.json has no {missing[0]!r}")
    summary = _summary(path, content)
    done, folds = len(summary.folds), summary.protocol.folds
    if done < (folds if whole else 1):
        raise ResultError(f"{folder} has finished {done} of {folds} folds; emofocus crossval with its --out goes on")
    return _read(path, summary, folder.as_posix())


def write_scored_again(
    run: RunResult, source: Path, out: Path, summary: Summary, rows: Sequence[PredictionRow]
) -> Summary:
    """Write a run whose networks were trained for another one, with that one's folds and audit.

    Args:
        run: The run that trained.
        source: Folder of that run.
        out: Folder to write.
        summary: Summary of the new run, with its folds.
        rows: Its predictions.

    Returns:
        The summary as it was written.
    """
    summary = replace(summary, version=__version__, audit=UNSET if run.audit is None else run.audit)
    for name in ("folds.json", "audit.json"):
        if (source / name).exists():
            write_text(out / name, (source / name).read_text(encoding="utf-8"))
    write_text(out / "predictions.csv", csv_text(rows))
    summary.write(out / "summary.json")
    return summary


def _summary(path: Path, content: Any) -> Summary:
    """The content of a `summary.json`. Settings of its recipe stay as they were written."""
    try:
        return msgspec.convert(content, Summary)
    except msgspec.ValidationError as error:
        raise ResultError(f"{path}: {error}") from None


def _read(path: Path, summary: Summary, name: str) -> RunResult:
    folder = path.parent
    missing = [name for name in FILES if not (folder / name).exists()]
    if missing:
        raise ResultError(f"{folder} has a summary.json but no {missing[0]}")
    rows = _rows(folder / "predictions.csv", summary.classes)
    folds = _json(folder / "folds.json")["folds"]
    digest = digest_of(folds)
    _check_digest(path, summary, digest)
    _check_sizes(path, summary, rows, folds)
    _check_recordings(folder / RECORDINGS, folds)
    result = RunResult(
        name=name,
        summary=summary,
        predictions=_predictions(name, summary, rows, digest),
        folds=np.array([int(row["fold"]) for row in rows]),
        probabilities=np.array([[float(row[f"p_{name}"]) for name in summary.classes] for row in rows]),
        shared=_shared_speakers(rows, folds),
        audit=_audit(folder, summary),
        groups={name: np.array([row[name] for row in rows]) for name in GROUPS if name in rows[0]},
    )
    _check_figures(path, result)
    return result


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(f"{path} is no JSON: {error}") from error


def _rows(path: Path, classes: Sequence[str]) -> list[PredictionRow]:
    """Rows of `predictions.csv`, sorted by utterance."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=utterance_of)
    columns = set(rows[0]) if rows else set()
    missing = {"fold", "file", "speaker", "label", "prediction", *(f"p_{name}" for name in classes)} - columns
    if missing:
        raise ResultError(f"{path} has no column {min(missing)}, or no line")
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        for name in ("label", "prediction"):
            if row[name] not in classes:
                raise ResultError(f"{path}: {utterance_of(row)}: {name} {row[name]!r} is no class ({one_of(classes)})")
        if after is not None and utterance_of(row) == utterance_of(after):
            raise ResultError(f"{path}: {utterance_of(row)} is there more than once")
    return rows


def utterance_of(row: PredictionRow) -> str:
    """Name of an utterance: its file, with its times if it is a cut."""
    return f"{row['file']}@{row['start']}-{row['end']}" if row.get("end") else row["file"]


def _predictions(name: str, summary: Summary, rows: Sequence[PredictionRow], digest: str) -> Predictions:
    number = {label: index for index, label in enumerate(summary.classes)}
    return Predictions(
        name=name,
        classes=tuple(summary.classes),
        protocol=summary.protocol.name,
        digest=digest,
        utterances=tuple(utterance_of(row) for row in rows),
        speakers=tuple(row["speaker"] for row in rows),
        labels=np.array([number[row["label"]] for row in rows]),
        predictions=np.array([number[row["prediction"]] for row in rows]),
    )


def _shared_speakers(rows: Sequence[PredictionRow], folds: Sequence[dict[str, list[str]]]) -> int | None:
    """Number of test speakers who are also in another part of their fold; None if names do not tell."""
    speaker = {Path(row["file"]).stem: row["speaker"] for row in rows}
    if len(speaker) < len(rows) or "" in speaker.values():
        return None
    shared: set[str] = set()
    for fold in folds:
        parts = [{speaker.get(Path(key).stem, "") for key in fold[name]} for name in PARTS]
        if any("" in part for part in parts):
            return None
        shared |= parts[2] & (parts[0] | parts[1])
    return len(shared)


def _audit(folder: Path, summary: Summary) -> dict[str, int] | None:
    """Number of offenders by kind, from the summary or from `audit.json` beside it."""
    if summary.audit is not UNSET:
        return summary.audit
    if not (folder / "audit.json").exists():
        return None
    offences = _json(folder / "audit.json")["offences"]
    kinds = dict.fromkeys(offence["kind"] for offence in offences)
    return {kind: len({offence["value"] for offence in offences if offence["kind"] == kind}) for kind in kinds}


def _check_digest(path: Path, summary: Summary, digest: str) -> None:
    stated = summary.protocol.digest
    if stated is not UNSET and stated != digest:  # results of older versions have none
        raise ResultError(f"{path}: the digest of the folds is {stated}, but folds.json gives {digest}")


def _check_sizes(
    path: Path, summary: Summary, rows: Sequence[PredictionRow], folds: Sequence[dict[str, list[str]]]
) -> None:
    for item in summary.folds:
        tested = sum(row["fold"] == str(item.fold) for row in rows)
        if tested != item.test:
            raise ResultError(f"{path}: fold {item.fold} tests {item.test} utterances, predictions.csv has {tested}")
        held = {name: len(folds[item.fold][name]) for name in PARTS}
        if held["valid"] and not item.valid:  # --refit trains on it
            held |= {"train": held["train"] + held["valid"], "valid": 0}
        for name, stated in zip(PARTS, (item.train, item.valid, item.test), strict=True):
            if held[name] != stated:
                raise ResultError(f"{path}: fold {item.fold} has {stated} in {name}, folds.json has {held[name]}")
    strangers = {row["fold"] for row in rows} - {str(item.fold) for item in summary.folds}
    if strangers:
        raise ResultError(f"{path} has no fold {min(strangers)}, which predictions.csv has")


def _check_recordings(path: Path, folds: Sequence[dict[str, list[str]]]) -> None:
    """Compare the hashes of the files of results on several corpora: nothing tested or kept was trained on."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        hashes = {row["key"]: row["blake2b"] for row in csv.DictReader(file)}
    for number, fold in enumerate(folds):
        missing = [key for name in PARTS for key in fold[name] if key not in hashes]
        if missing:
            raise ResultError(f"{path} has no hash of {missing[0]}, which fold {number} uses")
        tested = {hashes[key] for key in fold["test"]}
        for key in (*fold["train"], *fold["valid"]):
            if hashes[key] in tested or hashes[key][:DIGITS] in kept_hashes():
                raise ResultError(f"{path}: fold {number} trains or validates on {key}, which is tested or kept for it")


def _check_figures(path: Path, result: RunResult) -> None:
    """Compare every figure of the summary with the predictions."""
    for figure, stated, computed in _stated(result):
        if not _same(stated, computed):
            given = "none" if computed is None else f"{computed:.6f}"
            raise ResultError(f"{path}: {figure} is {stated}, but predictions.csv gives {given}")
    best = result.probabilities.argmax(axis=1)
    rows = np.arange(len(best))
    lower = result.probabilities[rows, result.predictions.predictions] < result.probabilities[rows, best]
    if lower.any():
        name = result.predictions.utterances[int(np.flatnonzero(lower)[0])]
        raise ResultError(f"{path.parent / 'predictions.csv'}: {name}: the prediction is not its most probable class")


def _same(stated: float | None, computed: float | None) -> bool:
    if stated is None or computed is None:
        return stated is computed
    return abs(stated - computed) <= TOLERANCE


def _stated(result: RunResult) -> Iterator[tuple[str, float | None, float | None]]:
    """Name, stated value and computed value of each figure of the summary."""
    columns: dict[str, list[float | None]] = dict(zip(FIGURES, result.by_fold.T.tolist(), strict=True))
    for name in CalibrationFigures._fields if result.calibration else ():
        columns[name] = [getattr(item, name) for item in result.calibration]
    for name, values in columns.items():
        for item, value in zip(result.summary.folds, values, strict=True):
            stated = getattr(item, name)
            yield f"{name} of fold {item.fold}", None if stated is UNSET else stated, value
        average = getattr(result.summary, name)
        yield from _stated_averages(
            name, None if average is UNSET else average, [value for value in values if value is not None]
        )


def _stated_averages(
    name: str, stated: Average | None, values: list[float]
) -> Iterator[tuple[str, float | None, float | None]]:
    if values:  # there is no average if no fold has answers
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        yield f"the mean {name}", stated.mean if stated else None, float(np.mean(values))
        yield f"the std of {name}", stated.std if stated else None, deviation
