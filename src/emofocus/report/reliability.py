"""Do probabilities mean what they say? For results whose folds were calibrated."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emofocus.statistics import Array, Numbers

BINS = 15
"""Of equal width, as in Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017."""

Truths = NDArray[np.bool_]


class Bins(NamedTuple):
    """Utterances by the probability of what was predicted: each (BINS,).

    Attributes:
        size: Utterances in the bin.
        confidence: Mean probability of the predicted class; 0 in an empty bin.
        accuracy: Share of them that was recognised; 0 in an empty bin.
    """

    size: Numbers
    confidence: Array
    accuracy: Array

    @property
    def error(self) -> float:
        """Expected calibration error: Σ_b |B_b| / U · |accuracy_b − confidence_b| (Guo et al., equation 3)."""
        return float((self.size * np.abs(self.accuracy - self.confidence)).sum() / self.size.sum())


def bins(confidence: Array, correct: Truths) -> Bins:
    """Sort utterances (U,) into the bins ((b − 1) / BINS, b / BINS], b = 1 … BINS."""
    number = np.digitize(confidence, np.arange(1, BINS) / BINS, right=True)
    size = np.bincount(number, minlength=BINS)
    sums = [np.bincount(number, weights=values, minlength=BINS) for values in (confidence, correct.astype(np.float64))]
    return Bins(size, *(total / np.maximum(size, 1) for total in sums))


def uncalibrated(probabilities: Array, temperature: float) -> Array:
    """Probabilities before a temperature divided the logits: p^T, normalised (U, C)."""
    powers = probabilities**temperature
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def calibration(
    entry: dict[str, Any], probabilities: Array, labels: Numbers, correct: Truths
) -> dict[str, float | None]:
    """Those calibration figures of a fold's test part that its entry in `summary.json` states, computed anew."""
    if "temperature" not in entry:
        return {}
    before, confidence = uncalibrated(probabilities, entry["temperature"]), probabilities.max(axis=1)
    answered = confidence >= entry.get("threshold", 0.0)
    found = {
        "ece_before": bins(before.max(axis=1), correct).error,
        "ece": bins(confidence, correct).error,
        "nll_before": _log_loss(before, labels),
        "nll": _log_loss(probabilities, labels),
        "coverage": float(answered.mean()),
        "selective_wa": float(correct[answered].mean()) if answered.any() else None,
    }
    return {name: value for name, value in found.items() if name in entry}


def _log_loss(probabilities: Array, labels: Numbers) -> float:
    true = probabilities[np.arange(len(labels)), labels]
    return -float(np.log(np.maximum(true, np.finfo(np.float64).tiny)).mean())
