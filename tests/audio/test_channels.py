"""Channels become their mean; one of them is used where they cancel each other."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from emofocus import Recognizer, StreamingRecognizer, audio
from emofocus.audio.channels import WINDOW_SECONDS
from emofocus.audio.notices import Notice
from emofocus.cli.main import app
from emofocus.errors import AudioWarning

RATE = audio.SAMPLING_RATE


def noise(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def mono(channels: np.ndarray, block_seconds: float = 30.0) -> tuple[np.ndarray, list[str]]:
    notices: list[Notice] = []
    source = {"array": channels, "sampling_rate": RATE}
    return np.concatenate(list(audio.stream(source, block_seconds, warn=notices.append))), list(map(str, notices))


@settings(max_examples=60, deadline=None)
@given(
    level=st.floats(0.7, 1.4),
    offset=st.sampled_from([0.0, 0.01, 0.5]),
    gain=st.sampled_from([1e-3, 1.0, 10.0]),
    block_seconds=st.floats(0.01, 3.0),
)
def test_an_inverted_channel_is_noticed_at_any_level(
    level: float, offset: float, gain: float, block_seconds: float
) -> None:
    left = gain * noise()
    channels = np.stack([left + offset, -level * left + offset]).astype(np.float32)
    waveform, notices = mono(channels, block_seconds)
    louder = 0 if level <= 1 else 1
    if abs(level - 1) > 0.01:
        np.testing.assert_array_equal(waveform, channels[louder])
    assert len(notices) == 1
    assert notices[0].startswith("inverted: the channels cancel each other; channel ")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (noise(), noise()),
        (noise(), noise(seed=1)),
        (noise(), np.zeros(2 * RATE, np.float32)),
        (np.zeros(2 * RATE, np.float32), np.zeros(2 * RATE, np.float32)),
        (noise(), (noise(seed=1) - noise()) / 2),  # a correlation of -0.7
        (noise(), np.roll(noise(), 8)),
    ],
)
def test_channels_that_do_not_cancel_become_their_mean(left: np.ndarray, right: np.ndarray) -> None:
    channels = np.stack([left, right]).astype(np.float32)
    waveform, notices = mono(channels)
    np.testing.assert_array_equal(waveform, channels.mean(axis=0, dtype=np.float32))
    assert notices == []


@settings(max_examples=20, deadline=None)
@given(block_seconds=st.floats(0.05, 31.0))
def test_the_channel_is_chosen_at_the_same_sample_whatever_the_blocks(block_seconds: float) -> None:
    left = noise(3.3 * WINDOW_SECONDS)
    sign = np.where(np.arange(len(left)) < 1.2 * WINDOW_SECONDS * RATE, 1, -1)
    channels = np.stack([left, sign * left]).astype(np.float32)
    waveform, notices = mono(channels, block_seconds)
    edge = round(2 * WINDOW_SECONDS * RATE)
    np.testing.assert_array_equal(waveform[:edge], channels.mean(axis=0)[:edge])
    np.testing.assert_array_equal(waveform[edge:], left[edge:])
    assert notices == ["inverted: the channels cancel each other; channel 1 alone is used from 20 s on"]


def test_a_file_is_mixed_like_an_array(tmp_path: Path) -> None:
    channels = np.stack([noise(), -0.98 * noise()])
    soundfile.write(tmp_path / "inverted.wav", channels.T, RATE, subtype="FLOAT")
    with pytest.warns(AudioWarning, match=r"inverted\.wav: inverted: .*channel 1 alone is used$"):
        np.testing.assert_array_equal(audio.load(tmp_path / "inverted.wav"), noise())


def test_an_inverted_channel_changes_no_answer_and_is_said(recognizer: Recognizer) -> None:
    inverted = {"array": np.stack([noise(), -0.98 * noise()]), "sampling_rate": RATE}
    answer, plain = recognizer(inverted), recognizer({"array": noise(), "sampling_rate": RATE})
    assert answer.scores == plain.scores
    assert answer.warnings[0] == "inverted: the channels cancel each other; channel 1 alone is used"
    assert answer.warnings[1:] == plain.warnings


def test_a_stream_says_of_an_inverted_channel_what_a_file_says(recognizer: Recognizer) -> None:
    """Streams used one channel in silence."""
    channels = np.stack([noise(), -0.98 * noise()])
    stream, later = StreamingRecognizer(recognizer), StreamingRecognizer(recognizer)
    assert stream.warnings == ()
    for start in range(0, 2 * RATE, 800):
        stream.feed(channels[:, start : start + 800])
    assert stream.warnings == recognizer({"array": channels, "sampling_rate": RATE}).warnings[:1]
    later.feed(noise(3))
    later.feed(channels)
    assert later.copy().warnings == (f"{stream.warnings[0]} from 3 s on",)
    later.reset()
    assert later.warnings == ()


def test_the_command_says_once_that_a_stream_has_an_inverted_channel() -> None:
    samples = (np.stack([noise(4), -noise(4)], axis=1) * 32_767).clip(-32_768, 32_767).astype("<i2")
    done = CliRunner().invoke(app, ["stream", "-", "--channels", "2"], input=samples.tobytes())
    assert done.exit_code == 0
    assert done.stderr == "inverted: the channels cancel each other; channel 1 alone is used\n"


def test_a_stream_of_chunks_with_an_inverted_channel_hears_one(recognizer: Recognizer) -> None:
    left = noise()
    plain, inverted = StreamingRecognizer(recognizer), StreamingRecognizer(recognizer)
    for start in range(0, len(left), 1_600):
        part = left[start : start + 1_600]
        inverted = inverted.copy()
        first, second = plain.feed(part), inverted.feed(np.stack([part, -part]))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one.scores, other.scores)


def test_a_cut_file_is_recognized_with_a_warning(recognizer: Recognizer) -> None:
    content = io.BytesIO()
    soundfile.write(content, noise(), RATE, format="FLAC")
    answer = recognizer(io.BytesIO(content.getvalue()[: len(content.getvalue()) // 2]))
    assert answer.warnings[0].startswith("cut: ")
