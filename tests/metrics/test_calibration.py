"""Temperatures and thresholds are found where they must be, and figures are what their formulas say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emofocus.config import ModelConfig
from emofocus.export.model_card import model_card
from emofocus.metrics.calibration import (
    LEAST_COVERAGE,
    TEMPERATURES,
    THRESHOLDS,
    Selection,
    calibrate,
    choose_threshold,
    expected_calibration_error,
    fit_temperature,
    measure_calibration,
    negative_log_likelihood,
    probabilities,
    select,
    uncalibrated,
)
from emofocus.segments import softmax
from helpers.properties import cases

LOGITS = arrays(np.float32, (7, 5), elements=st.floats(-30, 30, width=32))
TEMPERATURE = st.floats(*TEMPERATURES)


def drawn(
    utterances: int = 20_000, classes: int = 6, seed: int = 0, spread: float = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (U, C), and labels that are drawn by their very probabilities: perfectly calibrated."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, spread, (utterances, classes)).astype(np.float32)
    labels = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)  # the Gumbel-max trick draws from softmax
    return logits, labels


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_temperature_of_logits_scaled_by_k_is_k(scale: float) -> None:
    logits, labels = drawn()
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale, rel=0.03)


def test_calibration_error_of_perfectly_calibrated_logits_vanishes_and_returns_when_they_are_scaled() -> None:
    logits, labels = drawn()
    for scale in (1, 3):
        found = probabilities(scale * logits, temperature=scale)
        assert expected_calibration_error(found.max(axis=1), found.argmax(axis=1) == labels) < 0.01
    confident = probabilities(3 * logits)
    assert expected_calibration_error(confident.max(axis=1), confident.argmax(axis=1) == labels) > 0.1


def test_calibration_error_of_300_perfectly_calibrated_utterances_is_about_6_percent() -> None:
    """What the README says of small parts."""
    found = []
    for seed in range(40):
        logits, labels = drawn(300, classes=8, seed=seed, spread=1.2)
        found.append(expected_calibration_error(probabilities(logits).max(axis=1), logits.argmax(axis=1) == labels))
    assert np.mean(found) == pytest.approx(0.06, abs=0.01)


def test_temperature_has_the_least_loss_of_all_and_is_the_same_twice() -> None:
    logits, labels = drawn(300)
    fitted = fit_temperature(2.5 * logits, labels)
    assert fitted == fit_temperature(2.5 * logits, labels) == round(fitted, 6)
    least = negative_log_likelihood(probabilities(2.5 * logits, fitted), labels)
    for other in np.geomspace(*TEMPERATURES, 200):
        assert least <= negative_log_likelihood(probabilities(2.5 * logits, other), labels) + 1e-9


def test_temperature_stays_within_bounds_where_the_likelihood_has_no_optimum() -> None:
    logits = np.eye(4, dtype=np.float32)
    assert fit_temperature(logits, np.arange(4)) == pytest.approx(TEMPERATURES[0], rel=1e-3)  # never wrong
    assert fit_temperature(logits, (np.arange(4) + 1) % 4) == pytest.approx(TEMPERATURES[1], rel=1e-3)  # always


def test_calibration_error_of_bins_made_by_hand() -> None:
    # Bins of 15: 0.61 and 0.65 in (9/15, 10/15], 0.9 in (13/15, 14/15], 1.0 in (14/15, 1].
    confidence = np.array([0.61, 0.65, 0.9, 1.0])
    correct = np.array([True, False, False, True])
    expected = 0.5 * abs(0.5 - 0.63) + 0.25 * 0.9 + 0.25 * 0
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected)
    # In two bins, 0.5 belongs to the lower one.
    halves = expected_calibration_error(np.array([0.5, 0.4, 0.6]), np.array([True, False, True]), bins=2)
    assert halves == pytest.approx((2 * abs(0.5 - 0.45) + 0.4) / 3)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50), st.integers(1, 20))
@cases(50)
def test_calibration_error_equals_its_definition(pairs: list[tuple[float, bool]], bins: int) -> None:
    confidence, correct = np.array([p for p, _ in pairs]), np.array([right for _, right in pairs])
    expected = 0.0
    for number in range(1, bins + 1):
        low = (number - 1) / bins if number > 1 else -1
        members = (confidence > low) & (confidence <= number / bins)
        if members.any():
            expected += members.mean() * abs(correct[members].mean() - confidence[members].mean())
    assert expected_calibration_error(confidence, correct, bins) == pytest.approx(expected, abs=1e-12)


def test_likelihood_made_by_hand() -> None:
    found = negative_log_likelihood(np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1]))
    assert found == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2)
    assert np.isfinite(negative_log_likelihood(np.array([[0.0, 1.0]]), np.array([0])))


def test_threshold_answers_the_most_that_reaches_the_target() -> None:
    confidence = np.array([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.96, 0.97])
    correct = np.array([0, 0, 1, 0, 1, 1, 1, 1, 1, 1], bool)
    assert choose_threshold(confidence, correct, target=0.99) == 0.61  # all six above 0.6 are right
    assert choose_threshold(confidence, correct, target=0.8) == 0.41  # seven of eight
    assert choose_threshold(confidence, correct, target=0.7) == 0.0  # seven of ten: answer everything
    assert select(confidence, correct, 0.61) == Selection(0.6, 1.0)


def test_threshold_where_no_target_is_reached_has_the_best_accuracy_that_still_answers_a_tenth() -> None:
    confidence = np.linspace(0.01, 0.98, 98)
    correct = (np.arange(98) % 2 == 0) & (confidence < 0.95)
    correct[-2:] = True  # the two surest are right, but they are fewer than a tenth
    threshold = choose_threshold(confidence, correct)
    best = max(
        (found.accuracy for found in (select(confidence, correct, t) for t in THRESHOLDS) if found.coverage >= 0.1),
    )
    chosen = select(confidence, correct, threshold)
    assert chosen.accuracy == best < 0.9
    assert chosen.coverage >= LEAST_COVERAGE


@given(arrays(np.float64, 30, elements=st.floats(0, 1)), arrays(np.bool_, 30), st.floats(0.01, 1))
@cases(50)
def test_threshold_keeps_its_rule(confidence: np.ndarray, correct: np.ndarray, target: float) -> None:
    threshold = choose_threshold(confidence, correct, target)
    chosen = select(confidence, correct, threshold)
    assert threshold in THRESHOLDS
    assert chosen.coverage >= LEAST_COVERAGE
    for other in THRESHOLDS:
        found = select(confidence, correct, other)
        if found.coverage >= LEAST_COVERAGE and found.accuracy >= target:
            assert chosen.accuracy >= target
            assert chosen.coverage >= found.coverage


def test_a_part_in_which_nothing_is_answered_has_no_accuracy() -> None:
    confidence, correct = np.array([0.3, 0.4]), np.array([True, False])
    assert select(confidence, correct, 0.5) == Selection(0.0, None)
    found = measure_calibration(np.array([[0.3, 0.7], [0.6, 0.4]]), np.array([1, 1]), np.array([True, False]), 1, 0.9)
    assert (found.coverage, found.selective_wa) == (0.0, None)


@given(LOGITS, TEMPERATURE)
@cases(50)
def test_a_temperature_moves_no_prediction_and_probabilities_still_sum_to_1(logits: np.ndarray, value: float) -> None:
    found = probabilities(logits, value)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)
    best = logits.argmax(axis=1)
    np.testing.assert_array_equal(found[np.arange(len(best)), best], found.max(axis=1))
    np.testing.assert_allclose(softmax(logits, value), found, atol=1e-5)  # the light half agrees


@given(LOGITS, st.floats(0.3, 20))
@cases(50, 300)
def test_a_temperature_can_be_undone_without_the_logits(logits: np.ndarray, value: float) -> None:
    np.testing.assert_allclose(uncalibrated(probabilities(logits, value), value), probabilities(logits), atol=1e-9)


def test_temperature_1_changes_no_bit_of_the_light_halfs_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (100, 8)).astype(np.float32)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    np.testing.assert_array_equal(softmax(logits, 1.0), shifted / shifted.sum(axis=-1, keepdims=True))


def test_calibrating_lessens_the_error_on_utterances_that_it_did_not_see() -> None:
    logits, labels = drawn(3_000)
    fitted = calibrate(3 * logits[:1_000], labels[:1_000])
    right = logits[1_000:].argmax(axis=1) == labels[1_000:]
    found = measure_calibration(
        probabilities(3 * logits[1_000:], fitted.temperature), labels[1_000:], right, *fitted[:2]
    )
    assert found.ece < 0.5 * found.ece_before
    assert found.nll < found.nll_before
    assert found.selective_wa == pytest.approx(fitted.valid.accuracy, abs=0.05)
    assert found.selective_wa > right.mean()


TRAINING = {
    "corpus": "c", "recipe": "r", "protocol": "p", "note": "n", "selection": "s", "seed": 0, "fold": 0, "best_epoch": 1,
    "train": 6, "valid": 2, "test": 2, "test_speakers": ["a"], "test_recalls": {"sad": 0.5},
    "wa": 0.5, "ua": 0.5, "macro_f1": 0.5, "ece_before": 0.2, "ece": 0.1, "nll_before": 2.0, "nll": 1.5,
    "coverage": 0.25, "selective_wa": 0.8, "valid_coverage": 0.3, "valid_selective_wa": 0.9,
}  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (
            {},
            [
                "20.0% before, **10.0%** after",
                "at least 90% of the answers right",
                "answers **25.0%**",
                "**80.0%** are",
            ],
        ),
        ({"valid_selective_wa": 0.7}, ["No threshold", "of which 70.0% are right"]),
        ({"coverage": 0.0, "selective_wa": None}, ["it answers none"]),
    ],
)
def test_model_card_says_how_calibrated_it_is(figures: dict[str, float | None], said: list[str]) -> None:
    config = ModelConfig.of("bmhsa", ("sad",), temperature=1.5, threshold=0.6, training=TRAINING | figures)
    card = model_card(config, graph_bytes=1)
    for words in ("## Calibration", "**1.500**", "threshold **0.6**", *said):
        assert words in card


def test_a_weight_of_two_counts_as_the_utterance_twice() -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(0, 2, (300, 4)), generator.integers(4, size=300)
    weights = generator.integers(1, 4, 300)
    more = np.repeat(np.arange(300), weights)
    assert fit_temperature(logits, labels, weights) == pytest.approx(
        fit_temperature(logits[more], labels[more]), rel=1e-4
    )
    confidence, correct = generator.random(300).round(3), generator.random(300) < 0.6
    again = confidence[more], correct[more]
    for target in (0.5, 0.7, 0.9):
        threshold = choose_threshold(confidence, correct, target, weights=weights)
        assert threshold == choose_threshold(*again, target)
        assert select(confidence, correct, threshold, weights) == pytest.approx(select(*again, threshold))
