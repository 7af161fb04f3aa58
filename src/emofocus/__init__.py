"""emofocus: speech emotion recognition with focus and calibration attention.

The package in the order data flows: audio → features → corpora → splits → datasets → models → training →
evaluation → export → engine → recognizer. What is needed to recognize is importable from here, without torch.
"""

from typing import TYPE_CHECKING, Any

from emofocus.version import __version__

__all__ = ["EmofocusError", "Prediction", "Recognizer", "StreamingRecognizer", "__version__"]

if TYPE_CHECKING:
    from emofocus.errors import EmofocusError
    from emofocus.recognition.prediction import Prediction
    from emofocus.recognition.recognizer import Recognizer
    from emofocus.recognition.streaming import StreamingRecognizer

_HOMES = {
    "EmofocusError": "errors",
    "Prediction": "recognition.prediction",
    "Recognizer": "recognition.recognizer",
    "StreamingRecognizer": "recognition.streaming",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import emofocus`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'emofocus' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"emofocus.{_HOMES[name]}"), name)
