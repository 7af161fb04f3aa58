"""emofocus: speech emotion recognition with focus and calibration attention.

Recognition needs no torch and starts from here: `Recognizer` for files and arrays, `StreamingRecognizer` for live
speech. ``import emofocus`` imports nothing else; each name below is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from emofocus.version import __version__

if TYPE_CHECKING:
    from emofocus.errors import (
        AudioError,
        AudioWarning,
        ConfigError,
        CorpusError,
        DownloadError,
        EmofocusError,
        LateTurnError,
        MissingExtraError,
        ModelError,
        ShortAudioError,
        SilentAudioError,
        SplitError,
    )
    from emofocus.recognition.explanation.explanation import Explanation
    from emofocus.recognition.prediction import Prediction, Predictions, Segment, Timeline
    from emofocus.recognition.recognizer import Recognizer
    from emofocus.recognition.smoothing import Smoothing
    from emofocus.recognition.streaming import Event, StreamingRecognizer
    from emofocus.recognition.turns.turn import Turn, TurnEmotion

__all__ = [
    "AudioError",
    "AudioWarning",
    "ConfigError",
    "CorpusError",
    "DownloadError",
    "EmofocusError",
    "Event",
    "Explanation",
    "LateTurnError",
    "MissingExtraError",
    "ModelError",
    "Prediction",
    "Predictions",
    "Recognizer",
    "Segment",
    "ShortAudioError",
    "SilentAudioError",
    "Smoothing",
    "SplitError",
    "StreamingRecognizer",
    "Timeline",
    "Turn",
    "TurnEmotion",
    "__version__",
]

_MODULES = {
    "errors": (
        "AudioError",
        "AudioWarning",
        "ConfigError",
        "CorpusError",
        "DownloadError",
        "EmofocusError",
        "LateTurnError",
        "MissingExtraError",
        "ModelError",
        "ShortAudioError",
        "SilentAudioError",
        "SplitError",
    ),
    "recognition.explanation.explanation": ("Explanation",),
    "recognition.prediction": ("Prediction", "Predictions", "Segment", "Timeline"),
    "recognition.recognizer": ("Recognizer",),
    "recognition.smoothing": ("Smoothing",),
    "recognition.streaming": ("Event", "StreamingRecognizer"),
    "recognition.turns.turn": ("Turn", "TurnEmotion"),
}
"""Module → names that it lends to this package."""

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used.

    Raises:
        AttributeError: The package has no such name.
    """
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'emofocus' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"emofocus.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # the next use finds it without this function
    return value


def __dir__() -> list[str]:
    """All names, whether they are imported yet or not."""
    return sorted({*globals(), *__all__})
