"""Predictions and timelines as tables of pandas or polars, whichever is installed."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.errors import ConfigError, MissingExtraError, one_of
from emofocus.recognition.prediction import Prediction, Predictions, Timeline

LIBRARIES = ("pandas", "polars")
"""Libraries that make tables, in the order in which they are looked for."""

PLACES = len(str(SAMPLING_RATE)) - 2
"""Decimals of a time: a millisecond is sixteen samples, and less means nothing."""


def timeline_frame(timeline: Timeline, library: str | None = None) -> Any:
    """A table with a row for each segment; arguments and errors are those of `Timeline.to_frame`."""
    labels = timeline.labels
    columns: dict[str, Any] = {
        "start": timeline.starts.round(PLACES),
        "end": timeline.ends.round(PLACES),
        "label": [labels[number] for number in timeline.probabilities.argmax(axis=1)],
        "speech": timeline.speech,
    }
    columns |= {f"p_{label}": timeline.probabilities[:, number] for number, label in enumerate(labels)}
    return frame(columns, library)


def predictions_frame(predictions: Predictions[Any], library: str | None = None) -> Any:
    """A table with a row for each clip; arguments and errors are those of `Predictions.to_frame`."""
    given = [item if isinstance(item, Prediction) else None for item in predictions]
    labels = dict.fromkeys(label for item in given if item is not None for label in item.scores)
    columns: dict[str, Sequence[Any]] = {
        "file": list(predictions.names),
        "label": [item and item.label for item in given],
        "probability": [item and item.probability for item in given],
        "confident": [item and item.confident for item in given],
        "duration": [item and item.duration for item in given],
    }
    columns |= {f"p_{label}": [item and item.scores.get(label) for item in given] for label in labels}
    columns["warnings"] = [item and "; ".join(item.warnings) for item in given]
    columns["error"] = [
        None if item is not None else str(other) for item, other in zip(given, predictions, strict=True)
    ]
    return frame(columns, library)


def frame(columns: dict[str, Any], library: str | None) -> Any:
    """A table of columns by name.

    Raises:
        ConfigError: The library's name is not in `LIBRARIES`.
        MissingExtraError: The library is not installed, or none is.
    """
    if library is None:
        library = next((name for name in LIBRARIES if find_spec(name)), LIBRARIES[-1])
    if library not in LIBRARIES:
        raise ConfigError(f"unknown library {library!r} ({one_of(LIBRARIES)})")
    try:
        return import_module(library).DataFrame(columns)
    except ImportError as error:
        raise MissingExtraError(library, "notebook") from error
