"""emofocus: speech emotion recognition with focus and calibration attention."""

__version__ = "0.1.0"
