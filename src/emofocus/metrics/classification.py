"""Weighted and unweighted accuracy and macro-F1 of predicted classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Metrics(NamedTuple):
    """Shares in [0, 1] over the utterances of one part.

    Attributes:
        wa: Weighted accuracy: plain accuracy.
        ua: Unweighted accuracy: mean of the classes' recalls (balanced accuracy).
        macro_f1: Mean of the classes' F1 scores.
    """

    wa: float
    ua: float
    macro_f1: float


def measure(labels: Sequence[str], predictions: Sequence[str], classes: Sequence[str]) -> Metrics:
    """WA, UA and macro-F1 of one part; classes that have no utterance in it do not count."""
    from sklearn.metrics import f1_score, recall_score

    present = [name for name in classes if name in set(labels)]
    shared = {"labels": present, "average": "macro", "zero_division": 0}
    correct = np.mean(np.asarray(labels) == np.asarray(predictions))
    return Metrics(
        wa=float(correct),
        ua=float(recall_score(labels, predictions, **shared)),
        macro_f1=float(f1_score(labels, predictions, **shared)),
    )
