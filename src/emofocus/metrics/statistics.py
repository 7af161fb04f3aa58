"""Uncertainty of figures: intervals clustered by speaker, paired tests of two systems, corrections for several tests.

Utterances of one speaker resemble each other, so that 1440 utterances of 24 actors say less about a 25th actor than
1440 speakers would. Whatever is resampled here is therefore a *speaker* with all of their utterances (Field and Welsh,
*Bootstrapping clustered data*, Journal of the Royal Statistical Society B 69, 2007). Of fewer than three speakers
nothing can be learned that way: utterances are resampled instead, the result says so, and is too narrow for new
speakers.

Intervals tell how figures would differ with other *test* speakers. Training on other speakers is not repeated: what
that does is seen in the spread over folds. What other first weights would do is in no interval but those of
`compare_over_seeds`, which resample seeds as well.

Random numbers are those of `numpy.random.RandomState`, whose stream never changes: equal digits with every version.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emofocus.errors import EmofocusError

FIGURES = ("wa", "ua", "macro_f1")
"""Names of the figures, in the order of the last axis of `figures`."""

RESAMPLES = 10_000
LEVEL = 0.95

FEWEST_SPEAKERS = 3
"""Speakers that are resampled; of fewer, utterances are."""

CHUNK = 2_000
"""Resamples made at a time, which bounds the memory that a corpus of many speakers needs."""

Numbers = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of one system for every test utterance, pooled over folds and sorted by utterance.

    Attributes:
        name: Name of the system in messages.
        classes: Names of the classes (C,).
        protocol: Name of the way the folds were dealt.
        digest: Hash of the folds.
        utterances: Name of each utterance (U,), sorted.
        speakers: Who speaks (U,).
        labels: Number of the true class (U,).
        predictions: Number of the class that was predicted (U,).
    """

    name: str
    classes: tuple[str, ...]
    protocol: str
    digest: str
    utterances: tuple[str, ...]
    speakers: tuple[str, ...]
    labels: Numbers
    predictions: Numbers

    @property
    def correct(self) -> NDArray[np.bool_]:
        """True for each utterance that was recognized (U,)."""
        return np.asarray(self.labels == self.predictions)


class Interval(NamedTuple):
    """A figure of all test utterances, and the percentile interval of its resamples."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """Second system minus first: the figure, its percentile interval, and the p-value of there being none."""

    value: float
    low: float
    high: float
    p: float


class McNemar(NamedTuple):
    """Utterances that only the first or only the second system recognized, and the exact p-value."""

    only_first: int
    only_second: int
    p: float


class SeedsComparison(NamedTuple):
    """Comparison of two systems that were trained from the same several seeds.

    Attributes:
        wa: Mean difference in WA.
        ua: Mean difference in UA.
        better: Number of seeds in which the second system has the higher UA.
        seeds: Number of seeds.
        unit: Unit that was resampled beside seeds: ``speakers`` or ``utterances``.
    """

    wa: Difference
    ua: Difference
    better: int
    seeds: int
    unit: str


class Comparison(NamedTuple):
    """Comparison of two systems on the same utterances.

    Attributes:
        wa: Difference in WA.
        ua: Difference in UA.
        mcnemar: Exact test of equal WA; it takes utterances for independent, which clustered ones are not.
        unit: Unit that was resampled: ``speakers`` or ``utterances``.
    """

    wa: Difference
    ua: Difference
    mcnemar: McNemar
    unit: str


def confusion(labels: Numbers, predictions: Numbers, classes: int) -> Numbers:
    """Number of utterances of true class i that were called j: (C, C)."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def figures(counts: NDArray[Any]) -> Array:
    """WA, UA and macro-F1 of confusion matrices: (…, C, C) → (…, 3).

    With n_ij utterances of class i that were called j and P the classes that have utterances: WA = Σ n_ii / Σ n_ij;
    UA = mean over P of n_ii / Σ_j n_ij; macro-F1 = mean over P of 2·n_ii / (Σ_j n_ij + Σ_j n_ji). These are
    `emofocus.metrics.classification.measure`'s, for thousands of matrices at a time and without torch.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    true, called = counts.sum(axis=-1), counts.sum(axis=-2)
    present = np.maximum((true > 0).sum(axis=-1), 1)
    recall = (hits / np.maximum(true, 1)).sum(axis=-1) / present
    f1 = np.where(true > 0, 2 * hits / np.maximum(true + called, 1), 0).sum(axis=-1) / present
    return np.stack([hits.sum(axis=-1) / np.maximum(true.sum(axis=-1), 1), recall, f1], axis=-1)


def resampled_unit(speakers: Sequence[str]) -> str:
    """Unit that intervals resample: ``speakers``, or ``utterances`` where there are fewer than `FEWEST_SPEAKERS`."""
    return "speakers" if len(set(speakers)) >= FEWEST_SPEAKERS else "utterances"


def intervals(
    systems: Sequence[Predictions], resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of WA, UA and macro-F1 over all test utterances, clustered by speaker.

    S speakers are drawn with replacement from the S, resample by resample, each with all of their utterances; the
    interval is from the (1 − level) / 2 to the (1 + level) / 2 quantile of the figure (Efron and Tibshirani, *An
    Introduction to the Bootstrap*, 1993, chapter 13). With few speakers it is somewhat too narrow.

    Args:
        systems: One system, or the same one trained from several seeds: then the mean of their figures.
        resamples: Number of resamples.
        seed: Seed of the draws.
        level: Share of resamples within the interval.

    Raises:
        EmofocusError: The systems did not see the same utterances, labels, speakers and classes.
    """
    for first, second in pairwise(systems):
        require_same(first, second, SEEN)
    values = _figures_of(systems).mean(axis=0)
    drawn = _resample(systems, resamples, seed).mean(axis=1)
    low, high = _quantiles(drawn, level)
    return {name: Interval(float(values[k]), float(low[k]), float(high[k])) for k, name in enumerate(FIGURES)}


def compare(
    first: Predictions, second: Predictions, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Comparison:
    """Paired comparison of two systems on the same utterances and folds.

    Both systems are resampled together: each resample draws speakers, and takes the difference of the two figures on
    them. The two-sided p-value of no difference is that of the percentile interval which just holds 0: with R resampled
    differences d, p = 2 · min(1 + #{d ≤ 0}, 1 + #{d ≥ 0}) / (R + 1), at most 1 (Davison and Hinkley, *Bootstrap Methods
    and their Application*, 1997, chapter 4, for the 1 that is added).

    Raises:
        EmofocusError: Utterances, labels, speakers, classes, protocol or folds differ; the message says which.
    """
    require_same(first, second)
    values, drawn = _figures_of([first, second]), _resample([first, second], resamples, seed)
    change, drawn_change = values[1] - values[0], drawn[:, 1] - drawn[:, 0]
    low, high = _quantiles(drawn_change, level)
    wa, ua = (
        Difference(float(change[k]), float(low[k]), float(high[k]), _p_value(drawn_change[:, k])) for k in range(2)
    )
    return Comparison(wa, ua, mcnemar(first.correct, second.correct), resampled_unit(first.speakers))


def compare_over_seeds(
    first: Sequence[Predictions],
    second: Sequence[Predictions],
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> SeedsComparison:
    """Paired comparison of two systems, each trained from the same seeds, on the same utterances and folds.

    Speakers and seeds are two crossed samples, so each resample draws both: the speakers, with all of their utterances
    under every seed, and the seeds, with replacement (Owen, *The pigeonhole bootstrap*, Annals of Applied Statistics 1,
    2007; it errs on the wide side). The figure of a resample is the mean over its seeds of the difference on its
    speakers, and the p-value is that of `compare`. Seeds are few, so their spread is widened by √(n / (n − 1)), as in a
    variance that is not biased. One seed alone gives the intervals of `compare`.

    Args:
        first: First system, a run for each seed.
        second: Second system, in the same order of seeds.
        resamples: Number of resamples.
        seed: Seed of the draws.
        level: Share of resamples within the interval.

    Raises:
        EmofocusError: The numbers of runs differ, or utterances, labels, speakers, classes, protocol or folds do.
    """
    if len(first) != len(second) or not first:
        raise EmofocusError(
            f"{len(first)} and {len(second)} runs cannot be paired: each seed needs one of either system"
        )
    for one, other in zip(first, second, strict=True):
        require_same(one, other)
        require_same(first[0], one, SEEN)
    systems, count = [*first, *second], len(first)
    values, drawn = _figures_of(systems), _resample(systems, resamples, seed)
    by_seed, drawn_by_seed = values[count:] - values[:count], drawn[:, count:] - drawn[:, :count]  # (n, 3), (R, n, 3)
    generator = np.random.RandomState(seed + 1)
    times = generator.multinomial(count, np.full(count, 1 / count), size=resamples)  # (R, n)
    weights = (1 + np.sqrt(count / max(1, count - 1)) * (times - 1)) / count
    change, drawn_change = by_seed.mean(axis=0), np.einsum("rn,rnk->rk", weights, drawn_by_seed)
    wa, ua = (difference_of(change[k], drawn_change[:, k], level) for k in range(2))
    better = int((by_seed[:, FIGURES.index("ua")] > 0).sum())
    return SeedsComparison(wa, ua, better, count, resampled_unit(first[0].speakers))


def resampled_means(
    values: NDArray[Any], speakers: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Means of columns over the utterances of resampled speakers: (U, k) → (R, k).

    Anything made of means (differences, ratios) has the interval of the same made of these rows.
    """
    names, unit = np.unique(speakers, return_inverse=True)
    if resampled_unit(speakers) == "utterances":
        names, unit = np.arange(len(values)), np.arange(len(values))
    sums = np.zeros((len(names), values.shape[1] + 1))
    np.add.at(sums, unit, np.column_stack([values, np.ones(len(values))]))
    generator, means = np.random.RandomState(seed), []
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        drawn = times @ sums
        means.append(drawn[:, :-1] / drawn[:, -1:])
    return np.concatenate(means)


def difference_of(value: float, drawn: NDArray[Any], level: float = LEVEL) -> Difference:
    """A figure that would be 0 if there were nothing, with the interval and the p-value of its resamples (R,)."""
    low, high = _quantiles(drawn, level)
    return Difference(float(value), float(low), float(high), _p_value(drawn))


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact conditional test of two systems that were right or wrong on the same utterances (U,).

    Of the n utterances on which just one system was right, k ~ Binomial(n, 1/2) were the first system's if both are
    equally good: p = min(1, 2 · Σ_{i ≤ min(k, n−k)} C(n, i) / 2ⁿ) (McNemar, Psychometrika 12, 1947; Dietterich, Neural
    Computation 10, 1998). The sum is of whole numbers, so that it is exact for any n. It is the exact test and not its
    mid-p form, so that it never rejects too often; it does take utterances for independent.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    n, term, total = only_first + only_second, 1, 0
    for i in range(min(only_first, only_second) + 1):
        total += term
        term = term * (n - i) // (i + 1)  # C(n, i + 1) out of C(n, i)
    return McNemar(only_first, only_second, min(1.0, 2 * total / 2**n))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of m tests, adjusted so that the chance of any false rejection stays below the level.

    The i-th smallest is multiplied by m − i + 1, and is at least as large as those before it, at most 1 (Holm,
    Scandinavian Journal of Statistics 6, 1979).
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    raised = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    adjusted = np.empty_like(raised)
    adjusted[order] = raised
    return [float(value) for value in adjusted]


def wilson(hits: float, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of independent trials (J. of the American Statistical Association 22, 1927)."""
    z = 1.959964
    share, weight = hits / total, z * z / total
    middle = (share + weight / 2) / (1 + weight)
    half = z * np.sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    return float(middle - half), float(middle + half)


def _figures_of(systems: Sequence[Predictions]) -> Array:
    """Figures of each system over all utterances: (systems, 3)."""
    return figures(np.stack([confusion(system.labels, system.predictions, len(system.classes)) for system in systems]))


def _resample(systems: Sequence[Predictions], resamples: int, seed: int) -> Array:
    """Figures of every resample: (R, systems, 3)."""
    generator, resampled = np.random.RandomState(seed), []
    cells, draws, shares = _units(systems)
    shape = (-1, len(systems), len(systems[0].classes), len(systems[0].classes))
    for start in range(0, resamples, CHUNK):
        times = generator.multinomial(draws, shares, size=min(CHUNK, resamples - start))
        resampled.append(figures((times @ cells).reshape(shape)))
    return np.concatenate(resampled)


def _units(systems: Sequence[Predictions]) -> tuple[Array, int, Array]:
    """Units that are resampled: their confusion counts (N, systems·C·C), the number of draws, and their shares (N,).

    Utterances with the same label and the same predictions count alike, so that they are one unit with a larger share.
    """
    speakers, classes = systems[0].speakers, len(systems[0].classes)
    cells = np.stack([system.labels * classes + system.predictions for system in systems], axis=1)
    if resampled_unit(speakers) == "speakers":
        names, unit = np.unique(speakers, return_inverse=True)
        draws, shares = len(names), np.full(len(names), 1 / len(names))
    else:
        cells, number = np.unique(cells, axis=0, return_counts=True)
        unit, draws, shares = np.arange(len(cells)), int(number.sum()), number / number.sum()
    counts = np.zeros((len(shares), len(systems), classes**2))
    np.add.at(counts, (unit[:, None], np.arange(len(systems)), cells), 1)
    return counts.reshape(len(shares), -1), draws, shares


def _quantiles(drawn: Array, level: float) -> Array:
    return np.asarray(np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0))


def _p_value(drawn: Array) -> float:
    below, above = int((drawn <= 0).sum()), int((drawn >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (len(drawn) + 1))


Check = tuple[str, Callable[[Predictions], Sequence[Any]]]
SEEN: tuple[Check, ...] = (
    ("classes", lambda system: system.classes),
    ("utterances", lambda system: system.utterances),
    ("labels", lambda system: [system.classes[label] for label in system.labels]),
    ("speakers", lambda system: system.speakers),
)
DEALT: tuple[Check, ...] = (
    ("protocols", lambda system: [system.protocol]),
    ("folds (their digest)", lambda system: [system.digest]),
)


def require_same(first: Predictions, second: Predictions, checks: Sequence[Check] = SEEN + DEALT) -> None:
    """Raise an `EmofocusError` that says in what two systems differ, if they do."""
    for trait, values_of in checks:
        one, other = list(values_of(first)), list(values_of(second))
        if one != other:
            example = _example(first, trait, one, other)
            raise EmofocusError(f"{first.name} and {second.name} cannot be compared: their {trait} differ ({example})")


def _example(system: Predictions, trait: str, one: Sequence[str], other: Sequence[str]) -> str:
    """The first difference of two lists."""
    if len(one) != len(other):
        only = sorted(set(one) ^ set(other))
        return f"{len(one)} and {len(other)}" + (f", for example {only[0]!r} in one alone" if only else "")
    number = next(k for k, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    utterance = f"{system.utterances[number]}: " if trait in ("labels", "speakers") else ""
    return f"{utterance}{one[number]!r} and {other[number]!r}"
