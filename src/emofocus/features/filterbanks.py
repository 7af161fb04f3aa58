"""Tables of weights that turn spectra into features, with librosa's numbers; numpy only."""

import math

import numpy as np
from numpy.typing import NDArray


def mel_filters(sampling_rate: int, window: int, mels: int) -> NDArray[np.float64]:
    """Triangles on Slaney's mel scale with equal area (librosa's default), shape (window // 2 + 1, mels)."""
    edges = _mel_to_hertz(np.linspace(0.0, _hertz_to_mel(sampling_rate / 2), mels + 2))
    bins = np.fft.rfftfreq(window, 1.0 / sampling_rate)
    rising = (bins[:, None] - edges[None, :-2]) / np.diff(edges)[:-1]
    falling = (edges[None, 2:] - bins[:, None]) / np.diff(edges)[1:]
    area = 2.0 / (edges[2:] - edges[:-2])
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling)) * area
    return filters


def hann(size: int) -> NDArray[np.float64]:
    """Periodic Hann window (N,)."""
    cosines: NDArray[np.float64] = np.cos(2 * np.pi * np.arange(size) / size)
    return 0.5 - 0.5 * cosines


def dct_matrix(size: int, coefficients: int) -> NDArray[np.float64]:
    """Orthonormal DCT-II, shape (size, coefficients)."""
    angles = np.pi * np.outer(np.arange(size) + 0.5, np.arange(coefficients)) / size
    matrix: NDArray[np.float64] = np.cos(angles) * math.sqrt(2.0 / size)
    matrix[:, 0] /= math.sqrt(2.0)
    return matrix


# Slaney's scale: linear to 1 kHz (200/3 Hz a mel), then 27 mels for each factor of 6.4.
_LINEAR_HERTZ, _KNEE_HERTZ, _LOG_STEP = 200.0 / 3.0, 1000.0, math.log(6.4) / 27.0


def _hertz_to_mel(hertz: float) -> float:
    if hertz < _KNEE_HERTZ:
        return hertz / _LINEAR_HERTZ
    return _KNEE_HERTZ / _LINEAR_HERTZ + math.log(hertz / _KNEE_HERTZ) / _LOG_STEP


def _mel_to_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _KNEE_HERTZ / _LINEAR_HERTZ
    above = _KNEE_HERTZ * np.exp(_LOG_STEP * (np.maximum(mels, knee) - knee))
    return np.where(mels < knee, mels * _LINEAR_HERTZ, above)


def chroma_filters(sampling_rate: int, window: int) -> NDArray[np.float64]:
    """Bells around the twelve pitch classes, C first, tuned to A440, shape (window // 2 + 1, 12).

    Numbers of `librosa.filters.chroma(tuning=0)`: a bin's weights have unit norm, then octaves far from the fifth fade.
    """
    hertz = np.fft.rfftfreq(window, 1.0 / sampling_rate)
    semitones = np.empty(len(hertz))  # above A0 (27.5 Hz)
    semitones[1:] = 12.0 * np.log2(hertz[1:] / 27.5)
    semitones[0] = semitones[1] - 18.0
    widths = np.maximum(np.diff(semitones, append=semitones[-1]), 1.0)
    distance = np.remainder(semitones[:, None] - np.arange(12) + 6.0, 12.0) - 6.0
    bells = np.exp(-0.5 * (2.0 * distance / widths[:, None]) ** 2)
    bells /= np.linalg.norm(bells, axis=1, keepdims=True)
    bells *= np.exp(-0.5 * ((semitones / 12.0 - 5.0) / 2.0) ** 2)[:, None]
    rolled: NDArray[np.float64] = np.roll(bells, -3, axis=1)  # from A to C
    return rolled


def tonnetz_matrix() -> NDArray[np.float64]:
    """Chroma → fifths, minor and major thirds as points on circles, shape (12, 6) (`librosa.feature.tonnetz`)."""
    angles = np.outer(np.arange(12), [7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3])
    angles[:, ::2] -= 0.5  # a sine is a cosine of a quarter turn before
    return np.asarray(np.cos(np.pi * angles) * [1.0, 1.0, 1.0, 1.0, 0.5, 0.5])
