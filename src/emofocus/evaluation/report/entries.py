"""Results of one model, recipe and protocol, of one seed or several, as one entry of the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from emofocus.evaluation.report.literature import ABLATIONS
from emofocus.evaluation.results import Result, ResultError
from emofocus.metrics.statistics import Array, Interval, Numbers, intervals, resampled_unit

OPTIMISTIC = "optimistic"
"""What stands beside every figure whose test speakers were heard in training."""

NOT_SETTINGS = ("description",)


@dataclass(frozen=True, eq=False)
class Entry:
    """One line of the report.

    Attributes:
        results: Of each seed.
    """

    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        """What all seeds agree in can be read from it."""
        return self.results[0]

    @property
    def seeds(self) -> list[int]:
        """Of its results, or of the runs that were combined in them."""
        return self.first.together or [result.seed for result in self.results]

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.first.key[0]

    @property
    def protocol(self) -> str:
        """Name of the protocol."""
        return self.first.key[1]

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.first.key[2]

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return self.first.key[3]

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
        """Protocol, marked where its figures are optimistic."""
        return f"`{self.protocol}` ({OPTIMISTIC})" if self.optimistic else f"`{self.protocol}`"

    @property
    def rank(self) -> tuple[int, str, str]:
        """Sorts plainer models first, the paper's before others."""
        order = [name for family in ABLATIONS for name in family]
        return order.index(self.model) if self.model in order else len(order), self.model, self.recipe

    @property
    def slug(self) -> str:
        """Begin of the names of its figures' files."""
        return "-".join(self.first.key if self.first.finished else (*self.first.key, f"seed{self.first.seed}"))

    @property
    def unfinished(self) -> str:
        """A remark where folds are still to come; empty otherwise."""
        if self.first.finished:
            return ""
        return f"**only {len(self.first.by_fold)} of {self.first.summary['protocol']['folds']} folds**"

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
        """Pooled figures with their intervals clustered by speaker."""
        return intervals([result.predictions for result in self.results])

    @property
    def unit(self) -> str:
        """What the intervals resample."""
        return resampled_unit(self.first.predictions.speakers)

    @cached_property
    def counts(self) -> Array:
        """Confusion matrix, pooled over folds, mean over seeds: (C, C)."""
        return np.asarray(np.mean([result.counts() for result in self.results], axis=0))

    @cached_property
    def recalls(self) -> dict[str, float | None]:
        """Share of each class' utterances that was recognised, pooled over folds; None for a class without any."""
        totals = self.counts.sum(axis=1)
        shares = np.diagonal(self.counts) / np.maximum(totals, 1)
        pairs = zip(self.classes, shares, totals, strict=True)
        return {name: float(share) if total else None for name, share, total in pairs}

    @cached_property
    def by_speaker(self) -> list[tuple[str, float, int]]:
        """Name, WA (mean over seeds) and number of utterances of each speaker, from the worst to the best."""
        speakers = np.array(self.first.predictions.speakers)
        correct = np.mean([result.predictions.correct for result in self.results], axis=0)
        own: dict[str, Numbers] = {name: np.flatnonzero(speakers == name) for name in sorted(set(speakers.tolist()))}
        found = [(name, float(correct[where].mean()), len(where)) for name, where in own.items()]
        return sorted(found, key=lambda item: (item[1], item[0]))


def group(results: Sequence[Result]) -> list[Entry]:
    """Results by corpus, protocol, model and recipe; speaker-independent protocols and plainer models first.

    Runs of which folds are still to come stand alone: they have not seen the utterances of others.

    Raises:
        ResultError: Seeds of one recipe ran with different settings, or saw different utterances.
    """
    whole = [result for result in results if result.finished]
    entries = [Entry(tuple(own)) for _, own in groupby(whole, key=lambda result: result.key)]
    entries += [Entry((result,)) for result in results if not result.finished]
    for entry in entries:
        for other in entry.results[1:]:
            _refuse_other_settings(entry.first, other)
    return sorted(entries, key=lambda entry: (entry.corpus, entry.optimistic, entry.protocol, entry.rank))


def _refuse_other_settings(first: Result, other: Result) -> None:
    """Settings that one of the two did not have yet are at their defaults, and are not looked at."""
    here, there = (_flat(result.summary.get("recipe_settings", {})) for result in (first, other))
    for name in sorted(set(here) & set(there) - set(NOT_SETTINGS)):
        if here[name] != there[name]:
            raise ResultError(
                f"{first.name} and {other.name} are called one recipe, but {name} is {here[name]!r} and {there[name]!r}"
            )


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found
