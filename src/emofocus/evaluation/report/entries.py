"""Entries of the report: results of one model, recipe and protocol, with one seed or several."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from emofocus.evaluation.report.literature import ABLATIONS
from emofocus.evaluation.results import ADAPTED, ResultError, RunResult
from emofocus.metrics.statistics import Array, Interval, Numbers, intervals, resampled_unit

OPTIMISTIC = "optimistic"
"""Mark of every figure whose test speakers were heard in training."""

NOT_SETTINGS = ("description",)
"""Keys of a recipe that are no settings."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One entry of the report.

    Attributes:
        results: Result of each seed.
    """

    results: tuple[RunResult, ...]

    @property
    def first(self) -> RunResult:
        """The first seed's result, which stands for whatever all seeds share."""
        return self.results[0]

    @property
    def seeds(self) -> list[int]:
        """Seeds of the results, or of the runs that an ensemble combines."""
        return self.first.member_seeds or [result.seed for result in self.results]

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.first.key.corpus

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return self.first.key.protocol

    @property
    def adapted(self) -> bool:
        """Whether the networks were adapted to unlabelled speech of the test speakers."""
        return ADAPTED in self.protocol

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.first.key.model

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return self.first.key.recipe

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.first.predictions.classes

    @property
    def optimistic(self) -> bool:
        """Whether test speakers were heard in training."""
        return any(result.optimistic for result in self.results)

    @property
    def marked_protocol(self) -> str:
        """Protocol as Markdown, marked where its figures are optimistic."""
        return f"`{self.protocol}` ({OPTIMISTIC})" if self.optimistic else f"`{self.protocol}`"

    @property
    def rank(self) -> tuple[int, str, str]:
        """Sorting key: plainer models first, the paper's before others."""
        order = [name for family in ABLATIONS for name in family]
        return order.index(self.model) if self.model in order else len(order), self.model, self.recipe

    @property
    def slug(self) -> str:
        """Beginning of the names of its figure files."""
        return "-".join(self.first.key if self.first.finished else (*self.first.key, f"seed{self.first.seed}"))

    @property
    def unfinished(self) -> str:
        """Remark where folds are missing, as plain text; empty otherwise."""
        if self.first.finished:
            return ""
        return f"only {len(self.first.by_fold)} of {self.first.summary.protocol.folds} folds"

    @property
    def calibrated(self) -> bool:
        """Whether all folds of all seeds have calibrated probabilities."""
        return all(result.calibration for result in self.results)

    @cached_property
    def mean(self) -> Array:
        """Mean over seeds of the mean over folds of WA, UA and macro-F1: (3,)."""
        return np.asarray(np.mean([result.by_fold.mean(axis=0) for result in self.results], axis=0))

    @cached_property
    def deviation(self) -> Array:
        """Mean over seeds of the sample standard deviation over folds: (3,)."""
        several = [r.by_fold.std(axis=0, ddof=1) if len(r.by_fold) > 1 else np.zeros(3) for r in self.results]
        return np.asarray(np.mean(several, axis=0))

    @cached_property
    def over_seeds(self) -> Array:
        """Sample standard deviation over seeds of the mean over folds: (3,); zeros for one seed."""
        means = [result.by_fold.mean(axis=0) for result in self.results]
        return np.std(means, axis=0, ddof=1) if len(means) > 1 else np.zeros(3)

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Pooled figures by name, with intervals clustered by speaker."""
        return intervals([result.predictions for result in self.results])

    @property
    def unit(self) -> str:
        """Unit that the intervals resample: speakers or utterances."""
        return resampled_unit(self.first.predictions.speakers)

    @cached_property
    def counts(self) -> Array:
        """Confusion matrix, pooled over folds, mean over seeds: (C, C)."""
        return np.asarray(np.mean([result.counts() for result in self.results], axis=0))

    @cached_property
    def recalls(self) -> dict[str, float | None]:
        """Recall of each class in [0, 1], pooled over folds; None for a class without utterances."""
        totals = self.counts.sum(axis=1)
        shares = np.diagonal(self.counts) / np.maximum(totals, 1)
        pairs = zip(self.classes, shares, totals, strict=True)
        return {name: float(share) if total else None for name, share, total in pairs}

    @cached_property
    def by_speaker(self) -> list[tuple[str, float, int]]:
        """Name, WA (mean over seeds) and number of utterances of each speaker, worst first."""
        speakers = np.array(self.first.predictions.speakers)
        correct = np.mean([result.predictions.correct for result in self.results], axis=0)
        positions: dict[str, Numbers] = {
            name: np.flatnonzero(speakers == name) for name in sorted(set(speakers.tolist()))
        }
        shares = [(name, float(correct[index].mean()), len(index)) for name, index in positions.items()]
        return sorted(shares, key=lambda item: (item[1], item[0]))


def group_results(results: Sequence[RunResult]) -> list[Entry]:
    """Group results by corpus, protocol, model and recipe; speaker-independent protocols and plainer models first.

    A run with missing folds is an entry of its own, because it has not seen the utterances of others.

    Raises:
        ResultError: Seeds of one recipe ran with different settings or on different utterances.
    """
    whole = [result for result in results if result.finished]
    entries = [Entry(tuple(seeds)) for _, seeds in groupby(whole, key=lambda result: result.key)]
    entries += [Entry((result,)) for result in results if not result.finished]
    for entry in entries:
        for other in entry.results[1:]:
            _refuse_other_settings(entry.first, other)
    return sorted(entries, key=lambda entry: (entry.corpus, entry.optimistic, entry.protocol, entry.rank))


def _refuse_other_settings(first: RunResult, other: RunResult) -> None:
    """Refuse two seeds whose shared settings differ; a setting that one of them lacks had its default there."""
    settings, other_settings = (_flat(result.summary.recipe_settings) for result in (first, other))
    for name in sorted(set(settings) & set(other_settings) - set(NOT_SETTINGS)):
        value, other_value = settings[name], other_settings[name]
        if value != other_value:
            raise ResultError(
                f"{first.name} and {other.name} are called one recipe, but {name} is {value!r} and {other_value!r}"
            )


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings; names are joined by dots."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
