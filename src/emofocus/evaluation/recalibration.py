"""Calibration by corpora that a network was not trained on.

A validation part has few speakers, and they are of the corpora that were trained on. What its temperature and threshold
promise does not hold for other people. Runs of the protocol `loco` answer corpora that their networks were not trained
on, so their predictions say what confidence is worth there. A network that is trained on all of these corpora takes
the temperature and the threshold of such runs of its own recipe.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from emofocus.config import load_model_config
from emofocus.errors import ConfigError
from emofocus.evaluation.results import RunResult, read_run
from emofocus.export.model_directory import write_card
from emofocus.metrics.calibration import (
    Array,
    Numbers,
    Truths,
    choose_threshold,
    fit_temperature,
    probabilities,
    select,
)
from emofocus.models.checkpoint import save_config
from emofocus.recognition.engine import PRECISION_FILES
from emofocus.utils.markdown import table as markdown_table
from emofocus.utils.progress import log_line

FITTED = "loco"
"""Protocol of the runs to fit to: they test on corpora that their networks were not trained on, and that may choose."""

OUTDATED = (
    "ece_before",
    "ece",
    "nll_before",
    "nll",
    "coverage",
    "selective_wa",
    "valid_coverage",
    "valid_selective_wa",
)
"""Figures of a model's training that belong to its former calibration."""


class Recalibration(NamedTuple):
    """A calibration, and where it is from.

    Attributes:
        temperature: Divides the logits.
        threshold: Top probability from which on an answer counts as confident.
        coverage: Share of the answers that are confident; each corpus counts alike.
        accuracy: Share of these that are right.
        runs: Names of the runs.
        corpora: Names of their test corpora.
        model: Name of the runs' network.
        recipe: Name of their recipe.
        classes: Their classes.
    """

    temperature: float
    threshold: float
    coverage: float
    accuracy: float
    runs: list[str]
    corpora: list[str]
    model: str
    recipe: str
    classes: list[str]


class Reliability(NamedTuple):
    """Worth of confident answers.

    Attributes:
        run: Name of the run.
        corpus: Corpus of the speech.
        utterances: Number of utterances.
        accuracy: Share of all answers that are right.
        coverage: Share of the answers that are confident.
        confident_accuracy: Share of the confident answers that are right; None if there are none.
    """

    run: str
    corpus: str
    utterances: int
    accuracy: float
    coverage: float
    confident_accuracy: float | None


class Answers(NamedTuple):
    """Answers to one run, or to several.

    Attributes:
        logits: Logarithms of probabilities before a temperature (U, C).
        labels: True class numbers (U,).
        corpora: Corpus of each utterance (U,).
    """

    logits: Array
    labels: Numbers
    corpora: NDArray[np.str_]


def recalibrate(
    folders: Sequence[Path], tested: Sequence[Path], target: float, least: float
) -> tuple[Recalibration, list[Reliability]]:
    """Fit a calibration to runs, and measure it on them and on others.

    Args:
        folders: Runs to fit to.
        tested: Further runs to measure.
        target: Share of the confident answers that ought to be right.
        least: Share of the answers that are confident at least.

    Returns:
        Calibration, and the worth of confident answers for each run and corpus.

    Raises:
        ResultError: A folder is no whole run.
        ConfigError: The runs differ in classes, model or recipe, one has no temperature, or one to fit to is not of
            the protocol `loco`.
    """
    runs, others = [read_run(folder) for folder in folders], [read_run(folder) for folder in tested]
    _refuse_differing([*runs, *others])
    parts = [answers_of(run) for run in runs]
    _refuse_other_protocols(runs)
    logits, labels, corpora = (np.concatenate(column) for column in zip(*parts, strict=True))
    names, number, count = np.unique(corpora, return_inverse=True, return_counts=True)
    weights = 1 / count[number]
    temperature = fit_temperature(logits, labels, weights)
    confidence, correct = _confidence(logits, labels, temperature)
    threshold = choose_threshold(confidence, correct, target, least, weights)
    chosen = select(confidence, correct, threshold, weights)
    made = Recalibration(
        temperature=temperature,
        threshold=threshold,
        coverage=round(chosen.coverage, 6),
        accuracy=round(chosen.accuracy or 0.0, 6),
        runs=["/".join((*run.key, f"seed{run.seed}")) for run in runs],
        corpora=names.tolist(),
        model=runs[0].summary.model,
        recipe=runs[0].summary.recipe,
        classes=list(runs[0].summary.classes),
    )
    measured = [*zip(runs, parts, strict=True), *((run, answers_of(run)) for run in others)]
    return made, [row for run, part in measured for row in reliability(run.name, part, temperature, threshold)]


def answers_of(run: RunResult) -> Answers:
    """Answers of a run without its temperatures.

    Raises:
        ConfigError: A fold has no temperature.
    """
    temperatures = {item.fold: item.temperature for item in run.summary.folds}
    if not all(isinstance(value, float) for value in temperatures.values()):
        raise ConfigError(f"{run.name} has no temperatures: an ensemble, or of an older version")
    by_row = np.array([temperatures[fold] for fold in run.folds.tolist()])
    logits = np.log(np.maximum(run.probabilities, 1e-30)) * by_row[:, None]  # (U, C)
    corpora = run.groups.get("corpus", np.full(len(logits), run.key.corpus))
    return Answers(logits, run.predictions.labels, corpora)


def reliability(name: str, answers: Answers, temperature: float, threshold: float) -> list[Reliability]:
    """Worth of a run's confident answers by corpus, and of all, for a temperature and a threshold."""
    confidence, correct = _confidence(answers.logits, answers.labels, temperature)
    groups = {corpus: answers.corpora == corpus for corpus in np.unique(answers.corpora).tolist()}
    if len(groups) > 1:
        groups["all"] = np.ones(len(correct), bool)
    rows = []
    for corpus, chosen in groups.items():
        covered = select(confidence[chosen], correct[chosen], threshold)
        rows.append(Reliability(name, corpus, int(chosen.sum()), float(correct[chosen].mean()), *covered))
    return rows


def _confidence(logits: Array, labels: Numbers, temperature: float) -> tuple[Array, Truths]:
    return probabilities(logits, temperature).max(axis=1), logits.argmax(axis=1) == labels


def _refuse_differing(runs: Sequence[RunResult]) -> None:
    for name in ("model", "recipe", "classes"):
        values = [getattr(run.summary, name) for run in runs]
        for run, value in zip(runs, values, strict=True):
            if value != values[0]:
                raise ConfigError(f"{run.name}: another {name} ({value}) than {runs[0].name} ({values[0]})")


def _refuse_other_protocols(runs: Sequence[RunResult]) -> None:
    """Refuse runs that test on kept corpora, by which nothing may be chosen, or on corpora that they train on."""
    for run in runs:
        if run.key.protocol != FITTED:
            raise ConfigError(
                f"{run.name} is of the protocol {run.key.protocol}: confidence is fitted to runs of {FITTED}, "
                "and others are measured (--test before each)"
            )


def reliability_table(made: Recalibration, rows: Sequence[Reliability]) -> str:
    """Calibration and the worth of confident answers, as Markdown."""
    table = markdown_table(
        ["run", "corpus", "utterances", "right, %", "confident, %", "right of these, %"],
        [
            [
                row.run,
                row.corpus,
                str(row.utterances),
                f"{100 * row.accuracy:.1f}",
                f"{100 * row.coverage:.1f}",
                "–" if row.confident_accuracy is None else f"{100 * row.confident_accuracy:.1f}",
            ]
            for row in rows
        ],
    )
    return (
        f"Temperature {made.temperature:.3f}, threshold {made.threshold:g}: of the runs that they are fitted to, "
        f"{made.coverage:.1%} of the answers are confident, and {made.accuracy:.1%} of these are right.\n\n{table}"
    )


def write_calibration(folder: Path, made: Recalibration) -> None:
    """Put a calibration into the `config.json` and the card of a model directory.

    Args:
        folder: Model directory.
        made: The calibration.

    Raises:
        ConfigError: The network is another one than the runs', or its recipe or classes are.
        ModelError: The folder is no model directory.
    """
    config = load_model_config(folder / "config.json")
    held = {"model": config.model, "recipe": config.training.get("recipe"), "classes": list(config.labels)}
    for name, value in held.items():
        if value != (wanted := getattr(made, name)):
            raise ConfigError(f"{folder}: its {name} is {value}, and that of the runs is {wanted}")
    origin = {"runs": made.runs, "corpora": made.corpora, "coverage": made.coverage, "accuracy": made.accuracy}
    training = {name: value for name, value in config.training.items() if name not in OUTDATED}
    config = msgspec.structs.replace(
        config,
        temperature=made.temperature,
        threshold=made.threshold,
        training=training | {"calibrated_on": origin},
    )
    save_config(folder, config)
    if (folder / PRECISION_FILES["fp32"]).exists():  # a fold before its export has no card
        write_card(folder, config)
    log_line(f"{folder}: temperature {made.temperature:.3f}, threshold {made.threshold:g}")
