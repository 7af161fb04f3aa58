"""Copies of training speech under other recording conditions."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofocus.audio.conditions import COPIES, Others, altered
from emofocus.audio.degradations import Scene, coded, microphone, telephone
from emofocus.audio.samples import Waveform
from emofocus.config import CopyName


def voice(seconds: float, pitch: float = 140.0) -> Waveform:
    """A buzz with a changing loudness."""
    times = np.arange(int(seconds * 16_000)) / 16_000
    buzz = sum(np.sin(2 * np.pi * pitch * number * times) / number for number in range(1, 25))
    return np.asarray(0.1 * buzz * (1.2 + np.sin(2 * np.pi * 3 * times)), np.float32)


def test_the_recipe_knows_every_copy() -> None:
    assert set(get_args(CopyName)) == set(COPIES)


@settings(deadline=None, max_examples=40)  # codecs take their time
@given(name=st.sampled_from(sorted(COPIES)), content=st.text(max_size=8), seconds=st.floats(0.1, 3.0))
def test_a_copy_is_as_long_as_the_clip_and_always_the_same(name: str, content: str, seconds: float) -> None:
    clip, others = voice(seconds), [voice(1.0, 200.0), voice(2.0, 90.0)]
    copy = altered(clip, name, content, others)
    assert copy.shape == clip.shape
    assert copy.dtype == np.float32
    assert np.isfinite(copy).all()
    assert np.array_equal(copy, altered(clip, name, content, others))


@pytest.mark.parametrize(("codec", "bits", "container"), [("libmp3lame", 16_000, "mp3"), ("libopus", 8_000, "ogg")])
@pytest.mark.parametrize("length", [2_914, 3_501, 5_330, 8_848, 33_409])
def test_a_codec_that_ends_early_or_late_gives_as_many_samples_as_the_clip_has(
    codec: str, bits: int, container: str, length: int
) -> None:
    """MP3 gave 46 samples too many of 33,409; Opus 8 too few of 8,848."""
    clip = voice(3.0)[:length]
    assert coded(codec, bits, container)(clip, Scene(np.random.default_rng(0), ())).shape == clip.shape


def test_copies_of_other_clips_are_drawn_anew() -> None:
    clip = voice(1.0)
    for name in COPIES:
        copies = {altered(clip, name, str(content)).tobytes() for content in range(12)}
        assert len(copies) >= 2, name


def test_babble_is_made_of_the_speakers_other_clips_alone() -> None:
    decoded: list[int] = []
    clips = [voice(1.0, pitch) for pitch in (90, 110, 130, 150, 170, 190)]

    def decode(position: int) -> Waveform:
        decoded.append(position)
        return clips[position]

    copy = altered(clips[0], "babble", "a", Others(decode, [1, 2, 4]))
    assert sorted(decoded) == [1, 2, 4]
    assert not np.array_equal(copy, clips[0])


@pytest.mark.parametrize("codec", ["ULAW", "GSM610", "AMR"])
def test_a_telephone_line_keeps_speech_below_4_khz_and_its_loudness(codec: str) -> None:
    clip = voice(2.0)
    heard = telephone(codec)(clip, Scene(np.random.default_rng(0), ()))
    power = np.abs(np.fft.rfft(heard)) ** 2
    edge = len(power) // 2
    assert power[int(1.05 * edge) :].sum() < 1e-3 * power[:edge].sum()
    assert abs(10 * np.log10(np.square(heard).mean() / np.square(clip).mean())) < 3


def test_a_flat_microphone_changes_nothing() -> None:
    clip = voice(1.0)
    assert np.allclose(microphone(np.zeros(8))(clip, Scene(np.random.default_rng(0), ())), clip, atol=1e-5)
