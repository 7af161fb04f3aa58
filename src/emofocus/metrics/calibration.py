"""Probabilities that mean what they say, and when not to answer: fitted on a validation part, measured on a test part.

One temperature T divides the logits before the softmax (Guo, Pleiss, Sun and Weinberger, *On Calibration of Modern
Neural Networks*, ICML 2017). T > 0 keeps the order of the classes, so that predictions, WA and UA stay as they are.

Both numbers are fitted to the validation part, which has chosen the epoch too, and has few speakers. They promise
nothing about other speakers, rooms or languages: what they are worth is measured on the test part, and stated there.
"""

from collections.abc import Callable
from math import exp, log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emofocus.segments import energy

BINS = 15
"""Bins of the expected calibration error, as in Guo et al."""

TARGET_ACCURACY = 0.9
"""Share of the answers that ought to be right, on the validation part."""

LEAST_COVERAGE = 0.1
"""Share of the validation part that a threshold answers at least: accuracy on fewer is chance, and of no use."""

THRESHOLDS = tuple(hundredths / 100 for hundredths in range(100))
"""Thresholds to choose from; a finer choice would fit single utterances."""

UNLIKE = 0.05
"""Share of the validation part that counts as unlike the training data."""

TEMPERATURES = (0.05, 20.0)
"""Range in which a temperature is looked for; a part without mistakes would ask for 0."""

Array = NDArray[np.floating[Any]]
Numbers = NDArray[np.integer[Any]]
Truths = NDArray[np.bool_]


class Selection(NamedTuple):
    """Coverage and accuracy of one part at a threshold.

    Attributes:
        coverage: Share of the utterances whose top probability reaches the threshold: those that are answered.
        accuracy: Share of the answered utterances that are recognized; None when none is answered.
    """

    coverage: float
    accuracy: float | None


class Calibration(NamedTuple):
    """Temperature, threshold and least energy, fitted to the validation part.

    Attributes:
        temperature: Divides the logits.
        threshold: Top probability from which on an answer counts.
        energy: Energy of mean logits (`emofocus.segments.energy`) that all utterances of the part but a share of
            `UNLIKE` exceed. None in results of versions that did not measure it.
        valid: Coverage and accuracy of the validation part at the threshold.
    """

    temperature: float
    threshold: float
    energy: float | None
    valid: Selection


class CalibrationFigures(NamedTuple):
    """Figures of one part, before (T = 1) and after division of the logits by the temperature.

    Attributes:
        ece_before: Expected calibration error before.
        ece: Expected calibration error after.
        nll_before: Mean negative log-likelihood before, in nats.
        nll: Mean negative log-likelihood after.
        coverage: Share of the utterances that are answered.
        selective_wa: Accuracy on those; None when there are none.
    """

    ece_before: float
    ece: float
    nll_before: float
    nll: float
    coverage: float
    selective_wa: float | None


Calibrator = Callable[[Array, Numbers], Calibration]
"""Function from a validation part, logits (U, C) and class numbers (U,), to a calibration."""


def calibrate(
    logits: Array, labels: Numbers, temperature: float | None = None, threshold: float | None = None
) -> Calibration:
    """Fit temperature, threshold and least energy to a validation part.

    Args:
        logits: Mean logits of each utterance (U, C).
        labels: True class numbers (U,).
        temperature: Temperature that is kept; None to fit one.
        threshold: Threshold that is kept; None to choose one.
    """
    temperature = fit_temperature(logits, labels) if temperature is None else temperature
    confidence, correct = probabilities(logits, temperature).max(axis=1), logits.argmax(axis=1) == labels
    threshold = choose_threshold(confidence, correct) if threshold is None else threshold
    least = round(float(np.quantile(energy(logits), UNLIKE)), 6)
    return Calibration(temperature, threshold, least, select(confidence, correct, threshold))


def probabilities(logits: Array, temperature: float = 1.0) -> NDArray[np.float64]:
    """softmax(z / T) along the last axis, in float64: however unlikely a class is, its logarithm can be taken back."""
    return np.exp(_log_softmax(logits, temperature))


def uncalibrated(calibrated: Array, temperature: float) -> NDArray[np.float64]:
    """Probabilities of T = 1 out of those of T, without the logits: softmax(z) is softmax(z / T) ** T, normalized.

    Args:
        calibrated: Probabilities (U, C), made with the temperature.
        temperature: T, with which they were made.
    """
    powers = np.asarray(calibrated, np.float64) ** temperature
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float64)


def fit_temperature(logits: Array, labels: Numbers, weights: Array | None = None) -> float:
    """Temperature with the least negative log-likelihood on a part (Guo et al. 2017, section 4.2).

    Minimises −1/U · Σ log softmax(z_u / T)[y_u] over log T by Brent's bounded method. The likelihood is concave in 1/T,
    so that there is one minimum; nothing is random.

    Args:
        logits: Mean logits of each utterance z (U, C).
        labels: True class numbers y (U,).
        weights: How much each utterance counts (U,); all alike by default.

    Returns:
        T within `TEMPERATURES`, rounded to six decimals, so that files hold the very number that is used.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(np.average(_log_softmax(logits, exp(log_temperature))[rows, labels], weights=weights))

    low, high = map(log, TEMPERATURES)
    minimum = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-8})
    return round(exp(minimum.x), 6)


def _log_softmax(logits: Array, temperature: float) -> NDArray[np.float64]:
    scaled = np.asarray(logits, np.float64) / temperature
    shifted = scaled - scaled.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float64)


def negative_log_likelihood(probabilities: Array, labels: Numbers) -> float:
    """Mean of −log p(true class), in nats: probabilities (U, C), class numbers (U,).

    A probability of 0 counts as the smallest normal float64, about 2e-308.
    """
    true = np.asarray(probabilities, np.float64)[np.arange(len(labels)), labels]
    return -float(np.log(np.maximum(true, np.finfo(np.float64).tiny)).mean())


def expected_calibration_error(confidence: Array, correct: Truths, bins: int = BINS) -> float:
    """Expected calibration error: ECE = Σ_b |B_b| / U · |accuracy(B_b) − mean confidence(B_b)|.

    B_b are the utterances whose top probability is in ((b − 1) / bins, b / bins], b = 1 … bins (Naeini, Cooper and
    Hauskrecht, *Obtaining Well Calibrated Probabilities Using Bayesian Binning*, AAAI 2015; Guo et al. 2017, equation
    3). It sums absolute values of noisy differences, so that it is above 0 even if calibration is perfect: about 0.06
    for 300 utterances of eight classes, of which four in ten are recognized.

    Args:
        confidence: Probability of the predicted class (U,), in [0, 1].
        correct: Whether the prediction is right (U,).
        bins: Number of bins of equal width.
    """
    edges = np.arange(1, bins) / bins
    numbers = np.digitize(confidence, edges, right=True)  # edges[i - 1] < confidence <= edges[i]
    gaps = np.bincount(numbers, weights=correct - np.asarray(confidence, np.float64))  # |B| · (accuracy − confidence)
    return float(np.abs(gaps).sum() / len(confidence))


def select(confidence: Array, correct: Truths, threshold: float, weights: Array | None = None) -> Selection:
    """Coverage and selective accuracy at a threshold: confidence (U,), correct (U,), weights of utterances (U,)."""
    answered = np.asarray(confidence >= threshold)
    if not answered.any():
        return Selection(0.0, None)
    if weights is None:
        return Selection(float(answered.mean()), float(correct[answered].mean()))
    right = float(np.average(correct[answered], weights=weights[answered]))
    return Selection(float(np.average(answered, weights=weights)), right)


def choose_threshold(
    confidence: Array,
    correct: Truths,
    target: float = TARGET_ACCURACY,
    least: float = LEAST_COVERAGE,
    weights: Array | None = None,
) -> float:
    """Threshold that answers the most, provided that at least ``target`` of its answers are right.

    Only thresholds that answer at least ``least`` of the part are looked at. Where none of them reaches the
    target, it is the one with the best accuracy (the lowest of equals), which then falls short of it.

    Args:
        confidence: Calibrated probability of the predicted class (U,), on a validation part.
        correct: Whether the prediction is right (U,).
        target: Share of right answers.
        least: Share of the part that is answered at least.
        weights: How much each utterance counts (U,); all alike by default.

    Returns:
        One of `THRESHOLDS`; 0 when answering everything reaches the target.
    """
    selections = [(threshold, select(confidence, correct, threshold, weights)) for threshold in THRESHOLDS]
    useful = [(threshold, made.accuracy or 0.0) for threshold, made in selections if made.coverage >= least]
    reaching = [threshold for threshold, accuracy in useful if accuracy >= target]
    return reaching[0] if reaching else max(useful, key=lambda item: (item[1], -item[0]))[0]


def measure_calibration(
    calibrated: Array, labels: Numbers, correct: Truths, temperature: float, threshold: float
) -> CalibrationFigures:
    """All figures of a part, from what is written of it.

    Args:
        calibrated: Probabilities at ``temperature`` (U, C).
        labels: True class numbers (U,).
        correct: Whether the prediction is right (U,).
        temperature: The one that they were made with.
        threshold: Top probability from which on an answer counts.
    """
    before, confidence = uncalibrated(calibrated, temperature), calibrated.max(axis=1)
    chosen = select(confidence, correct, threshold)
    return CalibrationFigures(
        ece_before=expected_calibration_error(before.max(axis=1), correct),
        ece=expected_calibration_error(confidence, correct),
        nll_before=negative_log_likelihood(before, labels),
        nll=negative_log_likelihood(calibrated, labels),
        coverage=chosen.coverage,
        selective_wa=chosen.accuracy,
    )
