"""Fairness: gaps between a group and all utterances, and how large those of a random model become.

The thresholds are those of audEERING's ser-tests (https://audeering.github.io/ser-tests, *Fairness*): the largest
difference that a model which answers at random shows in 1,000 simulations. They assume groups of equal size and a made
truth; here, the random model answers the utterances themselves, with the labels and the group sizes that they have.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emofocus.metrics.statistics import Array, Numbers, figures

SIMULATIONS = 1_000

FEWEST = 25
"""Utterances of a group whose UA is judged, as ser-tests demands of a speaker."""

FEWEST_OF_CLASS = 10
"""Utterances of a class in a group, or answers with it, whose recall or precision is judged."""


class Gaps(NamedTuple):
    """Differences between a group and all utterances.

    Attributes:
        ua: Mean over the group's classes of the group's recall minus that of all: (…).
        recall: The same for each class; NaN for classes that the group lacks (…, C).
        precision: Precision of each class in the group minus that of all; NaN where it was never answered (…, C).
    """

    ua: Array
    recall: Array
    precision: Array


def gaps(group: NDArray[np.integer], whole: NDArray[np.integer]) -> Gaps:
    """Differences between confusion matrices of a group and of all utterances: both (…, C, C)."""
    recall = _shares(group, -1) - _shares(whole, -1)
    precision = _shares(group, -2) - _shares(whole, -2)
    known = ~np.isnan(recall)
    ua = np.where(known, recall, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return Gaps(np.asarray(ua), recall, precision)


def _shares(counts: NDArray[np.integer], axis: int) -> Array:
    """Right answers over the sum of an axis of confusion matrices; NaN where that is 0."""
    hits, total = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=axis)
    return np.where(total > 0, hits / np.maximum(total, 1), np.nan)


def random_answers(truths: Numbers, answers: NDArray[np.bool_], seed: Sequence[int]) -> Numbers:
    """Confusion matrices of a model that answers at random: (`SIMULATIONS`, C, C).

    Args:
        truths: Number of utterances of each class (C,).
        answers: Whether the model may answer a class, each of which is as likely (C,).
        seed: Seed of the draws.
    """
    generator = np.random.RandomState(list(seed))
    shares = answers / answers.sum()
    return np.stack([generator.multinomial(int(n), shares, SIMULATIONS) for n in truths], axis=1)


def chance(truths: Numbers, answers: NDArray[np.bool_], seed: int = 0) -> Array:
    """WA, UA and macro-F1 of a model that answers at random, in every simulation: (`SIMULATIONS`, 3).

    Args:
        truths: Number of utterances of each class (C,).
        answers: Whether the model may answer a class (C,).
        seed: Seed of the draws.
    """
    return figures(random_answers(truths, answers, [seed]))


def thresholds(truths: Numbers, answers: NDArray[np.bool_], seed: int = 0) -> list[Gaps]:
    """Largest differences that a model which answers at random shows in `SIMULATIONS` simulations, of each group.

    Args:
        truths: Number of utterances of each class in each group: (G, C).
        answers: Whether the model may answer a class (C,).
        seed: Seed of the draws.
    """
    whole = np.zeros((SIMULATIONS, len(answers), len(answers)), np.int64)
    for number, counts in enumerate(truths):
        whole += random_answers(counts, answers, [seed, number])
    found = []
    for number, counts in enumerate(truths):
        drawn = gaps(random_answers(counts, answers, [seed, number]), whole)
        found.append(Gaps(*(_largest(values) for values in drawn)))
    return found


def _largest(values: Array) -> Array:
    """Largest absolute value over simulations; NaN where all are."""
    absolute = np.abs(values)
    known = ~np.isnan(absolute)
    return np.where(known.any(axis=0), np.where(known, absolute, 0.0).max(axis=0), np.nan)
