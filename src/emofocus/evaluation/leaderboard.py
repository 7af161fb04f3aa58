"""Runs of one experiment side by side, the best first: how accurate each is, how sure that is, and what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emofocus.config import ModelConfig, Recipe, parse
from emofocus.errors import EmofocusError
from emofocus.evaluation.results import Result, read_run
from emofocus.metrics.statistics import Comparison, Interval, compare, holm, intervals, resampled_unit
from emofocus.models import MODELS
from emofocus.models.complexity import network_cost, real_time_factor
from emofocus.training.experiment import parameter_count


@dataclass(frozen=True, eq=False)
class Difference:
    """How a run differs from the reference.

    Attributes:
        found: The paired comparison, reference first.
        ua_p: p-value of equal UA, adjusted by Holm's method over all runs of the leaderboard.
        mcnemar_p: p-value of McNemar's test of equal WA, adjusted likewise.
    """

    found: Comparison
    ua_p: float
    mcnemar_p: float


@dataclass(frozen=True, eq=False)
class Standing:
    """One line of a leaderboard.

    Attributes:
        run: What it is about.
        intervals: WA, UA and macro-F1, pooled over all test utterances.
        difference: From the reference; None of the reference itself.
        cost: Multiply-accumulates a second of audio; None where this version builds another network than was trained.
        real_time_factor: Seconds of computing a second of audio; None where it was not measured.
    """

    run: Result
    intervals: dict[str, Interval]
    difference: Difference | None
    cost: int | None
    real_time_factor: float | None

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.run.key[2]

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return self.run.key[3]

    @property
    def name(self) -> str:
        """Model, recipe and seed."""
        return f"{self.model}, {self.recipe}, seed {self.run.seed}"

    @property
    def parameters(self) -> int:
        """Learned numbers."""
        return int(self.run.summary["parameters"])

    @property
    def seconds(self) -> float | None:
        """Mean time of training a fold; None where a fold was not timed, as those of older versions."""
        known = [item["seconds"] for item in self.run.summary["folds"] if item.get("seconds") is not None]
        return float(np.mean(known)) if len(known) == len(self.run.summary["folds"]) else None


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Runs on the same utterances and folds.

    Attributes:
        standings: Sorted by UA, the best first.
        timed: Whether real-time factors were measured.
    """

    standings: tuple[Standing, ...]
    timed: bool

    @property
    def reference(self) -> Standing:
        """What the others are compared with."""
        return next(item for item in self.standings if item.difference is None)

    @property
    def optimistic(self) -> bool:
        """Whether speakers of test parts are heard in training."""
        return any(item.run.optimistic for item in self.standings)

    @property
    def unit(self) -> str:
        """What the intervals resample."""
        return resampled_unit(self.reference.run.predictions.speakers)

    def name(self, standing: Standing) -> str:
        """What tells a run from the others: model, recipe and seed, or its folder where that is not enough."""
        same = [item for item in self.standings if item.name == standing.name]
        return standing.name if len(same) == 1 else standing.run.name


def leaderboard(folders: Sequence[Path], reference: Path | None = None, timed: bool = False) -> Leaderboard:
    """Rank runs that `emofocus crossval` wrote.

    Args:
        folders: Of the runs; one that is named twice counts once.
        reference: Folder of the run that the others are compared with; the first one by default.
        timed: Measure each network's real-time factor, here and now.

    Raises:
        ResultError: A folder is no run, folds are still to come, or a figure is not what its predictions give.
        EmofocusError: Runs differ in corpus, selection rule, classes, utterances, labels, protocol or folds; the
            message says which, and in what.
    """
    wanted: dict[Path, Path] = {}
    for folder in folders if reference is None else (reference, *folders):
        wanted.setdefault(folder.resolve(), folder)
    first, *others = [read_run(folder) for folder in wanted.values()]
    differences = [None, *_differences(first, others)]
    standings = [_standing(*of, timed) for of in zip([first, *others], differences, strict=True)]
    return Leaderboard(tuple(sorted(standings, key=lambda item: -item.intervals["ua"].value)), timed)


def _differences(first: Result, others: Sequence[Result]) -> list[Difference]:
    for other in others:
        refuse_other_task(first, other)
    found = [compare(first.predictions, other.predictions) for other in others]
    ua_p, mcnemar_p = holm([item.ua.p for item in found]), holm([item.mcnemar.p for item in found])
    return [Difference(*of) for of in zip(found, ua_p, mcnemar_p, strict=True)]


def refuse_other_task(first: Result, other: Result) -> None:
    """What `compare` does not see; it refuses other classes, utterances, labels, speakers, protocols and folds."""
    refuse_other_corpus(first, other)
    _refuse(first, other, "selection rules", lambda run: run.summary["protocol"]["selection"])


def refuse_other_corpus(first: Result, other: Result) -> None:
    """Names of utterances may agree where their corpora do not."""
    _refuse(first, other, "corpora", lambda run: run.summary["corpus"])


def _refuse(first: Result, other: Result, what: str, of: Callable[[Result], str]) -> None:
    if of(first) != of(other):
        raise EmofocusError(
            f"{first.name} and {other.name} cannot be compared: their {what} differ ({of(first)!r} and {of(other)!r})"
        )


def _standing(run: Result, difference: Difference | None, timed: bool) -> Standing:
    config = config_of(run)
    cost = network_cost(config) if config else None
    factor = real_time_factor(config) if config and timed else None
    return Standing(run, intervals([run.predictions]), difference, cost, factor)


def config_of(run: Result) -> ModelConfig | None:
    """The network that a run trained; None where this version knows none of its name and number of parameters.

    Raises:
        ConfigError: The run's recipe has settings that this version does not know.
    """
    summary = run.summary
    if summary["model"] not in MODELS:
        return None
    recipe = parse(Recipe, summary["recipe_settings"], f"{run.name}/summary.json")
    config = recipe.config(summary["model"], tuple(summary["classes"]))
    return config if parameter_count(config) == summary["parameters"] else None
