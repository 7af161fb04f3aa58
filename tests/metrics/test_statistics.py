"""Intervals, paired tests and corrections against hand-made cases, scipy, and data whose truth is known."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from emofocus.errors import EmofocusError
from emofocus.metrics.classification import measure
from emofocus.metrics.statistics import (
    Predictions,
    compare,
    compare_over_seeds,
    confusion,
    figures,
    holm,
    intervals,
    mcnemar,
    wilson,
)
from helpers.properties import cases

CLASSES = ("a", "b", "c")


def system(
    speakers: Sequence[str], labels: Sequence[int], predictions: Sequence[int], name: str = "first"
) -> Predictions:
    files = tuple(f"{number:05d}.wav" for number in range(len(speakers)))
    return Predictions(
        name, CLASSES, "speaker", "0123", files, tuple(speakers), np.array(labels), np.array(predictions)
    )


def made(
    generator: np.random.Generator, speakers: int, each: int, spread: float, middle: float = 0.0
) -> tuple[Predictions, np.ndarray]:
    """Speakers whose chance of being recognized differs: logit ~ N(middle, spread²)."""
    chances = 1 / (1 + np.exp(-generator.normal(middle, spread, speakers)))
    names = [f"{number:03d}" for number in range(speakers) for _ in range(each)]
    labels = np.tile(np.arange(3), speakers * each)[: speakers * each]
    right = generator.random(speakers * each) < np.repeat(chances, each)
    return system(names, labels, np.where(right, labels, (labels + 1) % 3)), chances


def alone(found: Predictions) -> Predictions:
    """As if nobody knew who speaks: the naive bootstrap of utterances."""
    return replace(found, speakers=("",) * len(found.speakers))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
@cases(50, 500)
def test_figures_of_a_confusion_matrix_are_those_of_measure(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = (np.array(column) for column in zip(*pairs, strict=True))
    expected = measure([CLASSES[i] for i in labels], [CLASSES[i] for i in predictions], CLASSES)
    np.testing.assert_allclose(figures(confusion(labels, predictions, 3)), expected)


def test_the_value_of_an_interval_is_the_figure_itself_and_lies_within() -> None:
    found, _ = made(np.random.default_rng(0), 12, 30, 1.0)
    names = [[CLASSES[i] for i in numbers] for numbers in (found.labels, found.predictions)]
    for expected, interval in zip(measure(*names, CLASSES), intervals([found]).values(), strict=True):
        assert interval.value == pytest.approx(expected)
        assert interval.low < interval.value < interval.high


def test_equal_speakers_leave_no_doubt_about_another_set_of_them() -> None:
    labels, predictions = [0, 0, 1, 1] * 5, [0, 1, 1, 1] * 5
    found = system([name for name in "vwxyz" for _ in range(4)], labels, predictions)
    wa = intervals([found])["wa"]
    assert (wa.low, wa.value, wa.high) == (0.75, 0.75, 0.75)
    naive = intervals([alone(found)])["wa"]
    assert naive.low < 0.75 < naive.high


def test_the_interval_by_hand_of_three_speakers() -> None:
    """Means of three draws from {0, 0.5, 1}: each sum k/2 has 1, 3, 6, 7, 6, 3, 1 of 27 draws."""
    found = system(list("xxyyzz"), [0] * 6, [0, 0, 0, 1, 1, 1])
    wa = intervals([found], level=0.9)["wa"]  # 1/27 < 5 % < 4/27
    assert (wa.value, wa.low, wa.high) == pytest.approx((0.5, 1 / 6, 5 / 6))
    wa = intervals([found], level=0.95)["wa"]  # 2.5 % < 1/27
    assert (wa.low, wa.high) == (0.0, 1.0)


def test_clustering_widens_the_interval_when_speakers_differ_and_not_when_they_do_not() -> None:
    def width(found: Predictions) -> float:
        wa = intervals([found])["wa"]
        return wa.high - wa.low

    different, _ = made(np.random.default_rng(1), 24, 60, 1.0)
    assert width(different) > 2 * width(alone(different))
    alike, _ = made(np.random.default_rng(1), 24, 60, 0.0)
    assert width(alike) == pytest.approx(width(alone(alike)), rel=0.35)


def test_the_clustered_interval_covers_the_truth_and_the_naive_one_does_not() -> None:
    generator, trials, covered = np.random.default_rng(2), 150, np.zeros(2)
    truth = np.mean(1 / (1 + np.exp(-generator.normal(0, 1, 1_000_000))))
    for _ in range(trials):
        found, _ = made(generator, 30, 40, 1.0)
        for kind, of in enumerate((found, alone(found))):
            wa = intervals([of], resamples=400)["wa"]
            covered[kind] += wa.low <= truth <= wa.high
    assert 0.88 <= covered[0] / trials <= 0.99
    assert covered[1] / trials < 0.8


def test_below_three_speakers_utterances_are_resampled_and_the_result_says_so() -> None:
    found, _ = made(np.random.default_rng(3), 2, 100, 0.0)
    assert compare(found, found).unit == "utterances"
    here = intervals([found])["wa"]
    every = intervals([replace(found, speakers=found.utterances)])["wa"]  # resampled utterance by utterance
    assert (here.low, here.high) == pytest.approx((every.low, every.high), abs=0.015)
    three, _ = made(np.random.default_rng(3), 3, 100, 0.0)
    assert compare(three, three).unit == "speakers"


def test_several_seeds_are_averaged_in_every_resample() -> None:
    first, _ = made(np.random.default_rng(4), 10, 30, 1.0)
    wrong = replace(first, predictions=(first.labels + 1) % 3)
    one, both = intervals([first])["wa"], intervals([first, wrong])["wa"]
    assert both == pytest.approx([bound / 2 for bound in one])


def test_the_same_seed_gives_the_same_digits() -> None:
    found, _ = made(np.random.default_rng(5), 24, 60, 1.0)
    assert intervals([found]) == intervals([found])
    assert intervals([found]) != intervals([found], seed=1)
    second = replace(found, predictions=np.roll(found.predictions, 3))
    assert compare(found, second) == compare(found, second)


def test_these_are_the_digits_with_every_version_of_numpy() -> None:
    right = [(7 * speaker + 3 * number) % 11 < 3 + speaker for speaker in range(6) for number in range(10)]
    labels = [number % 3 for _ in range(6) for number in range(10)]
    predictions = [label if hit else (label + 1) % 3 for label, hit in zip(labels, right, strict=True)]
    wa = intervals([system([name for name in "uvwxyz" for _ in range(10)], labels, predictions)])["wa"]
    assert tuple(wa) == pytest.approx((31 / 60, 23 / 60, 39 / 60), abs=1e-9)


def test_ten_thousand_resamples_take_a_fraction_of_a_second() -> None:
    found, _ = made(np.random.default_rng(6), 24, 60, 1.0)
    compare(found, found, resamples=10)
    start = time.process_time()
    intervals([found])
    assert time.process_time() - start < 0.5


# Two systems


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 9), (9, 3), (5, 5), (40, 61), (700, 640), (2, 1500)])
def test_mcnemar_is_the_binomial_test_of_the_utterances_on_which_systems_differ(first: int, second: int) -> None:
    here = np.array([True] * (first + 10) + [False] * (second + 10))
    there = np.array([False] * first + [True] * 10 + [True] * second + [False] * 10)
    found = mcnemar(here, there)
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert found == (first, second, pytest.approx(expected, rel=1e-9))


def test_equal_systems_differ_in_nothing() -> None:
    found, _ = made(np.random.default_rng(7), 10, 30, 1.0)
    result = compare(found, found)
    assert result.wa == result.ua == (0.0, 0.0, 0.0, 1.0)
    assert result.mcnemar.p == 1.0


def test_a_real_improvement_is_found_and_has_its_sign() -> None:
    first, _ = made(np.random.default_rng(8), 24, 60, 1.0, middle=-0.5)
    mended = np.random.default_rng(9).random(len(first.labels)) < 0.2
    second = replace(first, name="second", predictions=np.where(mended, first.labels, first.predictions))
    better, worse = compare(first, second), compare(second, first)
    assert better.wa.value == pytest.approx(np.mean(second.correct) - np.mean(first.correct))
    assert 0 < better.wa.low < better.wa.value < better.wa.high
    assert (better.wa.p, better.mcnemar.only_first) == (pytest.approx(2 / 10_001), 0)
    assert (worse.wa.value, worse.wa.p) == (-better.wa.value, better.wa.p)


def test_p_values_of_no_difference_are_not_too_small() -> None:
    """Two systems that are equally good: about one test in ten is below 0.1, clustered or not."""
    generator, below = np.random.default_rng(10), 0
    for _ in range(150):
        first, chances = made(generator, 30, 20, 1.0)
        right = generator.random(len(first.labels)) < np.repeat(chances, 20)
        second = replace(first, predictions=np.where(right, first.labels, (first.labels + 1) % 3))
        below += compare(first, second, resamples=400).wa.p < 0.1
    assert 0.04 <= below / 150 <= 0.18


def trained(generator: np.random.Generator, seeds: int, gain: float, spread: float) -> list[list[Predictions]]:
    """Two systems from several seeds: logit of a right answer = speaker + seed + gain of the second system."""
    of_speaker = np.repeat(generator.normal(0, 1, 24), 40)
    speakers, labels = [f"{number:03d}" for number in range(24) for _ in range(40)], np.tile(np.arange(3), 320)
    systems = []
    for bonus in (0, gain):
        runs = []
        for _ in range(seeds):
            right = generator.random(960) < 1 / (1 + np.exp(-(of_speaker + bonus + generator.normal(0, spread))))
            runs.append(system(speakers, labels, np.where(right, labels, (labels + 1) % 3)))
        systems.append(runs)
    return systems


def test_one_seed_over_seeds_is_the_plain_comparison() -> None:
    (first,), (second,) = trained(np.random.default_rng(11), 1, 0.3, 0.2)
    plain, several = compare(first, second), compare_over_seeds([first], [second])
    assert (several.wa, several.ua, several.seeds) == (plain.wa, plain.ua, 1)
    assert several.better == (plain.ua.value > 0)


def test_the_difference_over_seeds_is_the_mean_of_the_seeds_and_turns_its_sign() -> None:
    first, second = trained(np.random.default_rng(12), 5, 0.4, 0.2)
    several, back = compare_over_seeds(first, second), compare_over_seeds(second, first)
    assert several.ua.value == pytest.approx(
        np.mean([compare(a, b, resamples=10).ua.value for a, b in zip(first, second, strict=True)])
    )
    assert 0 < several.ua.low < several.ua.value < several.ua.high
    assert (back.ua.value, back.ua.p) == (pytest.approx(-several.ua.value), several.ua.p)


def test_seeds_that_differ_widen_the_interval() -> None:
    """Test speakers alone would be too sure: the mean of few seeds is uncertain, too."""
    first, second = trained(np.random.default_rng(13), 4, 0.0, 1.0)
    several = compare_over_seeds(first, second)
    each = [compare(a, b).ua for a, b in zip(first, second, strict=True)]
    assert several.ua.high - several.ua.low > 1.5 * min(item.high - item.low for item in each)


def test_p_values_over_seeds_of_no_difference_are_not_too_small() -> None:
    generator, below = np.random.default_rng(14), 0
    for _ in range(100):
        below += compare_over_seeds(*trained(generator, 6, 0.0, 0.3), resamples=300).ua.p < 0.1
    assert below / 100 <= 0.25  # 0.14 in 600 trials: six seeds are few


def test_seeds_without_a_partner_are_refused() -> None:
    first, second = trained(np.random.default_rng(15), 2, 0.0, 0.1)
    with pytest.raises(EmofocusError, match="2 and 1 runs cannot be paired"):
        compare_over_seeds(first, second[:1])
    with pytest.raises(EmofocusError, match="0 and 0 runs cannot be paired"):
        compare_over_seeds([], [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("a", "b", "d")}, "their classes differ ('c' and 'd')"),
        ({"utterances": ("x.wav", "00001.wav", "00002.wav")}, "their utterances differ ('00000.wav' and 'x.wav')"),
        ({"labels": np.array([0, 2, 2])}, "their labels differ (00001.wav: 'b' and 'c')"),
        ({"speakers": ("x", "y", "x")}, "their speakers differ (00002.wav: 'z' and 'x')"),
        ({"protocol": "random"}, "their protocols differ ('speaker' and 'random')"),
        ({"digest": "4567"}, "their folds (their digest) differ ('0123' and '4567')"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_the_difference_is_named(changes: dict, message: str) -> None:
    first = system(["x", "y", "z"], [0, 1, 2], [0, 1, 2])
    with pytest.raises(EmofocusError) as error:
        compare(first, replace(first, name="second", **changes))
    assert f"first and second cannot be compared: {message}" in str(error.value)


def test_systems_that_saw_other_numbers_of_utterances_are_refused() -> None:
    first, second = system(["x", "y", "z"], [0, 1, 2], [0, 1, 2]), system(["x", "y"], [0, 1], [0, 1], "second")
    with pytest.raises(EmofocusError, match=r"utterances differ \(3 and 2, for example '00002.wav' in one alone\)"):
        compare(first, second)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_wilson_is_scipys() -> None:
    for hits, total in ((0, 10), (7, 10), (31, 60), (60, 60)):
        expected = binomtest(hits, total).proportion_ci(method="wilson")
        assert wilson(hits, total) == pytest.approx((expected.low, expected.high), abs=1e-6)
