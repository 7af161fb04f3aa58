"""A DC offset changes no feature of settings that remove it, in any engine; older settings keep their numbers."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emofocus import Recognizer, StreamingRecognizer
from emofocus.config import FeatureSettings, ModelConfig, load_recipe
from emofocus.errors import ConfigError
from emofocus.features.front_end import FrontEnd
from helpers.untrained import LABELS, saved, untrained

SETTINGS = {
    "mfcc": FeatureSettings(remove_offset=True),
    "log-mel": FeatureSettings(name="log-mel", window=1024, hop=512, mels=64, pitch_bins=56, remove_offset=True),
    "prosody": FeatureSettings(also=("prosody",), deltas=1, remove_offset=True),
}


def voice(seconds: float = 1.5) -> np.ndarray:
    """Noise that swells and fades as syllables do."""
    count = round(seconds * 16_000)
    swell = 0.02 + 0.2 * np.sin(2 * np.pi * 3 * np.arange(count) / 16_000) ** 2
    return (swell * np.random.default_rng(0).standard_normal(count)).astype(np.float32)


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=15, deadline=None)
@given(offset=st.floats(-0.2, 0.2), gain=st.sampled_from([0.03, 0.3, 1.0]))
def test_an_offset_changes_no_frame_inside_the_recording(name: str, offset: float, gain: float) -> None:
    front_end = FrontEnd(SETTINGS[name])
    plain = torch.from_numpy(gain * voice())[None]
    (features, level), (shifted, shifted_level) = front_end(plain), front_end(plain + offset)
    edge = -(-1024 // (2 * SETTINGS[name].hop)) + 5  # frames that reach over the end, and deltas of these
    inside = slice(edge, -edge)
    np.testing.assert_allclose(shifted_level[:, inside], level[:, inside], atol=1e-3)
    difference = (shifted - features)[:, inside].abs()
    assert float(difference.median()) < 1e-3
    assert float(difference.quantile(0.99)) < 0.1  # mels near the floor, where samples are rounded more coarsely


def test_without_the_setting_an_offset_is_heard() -> None:
    front_end = FrontEnd(msgspec.structs.replace(SETTINGS["log-mel"], remove_offset=msgspec.UNSET))
    plain = torch.from_numpy(voice())[None]
    assert float((front_end(plain + 0.01)[0] - front_end(plain)[0]).abs().max()) > 1


def test_settings_from_before_keep_their_bytes_and_their_numbers() -> None:
    old = FeatureSettings()
    assert b"remove_offset" not in msgspec.json.encode(old)
    assert b"remove_offset" in msgspec.json.encode(SETTINGS["mfcc"])
    plain = torch.from_numpy(voice())[None]
    off = FrontEnd(FeatureSettings(remove_offset=False))
    assert torch.equal(FrontEnd(old)(plain)[0], off(plain)[0])


@pytest.mark.parametrize("name", ["waveform", "whisper"])
def test_features_of_the_waveform_refuse_the_setting(name: str) -> None:
    with pytest.raises(ConfigError, match="remove_offset"):
        FrontEnd(FeatureSettings(name=name, remove_offset=True))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory whose features remove offsets; the export compares torch and ONNX."""
    config = ModelConfig.of("compact-faca", LABELS, features=SETTINGS["log-mel"])
    return saved(tmp_path_factory.mktemp("model"), untrained(config), config)


def test_engines_agree_on_a_recording_with_an_offset(model: Path) -> None:
    recognizer = Recognizer.from_pretrained(model)
    samples = voice(12.0) + np.float32(0.05)  # longer than a block
    whole = recognizer({"array": samples, "sampling_rate": 16_000}).timeline
    stream = StreamingRecognizer(recognizer)
    events = [event for start in range(0, len(samples), 1_111) for event in stream.feed(samples[start : start + 1_111])]
    events += stream.finish()
    np.testing.assert_allclose([event.scores for event in events], whole.probabilities, atol=1e-5)
    plain = recognizer({"array": voice(12.0), "sampling_rate": 16_000}).timeline
    np.testing.assert_allclose(whole.probabilities[2:-2], plain.probabilities[2:-2], atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (SETTINGS["mfcc"], "40 MFCCs (DC offset removed)"),
        (FeatureSettings(name="log-mel", mels=64, pitch_bins=56), "64 log-mel bands and a pitchgram (DC offset kept)"),
        (FeatureSettings(also=("chroma", "mel"), remove_offset=False), "40 MFCCs, chroma and mel (DC offset kept)"),
        (FeatureSettings(name="waveform"), "the waveform"),
        (FeatureSettings(name="whisper"), "frames of a pretrained encoder (whisper)"),
    ],
)
def test_features_in_words_say_whether_they_keep_an_offset(settings: FeatureSettings, words: str) -> None:
    assert settings.description == words


def test_the_recipe_of_the_shipped_model_removes_offsets() -> None:
    assert load_recipe("emofocus")[1].features.remove_offset is True
