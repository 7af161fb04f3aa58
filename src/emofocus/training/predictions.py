"""Lines of `predictions.csv`, which recompute every figure of a result."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.corpora import Corpus
from emofocus.metrics.calibration import CalibrationFigures, measure_calibration, probabilities
from emofocus.metrics.classification import Metrics, measure
from emofocus.splits.folds import Positions

PredictionRow = dict[str, str]
"""One line."""


def prediction_rows(
    corpus: Corpus, number: int, part: Positions, logits: NDArray[np.float32], temperature: float
) -> list[PredictionRow]:
    """A line for each utterance of a part: positions (P,), logits (P, C), and what divides them."""
    rows = []
    predictions = logits.argmax(axis=1)
    for index, best, scores in zip(part, predictions, probabilities(logits, temperature), strict=True):
        assert scores[best] == scores.max(), "a temperature above 0 keeps the prediction"
        row = {"fold": str(number), **identity(corpus, index), "prediction": corpus.classes[int(best)]}
        # Digits that count, not decimals: what is unlikely is needed to undo the temperature.
        rows.append(row | {f"p_{name}": f"{p:.6g}" for name, p in zip(corpus.classes, scores, strict=True)})
    return rows


def identity(corpus: Corpus, index: int) -> PredictionRow:
    """Columns that say which utterance a line is about."""
    item = corpus.utterances[index]
    times = {} if item.end is None else {"start": f"{item.start or 0:g}", "end": f"{item.end:g}"}
    return {"file": item.file, **times, "speaker": item.speaker, "label": item.emotion}


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lines with the columns of the first one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def measure_rows(rows: Sequence[PredictionRow], classes: Sequence[str]) -> Metrics:
    """Figures of lines of `predictions.csv`."""
    return measure([row["label"] for row in rows], [row["prediction"] for row in rows], classes)


def measure_row_calibration(
    rows: Sequence[PredictionRow], classes: Sequence[str], temperature: float, threshold: float
) -> CalibrationFigures:
    """Calibration of lines of `predictions.csv`, whose probabilities were made with this temperature."""
    scores = np.array([[float(row[f"p_{name}"]) for name in classes] for row in rows])
    labels = np.array([classes.index(row["label"]) for row in rows])
    correct = np.array([row["label"] == row["prediction"] for row in rows])
    return measure_calibration(scores, labels, correct, temperature, threshold)


def recalls(rows: Sequence[PredictionRow], classes: Sequence[str]) -> dict[str, float]:
    """Share of each class' utterances that were recognized."""
    hits: dict[str, list[bool]] = {name: [] for name in classes}
    for row in rows:
        hits[row["label"]].append(row["label"] == row["prediction"])
    return {name: round(float(np.mean(correct)), 4) for name, correct in hits.items() if correct}
