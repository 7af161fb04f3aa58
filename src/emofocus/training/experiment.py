"""An experiment, which is all that a result depends on, and the training and test of one of its folds."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from emofocus.audio.fingerprint import AudioFingerprint
from emofocus.config import ModelConfig, Recipe, to_plain
from emofocus.corpora import Corpus, multi_corpus
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech, SpeechSource, hash_of
from emofocus.data.voices import VoicedPart
from emofocus.errors import ConfigError, SplitError, one_of
from emofocus.metrics.calibration import Calibration, calibrate
from emofocus.models import SpeechNetwork, build
from emofocus.splits.audit import Audit, audit
from emofocus.splits.folds import Fold, Folds
from emofocus.splits.kept_recordings import refuse_kept_recordings
from emofocus.training.fine_tuning import CALIBRATED_FROM, StartingModel
from emofocus.training.loop import Epoch, Fitted, fit, fit_calibrated, mean_logits, save_trained
from emofocus.training.results import (
    CorpusEntry,
    FoldEntry,
    Identity,
    PredictionRow,
    ProtocolEntry,
    measure_row_calibration,
    measure_rows,
    plain,
    prediction_rows,
    recalls,
)
from emofocus.utils.progress import log_line
from emofocus.version import __version__

BALANCE = ("corpus", "emotion", "gender")
"""Columns by which training on several corpora is balanced."""

FoldResult = tuple[FoldEntry, list[PredictionRow]]
"""A fold's entry in `summary.json`, and its lines of `predictions.csv`."""

SELECTION_BY_VALIDATION = "best validation UA"
"""How weights are chosen where no test part is scored."""

SELECTION_OF_LAST = "last epoch; test scored once"
"""How weights are chosen where a recipe keeps the last ones."""

SELECTION = f"{SELECTION_BY_VALIDATION}; test scored once"
"""How weights are chosen, and how often the test part is scored."""

SELECTION_OF_REFIT = (
    "number of epochs and calibration by validation, in a run before; then trained anew, on the validation part too; "
    "test scored once"
)
"""The same where an earlier run chose the length of training."""


class ValidationChoice(NamedTuple):
    """The choices that an earlier run made by the validation part of a fold.

    Attributes:
        epochs: Length of training.
        calibration: Calibration fitted to the validation part.
    """

    epochs: int
    calibration: Calibration


@dataclass(frozen=True)
class Experiment:
    """All that a result depends on, apart from the machine's arithmetic.

    Attributes:
        corpus: Corpus whose utterances are recognized.
        model: Name of the network.
        recipe_name: Short name of the recipe.
        recipe: Features, segments and settings of the training.
        folds: Positions of the parts of each fold.
        seed: Seed of weights, order, augmentation and dropout.
        validation_choices: Choices of an earlier run for each fold; empty where each fold validates for itself. With
            them, validation parts are trained on.
        start: Model from which training starts; None for fresh weights.
    """

    corpus: Corpus
    model: str
    recipe_name: str
    recipe: Recipe
    folds: Folds
    seed: int
    validation_choices: tuple[ValidationChoice, ...] = ()
    start: StartingModel | None = None

    @property
    def protocol(self) -> str:
        """Name of the way the folds were dealt."""
        return self.folds.protocol

    @property
    def selection(self) -> str:
        """How the weights that are tested were chosen."""
        if self.validation_choices:
            return SELECTION_OF_REFIT
        return SELECTION_OF_LAST if self.recipe.keep == "last" else SELECTION

    def fold(self, number: int) -> Fold:
        """Positions of the utterances on which a fold is trained, validated and tested."""
        fold = self.folds[number]
        return Fold.of([*fold.train, *fold.valid], (), fold.test) if self.validation_choices else fold

    def require_fold(self, number: int) -> None:
        """Refuse a fold that does not exist.

        Raises:
            ConfigError: It does not; the message names those that do.
        """
        if number >= len(self.folds):
            raise ConfigError(f"there is no fold {number} ({one_of(range(len(self.folds)))})")

    def config(self) -> ModelConfig:
        """Config of a fold's model directory, without figures."""
        license = self.corpus.license if self.start is None else self.start.license_with(self.corpus)
        return self.recipe.config(self.model, self.corpus.classes, license)

    @cached_property
    def network(self) -> SpeechNetwork:
        """The network before training, drawn from the seed once; each fold trains a copy of it."""
        torch.manual_seed(self.seed)
        return build(self.config()) if self.start is None else self.start.network(self.config())

    def refit(self, choices: Sequence[ValidationChoice]) -> "Experiment":
        """The experiment that trains on validation parts too, with the choices of an earlier run for each fold.

        Its network is the same, and is not drawn again. Its recipe's name ends in ``+refit``, and its selection is
        named, so that results are not mistaken for those of runs that trained on less.
        """
        again = replace(self, recipe_name=f"{self.recipe_name}+refit", validation_choices=tuple(choices))
        vars(again)["network"] = self.network
        return again

    def __getstate__(self) -> dict[str, Any]:
        """Fields alone: another process draws the network again."""
        return {name: value for name, value in vars(self).items() if name != "network"}

    def identity(self) -> Identity:
        """The head of `summary.json`."""
        return Identity(
            corpus=self.corpus.name,
            corpora=self.corpora() or msgspec.UNSET,
            utterances=len(self.corpus),
            classes=list(self.corpus.classes),
            left_out=dict(self.corpus.left_out),
            model=self.model,
            recipe=self.recipe_name,
            recipe_settings=to_plain(self.recipe),
            parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            protocol=ProtocolEntry(
                name=self.protocol,
                note=self.folds.note,
                folds=len(self.folds),
                digest=self.folds.digest(self.corpus),
                selection=self.selection,
            ),
            seed=self.seed,
            init=msgspec.UNSET if self.start is None else self.start.record(),
        )

    def corpora(self) -> dict[str, CorpusEntry]:
        """Entry of each of several corpora; empty for a single one."""
        return msgspec.convert(multi_corpus.entries(self.corpus), dict[str, CorpusEntry]) if self.corpus.members else {}


def provenance(experiment: Experiment, source: SpeechSource, precision: str) -> dict[str, object]:
    """The record of an experiment's results (`emofocus.utils.provenance`): its identity, and what that leaves out.

    Args:
        experiment: Experiment whose results are recorded.
        source: Source of its features; the recordings are hashed.
        precision: Arithmetic of training.

    Raises:
        AudioError: A recording cannot be read.
    """
    table = experiment.corpus.table.select("key", "emotion", "speaker")
    record = plain(experiment.identity()) | {
        "recordings": source.content(),
        "labels": hash_of(str(row) for row in table.iter_rows()),
        "precision": precision,
    }
    if experiment.validation_choices:
        record["refit"] = [[choice.epochs, *choice.calibration[:2]] for choice in experiment.validation_choices]
    return record


def parameter_count(config: ModelConfig) -> int:
    """Number of learned values of the network that a config describes, counted without allocating them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(config).parameters())


def refuse_leaks(experiment: Experiment, fingerprints: Sequence[AudioFingerprint] | None) -> Audit:
    """Audit the folds of an experiment.

    Args:
        experiment: Experiment whose folds are audited by its corpus' table.
        fingerprints: Fingerprint of each utterance (U,), which finds copies of recordings; None to leave that out.

    Raises:
        SplitError: The folds leak, and their protocol is not ``random``.
    """
    audited = audit(experiment.corpus.table, experiment.folds, fingerprints)
    if audited.passed:
        return audited
    if not experiment.folds.speakers_shared:
        worst = next(offence for offence in audited.offences if offence.fails)
        raise SplitError(
            f"the {experiment.protocol} split of {experiment.corpus.name} fails its audit: {audited.summary()}; "
            f"fold {worst.fold}: {worst.kind} {worst.value} {worst.parts or ''}. See it all with: emofocus audit; "
            "a split that is meant to be like this must be called --protocol random"
        )
    log_line(f"{experiment.corpus.name}, protocol {experiment.protocol}: parts share {audited.summary()}")
    return audited


def refuse_kept_files(experiment: Experiment, source: SpeechSource) -> str:
    """Refuse folds of several corpora that train on recordings which are kept for testing.

    Returns:
        CSV of the key and the file's hash of each utterance; empty for one corpus.

    Raises:
        SplitError: They do.
    """
    if not experiment.corpus.members:
        return ""
    hashes = source.file_hashes()
    refuse_kept_recordings(experiment.corpus, experiment.folds, hashes)
    table = experiment.corpus.table.select("key", blake2b=pl.Series(hashes))
    return table.write_csv()


def run_fold(
    experiment: Experiment,
    number: int,
    speech: Sequence[Sequence[Speech]],
    folder: Path,
    fabric: Fabric,
    after_epoch: Callable[[Epoch], None] | None = None,
) -> FoldResult:
    """Train on a fold, calibrate on its validation part, then score its test part once.

    Where an earlier run has chosen length and calibration, the validation part is trained on as well.

    Args:
        experiment: Experiment that the fold belongs to.
        number: Number of the fold.
        speech: Features at each speed, as `SpeechSource.speech` returns them. Validation and test use the first.
        folder: Folder that then holds the network as a model directory without its ONNX file.
        fabric: Device, precision and processes.
        after_epoch: Function that `fit` calls after each epoch.

    Returns:
        The fold's entry in `summary.json`, and its lines of `predictions.csv`.
    """
    labels, recipe, fold = experiment.corpus.labels(), experiment.recipe, experiment.fold(number)
    original, *altered = speech
    cells, labelled = cells_of(experiment), experiment.corpus.labelled()
    train: SegmentDataset | VoicedPart
    train = SegmentDataset(original, labels, recipe.segment, fold.train, altered, labelled, cells)
    test = SegmentDataset(original, labels, recipe.segment, fold.test)
    network = deepcopy(experiment.network)
    if network.voice is not None:
        speakers = experiment.corpus.table["speaker"].to_numpy()[fold.train].tolist()
        hop = recipe.features.hop / recipe.features.sampling_rate
        train = VoicedPart(train, speakers, recipe.voice_clips or (0,), hop)
    if not network.trained:
        network.load_pretrained()
    title = f"{experiment.corpus.name} {experiment.protocol} fold {number}"
    if experiment.validation_choices:
        epochs, calibration = experiment.validation_choices[number]
        recipe = msgspec.structs.replace(recipe, epochs=epochs)
        fitted = fit(network, train, None, recipe, experiment.seed, folder, fabric, title, after_epoch)
    else:
        valid = SegmentDataset(original, labels, recipe.segment, fold.valid)
        fitted, calibration = fit_calibrated(
            network,
            train,
            valid,
            recipe,
            experiment.seed,
            folder,
            fabric,
            title,
            after_epoch,
            calibrate if experiment.start is None else experiment.start.calibrate,
        )
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
        save_trained(folder, experiment.config(), calibration, _origin(experiment, entry, rows))
    return entry, rows


def cells_of(experiment: Experiment) -> NDArray[np.int64] | None:
    """Number of the cell of each utterance (U,); an epoch takes all cells alike. None if nothing is balanced."""
    chosen = experiment.recipe.balance
    usual = BALANCE if experiment.corpus.members else ()
    columns = usual if chosen is msgspec.UNSET else chosen
    return experiment.corpus.cells(columns) if columns else None


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


def _start_of(start: StartingModel, entry: FoldEntry) -> dict[str, Any]:
    """The record of the model that training started from, and whether its calibration was kept."""
    return {"init": start.record(), "calibration": "fitted" if entry.valid >= CALIBRATED_FROM else "kept"}


def _origin(experiment: Experiment, entry: FoldEntry, rows: Sequence[PredictionRow]) -> dict[str, Any]:
    """The record of its training that a fold's model directory holds."""
    omitted, corpora = ("temperature", "threshold", "energy", "history", "seconds"), experiment.corpora()
    return {name: value for name, value in plain(entry).items() if name not in omitted} | {
        "corpus": experiment.corpus.name,
        **({"corpora": msgspec.to_builtins(corpora)} if corpora else {}),
        "recipe": experiment.recipe_name,
        "protocol": experiment.protocol,
        "note": experiment.folds.note,
        "selection": experiment.selection,
        "seed": experiment.seed,
        **({} if experiment.start is None else _start_of(experiment.start, entry)),
        "test_speakers": sorted({row["speaker"] for row in rows}),
        "test_recalls": recalls(rows, experiment.corpus.classes),
    }
