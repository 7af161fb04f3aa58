"""All that a result depends on: corpus, model, recipe, folds and seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch

from emofocus.audio.fingerprint import AudioFingerprint
from emofocus.config import ModelConfig, Recipe, to_plain
from emofocus.corpora import Corpus
from emofocus.data.feature_store import SpeechSource, hash_of
from emofocus.errors import SplitError
from emofocus.metrics.calibration import Calibration
from emofocus.models import build
from emofocus.splits.audit import Audit, audit
from emofocus.splits.folds import Fold, Folds
from emofocus.utils.progress import log_line

SELECTION = "best validation UA; test scored once"

SELECTION_OF_REFIT = (
    "number of epochs and calibration by validation, in a run before; then trained anew, on the validation part too; "
    "test scored once"
)


class ValidationChoice(NamedTuple):
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
    validation_choices: tuple[ValidationChoice, ...] = ()

    @property
    def protocol(self) -> str:
        """Name of the way the folds were dealt."""
        return self.folds.protocol

    @property
    def selection(self) -> str:
        """What chose the weights that are tested."""
        return SELECTION_OF_REFIT if self.validation_choices else SELECTION

    def fold(self, number: int) -> Fold:
        """What is trained, validated and tested on."""
        fold = self.folds[number]
        return Fold.of([*fold.train, *fold.valid], (), fold.test) if self.validation_choices else fold

    def config(self) -> ModelConfig:
        """What the model directory of a fold says, before there are figures."""
        return self.recipe.config(self.model, self.corpus.classes, self.corpus.license)

    @cached_property
    def parameters(self) -> int:
        """Learned numbers of the network, counted once, without making them."""
        return parameter_count(self.config())

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
            "parameters": self.parameters,
            "protocol": {
                "name": self.protocol,
                "note": self.folds.note,
                "folds": len(self.folds),
                "digest": self.folds.digest(self.corpus),
                "selection": self.selection,
            },
            "seed": self.seed,
        }


def provenance(experiment: Experiment, source: SpeechSource, precision: str) -> dict[str, object]:
    """The record of an experiment's results (`emofocus.utils.provenance`): its identity, and what that leaves out.

    Args:
        experiment: The experiment.
        source: Source of its features; the recordings are hashed.
        precision: Arithmetic of training.

    Raises:
        AudioError: A recording cannot be read.
    """
    table = experiment.corpus.table.select("key", "emotion", "speaker")
    record = experiment.identity() | {
        "recordings": source.content(),
        "labels": hash_of(str(row) for row in table.iter_rows()),
        "precision": precision,
    }
    if experiment.validation_choices:
        record["refit"] = [[choice.epochs, *choice.calibration[:2]] for choice in experiment.validation_choices]
    return record


def parameter_count(config: ModelConfig) -> int:
    """Learned numbers of the network that a config describes."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(config).parameters())


def refuse_leaks(experiment: Experiment, fingerprints: Sequence[AudioFingerprint] | None) -> Audit:
    """Audit the folds of an experiment, by what is known of its utterances and, unless it is None, by how they sound.

    Raises:
        SplitError: They leak, and their protocol does not say so by its name.
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
