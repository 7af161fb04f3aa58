"""Cross-validation: train and calibrate on each fold, score its test part once, write down all that recomputes it."""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from lightning_fabric import Fabric

from emofocus.config import ModelConfig, parse
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech, SpeechSource
from emofocus.errors import SplitError
from emofocus.metrics.calibration import Calibration, calibrate
from emofocus.models import build
from emofocus.models.checkpoint import save_config
from emofocus.splits.folds import Fold, write_folds
from emofocus.training.distributed import by_first, first_of_machine
from emofocus.training.experiment import Experiment, provenance, refuse_leaks
from emofocus.training.loop import Epoch, Fitted, fit, mean_logits
from emofocus.training.results import (
    FoldEntry,
    PredictionRow,
    Summary,
    csv_text,
    measure_row_calibration,
    measure_rows,
    plain,
    prediction_rows,
    read_summary,
    recalls,
)
from emofocus.utils.atomic import write_text
from emofocus.utils.progress import log_line
from emofocus.utils.provenance import PROVENANCE, refuse_other_work, resumes, write_record
from emofocus.version import __version__

FoldResult = tuple[FoldEntry, list[PredictionRow]]
"""A fold's entry in `summary.json`, and its lines of `predictions.csv`."""

FoldRunner = Callable[[Sequence[int]], Iterable[FoldResult]]
"""Numbers of folds → the result of each, in the order in which they are finished."""


def cross_validate(
    experiment: Experiment,
    out: Path,
    fabric: Fabric,
    source: SpeechSource,
    runner: FoldRunner | None = None,
    precision: str = "32-true",
) -> Summary:
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
        precision: Arithmetic in which folds are trained.

    Returns:
        The summary.

    Raises:
        ConfigError: ``out`` holds another experiment.
        SplitError: The folds leak.
    """
    summary, rows = by_first(fabric, lambda: _resume(out, experiment, provenance(experiment, source, precision)))
    todo = [number for number in range(len(experiment.folds)) if number not in summary.numbers]
    if not todo:
        return summary
    with first_of_machine(fabric):
        speech, fingerprints = source.speech(experiment.recipe), source.fingerprints()
    audited = refuse_leaks(experiment, fingerprints)
    if fabric.is_global_zero:
        write_folds(experiment.folds, experiment.corpus, out / "folds.json")
        write_text(out / "audit.json", json.dumps(audited.to_plain(), indent=1) + "\n")
    summary = msgspec.structs.replace(summary, audit=audited.counts())

    def one_after_the_other(numbers: Sequence[int]) -> Iterable[FoldResult]:
        for number in numbers:
            yield run_fold(experiment, number, speech, out / f"fold-{number}", fabric)

    for entry, fold_rows in (runner or one_after_the_other)(todo):
        rows = sorted(rows + fold_rows, key=lambda row: int(row["fold"]))  # stable: as if one had followed another
        summary = summary.with_fold(entry)
        if fabric.is_global_zero:
            write_text(out / "predictions.csv", csv_text(rows))
            summary.write(out / "summary.json")
            (out / f"fold-{entry.fold}" / "last.safetensors").unlink(missing_ok=True)
    return summary


def run_fold(
    experiment: Experiment,
    number: int,
    speech: Sequence[Sequence[Speech]],
    folder: Path,
    fabric: Fabric,
    after_epoch: Callable[[Epoch], None] | None = None,
) -> FoldResult:
    """Train on a fold, calibrate on its validation part, then score its test part, once.

    Where an earlier run has settled length and calibration, the validation part is trained on as well.
    ``speech`` is what `SpeechSource.speech` returns: only training hears the altered speeds. ``folder`` then holds the
    network as a model directory without its ONNX file. ``after_epoch`` is `fit`'s.

    Returns:
        The fold's entry in `summary.json`, and its lines of `predictions.csv`.
    """
    labels, recipe, fold = experiment.corpus.labels(), experiment.recipe, experiment.fold(number)
    original, *altered = speech
    train = SegmentDataset(original, labels, recipe.segment, fold.train, variants=altered)
    test = SegmentDataset(original, labels, recipe.segment, fold.test)
    torch.manual_seed(experiment.seed)
    network = build(experiment.config())
    network.load_pretrained()
    title = f"{experiment.corpus.name} {experiment.protocol} fold {number}"
    if experiment.validation_choices:
        epochs, calibration = experiment.validation_choices[number]
        recipe = msgspec.structs.replace(recipe, epochs=epochs)
        fitted = fit(network, train, None, recipe, experiment.seed, folder, fabric, title, after_epoch)
    else:
        valid = SegmentDataset(original, labels, recipe.segment, fold.valid)
        fitted = fit(network, train, valid, recipe, experiment.seed, folder, fabric, title, after_epoch)
        calibration = calibrate(mean_logits(network, valid, fabric), valid.labels)
    logits = mean_logits(network, test, fabric)
    rows = prediction_rows(experiment.corpus, number, fold.test, logits, calibration.temperature)
    classes = experiment.corpus.classes
    metrics, calibrated = measure_rows(rows, classes), measure_row_calibration(rows, classes, *calibration[:2])
    log_line(
        f"{title}: test WA {metrics.wa:.2%}, UA {metrics.ua:.2%} (epoch {fitted.best_epoch}); temperature "
        f"{calibration.temperature:.2f}: calibration error {calibrated.ece_before:.2%} → {calibrated.ece:.2%}"
    )
    figures = metrics._asdict() | calibrated._asdict()
    entry = _fold_entry(number, fold, fitted, calibration, figures, str(fabric._precision.precision))
    if fabric.is_global_zero:
        save_config(folder, _with_provenance(experiment, entry, rows))
    return entry, rows


def _fold_entry(
    number: int,
    fold: Fold,
    fitted: Fitted,
    calibration: Calibration,
    figures: dict[str, float | None],
    precision: str,
) -> FoldEntry:
    valid = {"valid_coverage": calibration.valid.coverage, "valid_selective_wa": calibration.valid.accuracy}
    rounded: dict[str, Any] = {
        name: None if value is None else round(value, 6) for name, value in (figures | valid).items()
    }
    return FoldEntry(
        fold=number,
        train=len(fold.train),
        valid=len(fold.valid),
        test=len(fold.test),
        best_epoch=fitted.best_epoch,
        seconds=None if fitted.seconds is None else round(fitted.seconds, 1),
        temperature=calibration.temperature,
        threshold=calibration.threshold,
        energy=calibration.energy,
        version=__version__,
        history=[[value and round(value, 5) for value in item.figures] for item in fitted.history],
        precision=precision,
        **rounded,
    )


def _with_provenance(experiment: Experiment, entry: FoldEntry, rows: Sequence[PredictionRow]) -> ModelConfig:
    result = plain(entry)
    fitted = {name: result.pop(name) for name in ("temperature", "threshold", "energy")}  # fields of the config itself
    training = {name: value for name, value in result.items() if name not in ("history", "seconds")} | {
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


def _resume(out: Path, experiment: Experiment, record: dict[str, object]) -> tuple[Summary, list[PredictionRow]]:
    """What earlier runs of the same experiment finished.

    A run of an older version has no record of its recordings: its summary alone must agree, and it gets one.
    """
    path, summary = out / "summary.json", None
    if path.exists():
        summary = read_summary(path)
        refuse_other_work(out, plain(summary), experiment.identity())
    if summary and not (out / PROVENANCE).exists():
        log_line(f"{out}: folds of an older version, which did not note its recordings, are kept")
        write_record(out / PROVENANCE, record)
    resumes(out, out / PROVENANCE, record, occupied=bool(summary) or any(out.glob("fold-*/*.safetensors")))
    if summary is None:
        summary = parse(Summary, experiment.identity() | {"version": __version__}, str(path))
        summary.write(path)
        return summary, []
    done = {str(number) for number in summary.numbers}
    if not done:
        return summary, []
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] in done]
    if {row["fold"] for row in rows} != done:
        raise SplitError(f"{out}: predictions.csv lacks folds that summary.json has; remove both to start again")
    return summary, rows
