"""Figures of answers to labeled utterances: overall, by class, by group, calibration, and paired tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from emofocus.evaluation.assessment.answers import LENGTHS, TRAITS, Answers, length_in_words
from emofocus.evaluation.fairness import FEWEST, FEWEST_OF_CLASS, Gaps, chance, gaps, thresholds
from emofocus.metrics.calibration import BINS, expected_calibration_error, select
from emofocus.metrics.statistics import FIGURES, Numbers, Predictions, compare, confusion, figures, holm, intervals

UNKNOWN = "not known"
"""Value of a trait where it is not known."""


class Figure(msgspec.Struct, frozen=True):
    """A share, and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


class ClassFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one class; None where there is nothing to divide by."""

    name: str
    utterances: int
    answers: int
    recall: float | None
    precision: float | None
    f1: float | None


class GroupFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one group.

    Attributes:
        value: Value of the trait.
        utterances: Number of utterances.
        speakers: Number of speakers; 0 where nobody knows them.
        wa: WA.
        ua: UA over the classes that the group has.
        interval: Interval of its UA, for groups that are no speakers.
        gap: UA minus that of all utterances over the same classes.
        threshold: Largest gap of a random model; None for groups too small to be judged.
        flags: Gaps beyond their thresholds, in words.
    """

    value: str
    utterances: int
    speakers: int
    wa: float
    ua: float
    interval: Figure | None
    gap: float
    threshold: float | None
    flags: list[str]


class GroupTable(msgspec.Struct, frozen=True):
    """Figures by the values of one trait."""

    trait: str
    groups: list[GroupFigures]


class Bin(msgspec.Struct, frozen=True):
    """Utterances whose answer has a probability in (low, high]."""

    low: float
    high: float
    utterances: int
    confidence: float
    accuracy: float


class CalibrationOfAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """Whether probabilities mean what they say.

    Attributes:
        ece: Expected calibration error, in `BINS` bins.
        confidence: Mean probability of the answers.
        thresholds: Thresholds of the model, or of its folds; empty where they are not known.
        coverage: Share of the utterances whose answer reaches the threshold.
        confident_wa: Share of these that are right; None where there are none.
        bins: Bins that hold utterances.
    """

    ece: float
    confidence: float
    thresholds: list[float]
    coverage: float | None
    confident_wa: float | None
    bins: list[Bin]


class ModelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is measured of one model.

    Attributes:
        name: Name of the model.
        classes: Classes that it may answer.
        wa: Share of the utterances that are recognized; ``ua`` and ``macro_f1`` likewise.
        chance: Figures of a model that answers at random, and the range of 95 % of its simulations.
        confusion: Number of utterances of true class i that were called j.
        by_class: Figures of each class.
        by_group: Figures by traits of which the utterances have several values.
        calibration: Calibration.
    """

    name: str
    classes: list[str]
    wa: Figure
    ua: Figure
    macro_f1: Figure
    chance: dict[str, Figure]
    confusion: list[list[int]]
    by_class: list[ClassFigures]
    by_group: list[GroupTable]
    calibration: CalibrationOfAnswers


class PairedTest(msgspec.Struct, frozen=True, kw_only=True):
    """Paired test of a model against another one on the same utterances.

    Attributes:
        name: Name of the model.
        against: Name of the other one.
        wa: Difference in WA, with its interval.
        wa_p: p-value of no difference, adjusted by Holm's method over all models.
        ua: Difference in UA, with its interval.
        ua_p: p-value, likewise.
        only_first: Utterances that the model alone recognizes.
        only_second: Utterances that the other one alone recognizes.
        mcnemar_p: p-value of McNemar's exact test, likewise adjusted.
    """

    name: str
    against: str
    wa: Figure
    wa_p: float
    ua: Figure
    ua_p: float
    only_first: int
    only_second: int
    mcnemar_p: float


@dataclass(frozen=True, eq=False)
class _Group:
    """Utterances of one value of a trait."""

    value: str
    chosen: NDArray[np.bool_]
    counts: Numbers


def measure_model(answers: Answers, classes: Sequence[str]) -> ModelFigures:
    """Measure the answers of one model.

    Args:
        answers: At least one.
        classes: Classes of the confusion matrix, those of the model and of all labels among them.
    """
    numbered = answers.numbered(classes)
    counts = confusion(numbered.labels, numbered.predictions, len(classes))
    may = np.array([name in answers.classes for name in classes])
    overall = {name: Figure(*interval) for name, interval in intervals([numbered]).items()}
    random = np.asarray(chance(counts.sum(axis=1), may))
    return ModelFigures(
        name=answers.name,
        classes=list(answers.classes),
        wa=overall["wa"],
        ua=overall["ua"],
        macro_f1=overall["macro_f1"],
        chance={name: _of_simulations(random[:, number]) for number, name in enumerate(FIGURES)},
        confusion=counts.tolist(),
        by_class=_by_class(counts, classes),
        by_group=[table for trait in TRAITS if (table := _by_trait(answers, numbered, counts, may, trait))],
        calibration=_calibration(answers, numbered),
    )


def _of_simulations(values: NDArray[np.float64]) -> Figure:
    low, high = np.quantile(values, [0.025, 0.975])
    return Figure(float(values.mean()), float(low), float(high))


def _by_class(counts: Numbers, classes: Sequence[str]) -> list[ClassFigures]:
    hits, true, called = np.diagonal(counts).tolist(), counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist()
    return [
        ClassFigures(
            name=name,
            utterances=true[k],
            answers=called[k],
            recall=hits[k] / true[k] if true[k] else None,
            precision=hits[k] / called[k] if called[k] else None,
            f1=2 * hits[k] / (true[k] + called[k]) if true[k] else None,
        )
        for k, name in enumerate(classes)
    ]


def _by_trait(
    answers: Answers, numbered: Predictions, counts: Numbers, may: NDArray[np.bool_], trait: str
) -> GroupTable | None:
    """Figures by the values of a trait; None if there are fewer than two known ones."""
    values = np.array([value or UNKNOWN for value in answers.traits[trait]])
    names = sorted(set(values.tolist()) - {UNKNOWN}, key=_order)
    if len(names) < 2:
        return None
    names += [UNKNOWN] * bool((values == UNKNOWN).any())
    chosen = [values == name for name in names]
    matrices = [confusion(numbered.labels[part], numbered.predictions[part], len(may)) for part in chosen]
    limits = thresholds(np.array([matrix.sum(axis=1) for matrix in matrices]), may)
    groups = [
        _group(numbered, _Group(name, part, matrix), counts, limit, trait)
        for name, part, matrix, limit in zip(names, chosen, matrices, limits, strict=True)
    ]
    return GroupTable(trait, groups)


_LENGTHS = [length_in_words(seconds) for seconds in (0.0, *(edge + 1e-6 for edge in LENGTHS))]


def _order(value: str) -> tuple[int, str]:
    """Lengths from short to long, all else by name."""
    return (_LENGTHS.index(value), "") if value in _LENGTHS else (len(_LENGTHS), value)


def _group(numbered: Predictions, group: _Group, whole: Numbers, limit: Gaps, trait: str) -> GroupFigures:
    wa, ua, _ = figures(group.counts).tolist()
    found = gaps(group.counts, whole)
    part = _part(numbered, group.chosen)
    judged = len(part.utterances) >= FEWEST
    return GroupFigures(
        value=group.value,
        utterances=len(part.utterances),
        speakers=len(set(part.speakers) - {""}),
        wa=wa,
        ua=ua,
        interval=None if trait == "speaker" else Figure(*intervals([part])["ua"]),
        gap=float(found.ua),
        threshold=float(limit.ua) if judged else None,
        flags=list(_flags(found, limit, group.counts, numbered.classes)) if judged else [],
    )


def _part(numbered: Predictions, chosen: NDArray[np.bool_]) -> Predictions:
    numbers = np.flatnonzero(chosen).tolist()
    return Predictions(
        name=numbered.name,
        classes=numbered.classes,
        protocol="",
        digest="",
        utterances=tuple(numbered.utterances[number] for number in numbers),
        speakers=tuple(numbered.speakers[number] for number in numbers),
        labels=numbered.labels[chosen],
        predictions=numbered.predictions[chosen],
    )


def _flags(found: Gaps, limit: Gaps, counts: Numbers, classes: Sequence[str]) -> list[str]:
    """Gaps beyond those of a random model, in words."""
    flags = []
    if abs(found.ua) > limit.ua:
        flags.append(_words("UA", float(found.ua), float(limit.ua)))
    for values, limits, total, name in (
        (found.recall, limit.recall, counts.sum(axis=1), "recall"),
        (found.precision, limit.precision, counts.sum(axis=0), "precision"),
    ):
        enough = (total >= FEWEST_OF_CLASS) & ~np.isnan(values) & ~np.isnan(limits)
        beyond = np.flatnonzero(enough & (np.abs(np.nan_to_num(values)) > np.nan_to_num(limits))).tolist()
        flags += [_words(f"{name} of {classes[k]}", float(values[k]), float(limits[k])) for k in beyond]
    return flags


def _words(figure: str, gap: float, limit: float) -> str:
    return f"{figure} {100 * gap:+.0f} (random: {100 * limit:.0f})".replace("-", "−")


def _calibration(answers: Answers, numbered: Predictions) -> CalibrationOfAnswers:
    confidence, correct = answers.probabilities.max(axis=1), numbered.correct
    known = not bool(np.isnan(answers.thresholds).any())
    coverage = accuracy = None
    if known:
        selected = select(confidence - answers.thresholds, correct, 0.0)
        coverage, accuracy = selected.coverage, selected.accuracy
    return CalibrationOfAnswers(
        ece=expected_calibration_error(confidence, correct),
        confidence=float(confidence.mean()),
        thresholds=sorted(set(answers.thresholds.tolist())) if known else [],
        coverage=coverage,
        confident_wa=accuracy,
        bins=_reliability(confidence, correct),
    )


def _reliability(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> list[Bin]:
    """Bins of the expected calibration error that hold utterances."""
    numbers = np.digitize(confidence, np.arange(1, BINS) / BINS, right=True)
    return [
        Bin(
            low=number / BINS,
            high=(number + 1) / BINS,
            utterances=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(correct[inside].mean()),
        )
        for number in range(BINS)
        if (inside := numbers == number).any()
    ]


def paired_tests(models: Sequence[Answers], other: Answers, classes: Sequence[str]) -> list[PairedTest]:
    """Compare models with another one on the same utterances; p-values are adjusted together by Holm's method."""
    second = other.numbered(classes)
    made = [compare(second, item.numbered(classes)) for item in models]
    adjusted = [holm([pair.wa.p for pair in made]), holm([pair.ua.p for pair in made])]
    exact = holm([pair.mcnemar.p for pair in made])
    return [
        PairedTest(
            name=item.name,
            against=other.name,
            wa=Figure(*pair.wa[:3]),
            wa_p=adjusted[0][number],
            ua=Figure(*pair.ua[:3]),
            ua_p=adjusted[1][number],
            only_first=pair.mcnemar.only_second,
            only_second=pair.mcnemar.only_first,
            mcnemar_p=exact[number],
        )
        for number, (item, pair) in enumerate(zip(models, made, strict=True))
    ]
