"""Cross-validation: train and calibrate on each fold, score its test part once, write down all that recomputes it."""

import csv
import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from lightning_fabric import Fabric

from emofocus.audio.fingerprint import Sound
from emofocus.config import ModelConfig, Recipe, parse, to_plain
from emofocus.corpora import Corpus
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech, SpeechSource
from emofocus.errors import ConfigError, SplitError
from emofocus.metrics.calibration import Calibration, CalibrationFigures, calibrate
from emofocus.metrics.classification import Metrics
from emofocus.models import build
from emofocus.models.checkpoint import save_config
from emofocus.prediction_rows import Row, csv_text, measure_row_calibration, measure_rows, prediction_rows, recalls
from emofocus.ranks import by_first, first_of_machine
from emofocus.scoring import mean_logits
from emofocus.splits.audit import Audit, audit
from emofocus.splits.folds import Fold, Folds, write_folds
from emofocus.training import Epoch, Fitted, fit
from emofocus.utils.atomic import write_text
from emofocus.utils.progress import say
from emofocus.version import __version__

SELECTION = "best validation UA; test scored once"
SELECTION_OF_REFIT = (
    "number of epochs and calibration by validation, in a run before; then trained anew, on the validation part too; "
    "test scored once"
)

FoldRunner = Callable[[Sequence[int]], Iterable[tuple[dict[str, Any], list[Row]]]]
"""Numbers of folds → what `run_fold` returns of each, in whatever order they are finished."""


class Settled(NamedTuple):
    """What the validation part of a fold has settled.

    Attributes:
        epochs: Length of training.
        calibration: Fitted to it.
    """

    epochs: int
    calibration: Calibration


@dataclass(frozen=True)
class Experiment:
    """All that a result depends on, beside the machine's arithmetic.

    Attributes:
        settled: Of each fold, in a run before: validation parts then have nothing left to say, and are trained on.
    """

    corpus: Corpus
    model: str
    recipe_name: str
    recipe: Recipe
    folds: Folds
    seed: int
    settled: tuple[Settled, ...] = ()

    @property
    def protocol(self) -> str:
        """Name of the way the folds were dealt."""
        return self.folds.protocol

    @property
    def selection(self) -> str:
        """What chose the weights that are tested."""
        return SELECTION_OF_REFIT if self.settled else SELECTION

    def fold(self, number: int) -> Fold:
        """What is trained, validated and tested on."""
        fold = self.folds[number]
        return Fold.of([*fold.train, *fold.valid], (), fold.test) if self.settled else fold

    def config(self) -> ModelConfig:
        """What the model directory of a fold says, before there are figures."""
        return self.recipe.config(self.model, self.corpus.classes, self.corpus.license)

    def identity(self) -> dict[str, Any]:
        """The head of `summary.json`."""
        return {
            "corpus": self.corpus.name,
            "utterances": len(self.corpus),
            "classes": list(self.corpus.classes),
            "left_out": dict(self.corpus.left_out),
            "model": self.model,
            "recipe": self.recipe_name,
            "recipe_settings": to_plain(self.recipe),
            "parameters": parameter_count(self.config()),
            "protocol": {
                "name": self.protocol,
                "note": self.folds.note,
                "folds": len(self.folds),
                "digest": self.folds.digest(self.corpus),
                "selection": self.selection,
            },
            "seed": self.seed,
        }


def parameter_count(config: ModelConfig) -> int:
    """Learned numbers of the network that a config describes."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(config).parameters())


def cross_validate(
    experiment: Experiment, out: Path, fabric: Fabric, source: SpeechSource, runner: FoldRunner | None = None
) -> dict[str, Any]:
    """Audit the folds, train and test every one; write what recomputes it.

    That is `summary.json`, `predictions.csv`, `folds.json` and `audit.json`, below ``out``.

    Both results are rewritten after each fold. When ``out`` holds finished folds of the same experiment already,
    they are kept, and an unfinished one goes on from its last epoch.

    Args:
        experiment: What to run.
        out: Where results go.
        fabric: Device, precision and processes.
        source: Where the corpus' features come from.
        runner: Runs folds some other way than one after the other in this process.

    Returns:
        The summary.

    Raises:
        ConfigError: ``out`` holds another experiment.
        SplitError: The folds leak.
    """
    summary, rows = by_first(fabric, lambda: _resume(out, experiment.identity()))
    done = {item["fold"] for item in summary["folds"]}
    todo = [number for number in range(len(experiment.folds)) if number not in done]
    if not todo:
        return summary
    with first_of_machine(fabric):
        speech, sounds = source.speech(experiment.recipe), source.sounds()
    audited = refuse_leaks(experiment, sounds)
    if fabric.is_global_zero:
        write_folds(experiment.folds, experiment.corpus, out / "folds.json")
        write_text(out / "audit.json", json.dumps(audited.to_plain(), indent=1) + "\n")
    summary["audit"] = audited.counts()

    def one_after_the_other(numbers: Sequence[int]) -> Iterable[tuple[dict[str, Any], list[Row]]]:
        for number in numbers:
            yield run_fold(experiment, number, speech, out / f"fold-{number}", fabric)

    for result, fold_rows in (runner or one_after_the_other)(todo):
        rows = sorted(rows + fold_rows, key=lambda row: int(row["fold"]))  # stable: as if one had followed another
        summary["folds"] = sorted([*summary["folds"], result], key=lambda item: int(item["fold"]))
        summary |= averages(summary["folds"])
        if fabric.is_global_zero:
            write_text(out / "predictions.csv", csv_text(rows))
            write_text(out / "summary.json", json.dumps(summary, indent=1) + "\n")
            (out / f"fold-{result['fold']}" / "last.safetensors").unlink(missing_ok=True)
    return summary


def refuse_leaks(experiment: Experiment, sounds: Sequence[Sound] | None) -> Audit:
    """Audit the folds of an experiment, by what is known of its utterances and, unless it is None, by how they sound.

    Raises:
        SplitError: They leak, and their protocol does not say so by its name.
    """
    found = audit(experiment.corpus.table, experiment.folds, sounds)
    if found.passed:
        return found
    if not experiment.folds.speakers_shared:
        worst = next(offence for offence in found.offences if offence.fails)
        raise SplitError(
            f"the {experiment.protocol} split of {experiment.corpus.name} fails its audit: {found.summary()}; "
            f"fold {worst.fold}: {worst.kind} {worst.value} {worst.parts or ''}. See it all with: emofocus audit; "
            "a split that is meant to be like this must be called --protocol random"
        )
    say(f"{experiment.corpus.name}, protocol {experiment.protocol}: parts share {found.summary()}")
    return found


def run_fold(
    experiment: Experiment,
    number: int,
    speech: Sequence[Sequence[Speech]],
    folder: Path,
    fabric: Fabric,
    after_epoch: Callable[[Epoch], None] | None = None,
) -> tuple[dict[str, Any], list[Row]]:
    """Train on a fold, calibrate on its validation part, then score its test part, once.

    Where an earlier run has settled length and calibration, the validation part is trained on as well.
    ``speech`` is what `SpeechSource.speech` returns: only training hears the altered speeds. ``folder`` then holds the
    network as a model directory without its ONNX file. ``after_epoch`` is `fit`'s.

    Returns:
        The fold's entry in `summary.json`, and its lines of `predictions.csv`.
    """
    labels, recipe, fold = experiment.corpus.labels(), experiment.recipe, experiment.fold(number)
    heard, *altered = speech
    train = SegmentDataset(heard, labels, recipe.segment, fold.train, variants=altered)
    test = SegmentDataset(heard, labels, recipe.segment, fold.test)
    torch.manual_seed(experiment.seed)
    network = build(experiment.config())
    title = f"{experiment.corpus.name} {experiment.protocol} fold {number}"
    if experiment.settled:
        epochs, calibration = experiment.settled[number]
        recipe = msgspec.structs.replace(recipe, epochs=epochs)
        fitted = fit(network, train, None, recipe, experiment.seed, folder, fabric, title, after_epoch)
    else:
        valid = SegmentDataset(heard, labels, recipe.segment, fold.valid)
        fitted = fit(network, train, valid, recipe, experiment.seed, folder, fabric, title, after_epoch)
        calibration = calibrate(mean_logits(network, valid, fabric), valid.labels)
    logits = mean_logits(network, test, fabric)
    rows = prediction_rows(experiment.corpus, number, fold.test, logits, calibration.temperature)
    classes = experiment.corpus.classes
    found, calibrated = measure_rows(rows, classes), measure_row_calibration(rows, classes, *calibration[:2])
    say(
        f"{title}: test WA {found.wa:.2%}, UA {found.ua:.2%} (epoch {fitted.best_epoch}); temperature "
        f"{calibration.temperature:.2f}: calibration error {calibrated.ece_before:.2%} → {calibrated.ece:.2%}"
    )
    result = _fold_entry(number, fold, fitted, calibration, found._asdict() | calibrated._asdict())
    result["precision"] = fabric._precision.precision  # of training alone: what is scored runs in float32
    if fabric.is_global_zero:
        save_config(folder, _with_provenance(experiment, result, rows))
    return result, rows


def averages(folds: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation over folds of each figure, over those that have it.

    A fold in which nothing was answered has no `selective_wa`, and folds of older versions have no calibration.
    """
    found = {}
    for name in (*Metrics._fields, *CalibrationFigures._fields):
        values = [item[name] for item in folds if item.get(name) is not None]
        if not values:
            continue
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        found[name] = {"mean": round(statistics.fmean(values), 6), "std": round(deviation, 6)}
    return found


def _fold_entry(
    number: int, fold: Fold, fitted: Fitted, calibration: Calibration, figures: dict[str, float | None]
) -> dict[str, Any]:
    valid = {"valid_coverage": calibration.valid.coverage, "valid_selective_wa": calibration.valid.accuracy}
    return {
        "fold": number,
        "train": len(fold.train),
        "valid": len(fold.valid),
        "test": len(fold.test),
        "best_epoch": fitted.best_epoch,
        "seconds": None if fitted.seconds is None else round(fitted.seconds, 1),
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "energy": calibration.energy,
        **{name: None if value is None else round(value, 6) for name, value in (figures | valid).items()},
        "version": __version__,
        "history": [[value and round(value, 5) for value in item.figures] for item in fitted.history],
    }


def _with_provenance(experiment: Experiment, result: dict[str, Any], rows: Sequence[Row]) -> ModelConfig:
    fitted = {name: result[name] for name in ("temperature", "threshold", "energy")}  # fields of the config itself
    training = {key: value for key, value in result.items() if key not in {"history", "seconds", *fitted}} | {
        "corpus": experiment.corpus.name,
        "recipe": experiment.recipe_name,
        "protocol": experiment.protocol,
        "note": experiment.folds.note,
        "selection": experiment.selection,
        "seed": experiment.seed,
        "test_speakers": sorted({row["speaker"] for row in rows}),
        "test_recalls": recalls(rows, experiment.corpus.classes),
    }
    return msgspec.structs.replace(experiment.config(), training=training, **fitted)


def _resume(out: Path, identity: dict[str, Any]) -> tuple[dict[str, Any], list[Row]]:
    """What earlier runs of the same experiment finished."""
    path = out / "summary.json"
    if not path.exists():
        summary = identity | {"version": __version__, "folds": []}
        write_text(path, json.dumps(summary, indent=1) + "\n")
        return summary, []
    summary = read_summary(path)
    refuse_difference(out, summary, identity)
    done = {str(item["fold"]) for item in summary["folds"]}
    if not done:
        return summary, []
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] in done]
    if {row["fold"] for row in rows} != done:
        raise SplitError(f"{out}: predictions.csv lacks folds that summary.json has; remove both to start again")
    return summary, rows


def read_summary(path: Path) -> dict[str, Any]:
    """A `summary.json`; settings that its recipe did not have yet when it ran are at their defaults."""
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    summary["recipe_settings"] = to_plain(parse(Recipe, summary.get("recipe_settings", {}), str(path)))
    return summary


def refuse_difference(run: Path, there: dict[str, Any], identity: dict[str, Any]) -> None:
    """Refuse a run that is another experiment's.

    Raises:
        ConfigError: It is.
    """
    different = [key for key, value in identity.items() if there.get(key) != value]
    if different:
        shown = ", ".join(f"{key} is {there.get(key)!r}, not {identity[key]!r}" for key in different)
        raise ConfigError(f"{run} holds another run ({shown}); name another folder")
