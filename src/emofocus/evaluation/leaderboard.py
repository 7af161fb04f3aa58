"""Leaderboard: runs of one experiment, best first, with intervals, paired tests and costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emofocus.config import ModelConfig, Recipe, parse
from emofocus.errors import EmofocusError
from emofocus.evaluation.results import RunResult, read_run
from emofocus.metrics.statistics import (
    FIGURES,
    Comparison,
    Interval,
    compare,
    figures,
    holm,
    intervals,
    require_same,
    resampled_unit,
)
from emofocus.models import MODELS
from emofocus.models.complexity import network_cost, real_time_factor
from emofocus.training.experiment import parameter_count


@dataclass(frozen=True, eq=False)
class ReferenceComparison:
    """Comparison of a run with the reference.

    Attributes:
        pair: The paired comparison, reference first.
        ua_p: p-value of equal UA, adjusted by Holm's method over all runs of the leaderboard.
        mcnemar_p: p-value of McNemar's test of equal WA, adjusted likewise.
    """

    pair: Comparison
    ua_p: float
    mcnemar_p: float


@dataclass(frozen=True, eq=False)
class Standing:
    """One line of a leaderboard.

    Attributes:
        run: Run that is ranked.
        intervals: WA, UA and macro-F1, pooled over all test utterances.
        difference: Comparison with the reference; None for the reference itself.
        cost: Multiply-accumulates per second of audio; None if this version builds another network of that name.
        real_time_factor: Seconds of computing per second of audio; None if not measured.
    """

    run: RunResult
    intervals: dict[str, Interval]
    difference: ReferenceComparison | None
    cost: int | None
    real_time_factor: float | None

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.run.key.model

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return self.run.key.recipe

    @property
    def name(self) -> str:
        """Model, recipe and seed."""
        return f"{self.model}, {self.recipe}, seed {self.run.seed}"

    @property
    def parameters(self) -> int:
        """Number of learned parameters."""
        return self.run.summary.parameters

    @property
    def seconds(self) -> float | None:
        """Mean training time of a fold in seconds; None if a fold was not timed, as in older versions."""
        folds = self.run.summary.folds
        known = [item.seconds for item in folds if isinstance(item.seconds, float)]
        return float(np.mean(known)) if len(known) == len(folds) else None


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
        """The run that the others are compared with."""
        return next(item for item in self.standings if item.difference is None)

    @property
    def optimistic(self) -> bool:
        """Whether speakers of test parts are heard in training."""
        return any(item.run.optimistic for item in self.standings)

    @property
    def unit(self) -> str:
        """Unit that the intervals resample: speakers or utterances."""
        return resampled_unit(self.reference.run.predictions.speakers)

    def name(self, standing: Standing) -> str:
        """Unique name of a run: model, recipe and seed, or its folder if another run shares them."""
        same = [item for item in self.standings if item.name == standing.name]
        return standing.name if len(same) == 1 else standing.run.name


def leaderboard(folders: Sequence[Path], reference: Path | None = None, timed: bool = False) -> Leaderboard:
    """Rank runs that `emofocus crossval` wrote.

    Args:
        folders: Folders of the runs; a folder that is named twice counts once.
        reference: Folder of the run that the others are compared with; the one of the best UA by default.
        timed: Measure each network's real-time factor on this machine.

    Raises:
        ResultError: A folder is no run, lacks folds, or holds a figure that disagrees with its predictions.
        EmofocusError: Runs differ in corpus, selection rule, classes, utterances, labels, protocol or folds; the
            message names the runs and the difference.
    """
    wanted: dict[Path, Path] = {}
    for folder in folders if reference is None else (reference, *folders):
        wanted.setdefault(folder.resolve(), folder)
    runs = [read_run(folder) for folder in wanted.values()]
    first = runs[0]
    advice = _advice_on_selection(runs)
    for other in runs[1:]:
        refuse_other_task(first, other, advice)
        require_same(first.predictions, other.predictions)
    if reference is None:
        first = max(runs, key=_unweighted_accuracy)
    others = [run for run in runs if run is not first]
    differences = [None, *_differences(first, others)]
    standings = [_standing(run, change, timed) for run, change in zip([first, *others], differences, strict=True)]
    return Leaderboard(tuple(sorted(standings, key=lambda item: -item.intervals["ua"].value)), timed)


def _unweighted_accuracy(run: RunResult) -> float:
    return float(figures(run.counts())[FIGURES.index("ua")])


def _advice_on_selection(runs: Sequence[RunResult]) -> str:
    """Runs to leave out, so that the others were selected by one rule."""
    rules = [run.summary.protocol.selection for run in runs]
    usual = max(rules, key=rules.count)
    return f"; leave out {', '.join(run.name for run, rule in zip(runs, rules, strict=True) if rule != usual)}"


def _differences(first: RunResult, others: Sequence[RunResult]) -> list[ReferenceComparison]:
    pairs = [compare(first.predictions, other.predictions) for other in others]
    ua_p, mcnemar_p = holm([pair.ua.p for pair in pairs]), holm([pair.mcnemar.p for pair in pairs])
    return [ReferenceComparison(*values) for values in zip(pairs, ua_p, mcnemar_p, strict=True)]


def refuse_other_task(first: RunResult, other: RunResult, advice: str = "") -> None:
    """Refuse runs that differ in corpus or selection rule; `compare` itself refuses all other differences.

    Args:
        first: Run that is compared.
        other: Run to compare it with.
        advice: End of the message about selection rules.
    """
    refuse_other_corpus(first, other)
    _refuse(first, other, "selection rules", lambda run: run.summary.protocol.selection, advice)


def refuse_other_corpus(first: RunResult, other: RunResult) -> None:
    """Refuse runs on different corpora, whose utterances may have equal names."""
    _refuse(first, other, "corpora", lambda run: run.summary.corpus)


def _refuse(
    first: RunResult, other: RunResult, trait: str, value_of: Callable[[RunResult], str], advice: str = ""
) -> None:
    value, other_value = value_of(first), value_of(other)
    if value != other_value:
        raise EmofocusError(
            f"{first.name} and {other.name} cannot be compared: their {trait} differ "
            f"({value!r} and {other_value!r}){advice}"
        )


def _standing(run: RunResult, difference: ReferenceComparison | None, timed: bool) -> Standing:
    config = config_of(run)
    cost = network_cost(config) if config else None
    factor = real_time_factor(config) if config and timed else None
    return Standing(run, intervals([run.predictions]), difference, cost, factor)


def config_of(run: RunResult) -> ModelConfig | None:
    """Configuration of a run's network; None if this version has no network of its name and number of parameters.

    Raises:
        ConfigError: The run's recipe has settings that this version does not know.
    """
    summary = run.summary
    if summary.model not in MODELS:
        return None
    recipe = parse(Recipe, summary.recipe_settings, f"{run.name}/summary.json")
    config = recipe.config(summary.model, tuple(summary.classes))
    return config if parameter_count(config) == summary.parameters else None
