"""Recording conditions drawn at random: copies of training speech as other rooms, lines and devices would record it.

A copy of a clip is always the same: its random numbers come from the clip's content and the copy's name. The
distortions are those of `emofocus.audio.degradations`, whose resampling and codecs are soxr's, FFmpeg's, libsndfile's.

========== ==========================================================================================
copy       distortion
========== ==========================================================================================
telephone  8 kHz, one half of them coded: μ-law, GSM or AMR
codec      MP3 at 16 kbit/s, or Opus at 8 or 12 kbit/s
noise      noise between white and pink, 3 to 30 dB below the speech
babble     up to four other clips of the same speaker at other speeds, 5 to 25 dB below
crowd      up to six other clips of the same speaker, backwards and much faster or slower, 3 to 20 dB below
room       reverberation of 0.2 to 1 s
microphone gains by frequency that differ by a few decibels from octave to octave
level      25 dB softer to 8 dB louder, cut off at full scale
varied     a microphone, then noise, babble, a room or neither, then a line or a codec or neither, a level
========== ==========================================================================================
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from emofocus.audio.degradations import (
    Distortion,
    Scene,
    babble,
    chain,
    coded,
    gain,
    microphone,
    noise,
    room,
    telephone,
    through_rate,
)
from emofocus.audio.samples import Waveform

Draw = Callable[[np.random.Generator], Distortion]
"""Random numbers → a distortion."""


def draw_telephone(generator: np.random.Generator) -> Distortion:
    """A line of 8 kHz, with or without a codec."""
    if generator.random() < 0.5:
        return through_rate(8_000)
    return telephone(generator.choice(["ULAW", "GSM610", "AMR"]))


def draw_codec(generator: np.random.Generator) -> Distortion:
    """A codec at few bits."""
    if generator.random() < 0.4:
        return coded("libmp3lame", 16_000, "mp3")
    return coded("libopus", int(generator.choice([8_000, 12_000])), "ogg")


COPIES: dict[str, Draw] = {
    "telephone": draw_telephone,
    "codec": draw_codec,
    "noise": lambda generator: noise(generator.uniform(3.0, 30.0), color=generator.uniform(0.0, 1.0)),
    "babble": lambda generator: babble(generator.uniform(5.0, 25.0), speeds=(0.8, 1.25)),
    "crowd": lambda generator: babble(
        generator.uniform(3.0, 20.0), int(generator.integers(1, 7)), speeds=(0.6, 1.6), backwards=True
    ),
    "room": lambda generator: room(generator.uniform(0.2, 1.0)),
    "microphone": lambda generator: microphone(generator.normal(0.0, 2.5, 8)),
    "level": lambda generator: gain(generator.uniform(-25.0, 8.0)),
}
"""Alterations of copies of training speech: name → random numbers → distortion."""


def draw_varied(generator: np.random.Generator) -> Distortion:
    """A microphone, surroundings, a line and a level, each of which may be missing."""
    parts = [COPIES["microphone"](generator)] if generator.random() < 0.6 else []
    surroundings = generator.choice(["", "noise", "babble", "room"], p=[0.2, 0.35, 0.2, 0.25])
    line = generator.choice(["", "telephone", "codec"], p=[0.35, 0.4, 0.25])
    parts += [COPIES[name](generator) for name in (surroundings, line) if name]
    return chain(*parts, COPIES["level"](generator))


COPIES["varied"] = COPIES["varied again"] = draw_varied


def altered(waveform: Waveform, copy: str, content: str, others: Sequence[Waveform] = ()) -> Waveform:
    """A copy of samples (T,) → (T,), always the same for the same content.

    Args:
        waveform: Samples of the clip.
        copy: Name in `COPIES`.
        content: Text that tells the clip from others.
        others: Other clips of the same speaker, for babble; without any, babble is noise.
    """
    seed = int.from_bytes(hashlib.blake2b(f"{content}/{copy}".encode(), digest_size=8).digest())
    generator = np.random.default_rng(seed)
    return COPIES[copy](generator)(waveform, Scene(generator, others))


class Others(Sequence[Waveform]):
    """Clips of one speaker but one, decoded when they are looked at.

    Args:
        decode: Position of a clip → its samples.
        positions: Positions of the clips.
    """

    def __init__(self, decode: Callable[[int], Waveform], positions: Sequence[int]) -> None:
        self._decode, self._positions = decode, positions

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._positions)

    def __getitem__(self, index: int) -> Waveform:  # type: ignore[override]
        """Samples of one clip."""
        return self._decode(self._positions[index])
