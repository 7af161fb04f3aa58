"""Six seconds of the examples, whatever they are at present."""

import numpy as np

from emofocus import audio
from helpers.paths import EXAMPLES

SECONDS = 5.9


def talk(seconds: float = SECONDS, seed: int = 0) -> np.ndarray:
    """The examples, one after the other, cut or repeated to a length (T,), 16 kHz; another seed begins elsewhere."""
    clips = np.concatenate([audio.load(path) for path in sorted(EXAMPLES.glob("*.wav"))])
    return np.resize(np.roll(clips, -30_000 * seed), round(seconds * audio.SAMPLING_RATE))
