"""Descriptors of a frame have librosa's numbers, and prosody hears what was put in."""

import warnings

import librosa
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from emofocus import audio
from emofocus.config import FeatureSettings
from emofocus.errors import ConfigError
from emofocus.features.descriptors import DESCRIPTORS, Prosody
from emofocus.features.front_end import FrontEnd
from emofocus.features.stft import SquaredSpectrum
from helpers.properties import cases

SETTINGS = FeatureSettings(window=2048, hop=512)


def described(name: str, waveform: np.ndarray) -> np.ndarray:
    squares = SquaredSpectrum(SETTINGS.window, SETTINGS.hop)(torch.from_numpy(waveform)[None])
    return DESCRIPTORS[name](SETTINGS)(squares)[0].numpy()


def by_librosa(name: str, waveform: np.ndarray) -> np.ndarray:
    shape = {"sr": 16_000, "n_fft": 2048, "hop_length": 512, "center": True, "pad_mode": "constant"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of frames without sound
        chroma = librosa.feature.chroma_stft(y=waveform, tuning=0, **shape)
        found = {
            "chroma": lambda: chroma,
            "mel": lambda: librosa.feature.melspectrogram(y=waveform, n_mels=128, **shape),
            "contrast": lambda: librosa.feature.spectral_contrast(y=waveform, **shape),
            "tonnetz": lambda: librosa.feature.tonnetz(chroma=chroma),
        }
        return found[name]().T


def tolerance(name: str, expected: np.ndarray) -> np.ndarray | float:
    """Difference that is allowed: a valley far below its peak has few digits left in float32."""
    return np.maximum(2e-3, 5e-5 * 10 ** (expected / 20)) if name == "contrast" else 2e-3


@pytest.mark.parametrize("name", DESCRIPTORS)
@given(st.integers(2048, 20_000), st.integers(0, 2**32 - 1))
@example(19_424, 19_762)  # a contrast of 50 dB, which misses librosa's by 0.009
@cases(10, 200)
def test_descriptors_equal_librosa(name: str, samples: int, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)
    expected = by_librosa(name, noise)
    assert (np.abs(described(name, noise) - expected) <= tolerance(name, expected)).all()


@pytest.mark.parametrize("name", ["chroma", "mel", "tonnetz"])
def test_descriptors_equal_librosa_on_speech(name: str, speech) -> None:
    waveform = audio.load(speech)
    np.testing.assert_allclose(described(name, waveform), by_librosa(name, waveform), atol=2e-3)


def harmonics(hertz: float, noise: float, seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    """A voice-like buzz of ten harmonics and noise, whose power is that share of the buzz' power."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 10)
    buzz = sum(np.sin(2 * np.pi * k * hertz * time + phases[k - 1]) / k for k in range(1, 11))
    hiss = np.random.default_rng(seed + 1).normal(size=len(time))
    return (0.1 * (buzz + np.sqrt(noise) * buzz.std() * hiss)).astype(np.float32)


def prosody(waveform: np.ndarray) -> np.ndarray:
    return Prosody(FeatureSettings())(torch.from_numpy(waveform)[None])[0].numpy()


@given(st.floats(70, 450), st.integers(0, 1000))
@example(124.0, 0)  # was heard an octave too low
@cases(30, 300)
def test_pitch_of_a_buzz_is_found_within_a_quarter_of_a_semitone(hertz: float, seed: int) -> None:
    inner = prosody(harmonics(hertz, noise=0.01, seed=seed))[5:-5]
    semitones = 12 * (inner[:, 4] - np.log2(hertz / 100))
    assert np.abs(semitones).max() < 0.25
    assert inner[:, 2].min() > 0.9


@pytest.mark.parametrize("noise", [0.03, 0.1, 0.3, 1.0])
def test_harmonics_to_noise_ratio_is_what_was_mixed(noise: float) -> None:
    """Noise correlates a little by chance, so that weak voices look a little better than they are."""
    inner = prosody(harmonics(150, noise, seconds=4.0))[5:-5]
    assert np.median(inner[:, 3]) == pytest.approx(-10 * np.log10(noise), abs=1.5)


def test_level_and_sign_changes_of_a_tone() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)).astype(np.float32)
    inner = prosody(tone)[5:-5]
    np.testing.assert_allclose(inner[:, 0], 10 * np.log10(0.125), atol=0.01)
    np.testing.assert_allclose(inner[:, 1], 2 * 1000 / 16_000, atol=2e-3)


def test_noise_is_hardly_voiced_and_silence_not_at_all() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    assert np.median(prosody(noise)[:, 2]) < 0.4
    silence = prosody(np.zeros(16_000, np.float32))
    assert (silence[:, 2] == 0).all()
    assert np.isfinite(silence).all()


def test_the_front_end_joins_all_in_their_order_and_padding_changes_nothing() -> None:
    chosen = FeatureSettings(
        name="log-mel", mels=20, deltas=2, also=("chroma", "mel", "contrast", "tonnetz", "prosody"), pitch_bins=16
    )
    front_end = FrontEnd(chosen)
    waveform = torch.randn(1, 8_000, generator=torch.Generator().manual_seed(0)) * 0.1
    alone, level = front_end(waveform)
    assert front_end.size == (20 + 12 + 20 + 7 + 6 + 5) * 3 + 16
    assert alone.shape == (1, 1 + 8_000 // 160, front_end.size)
    torch.testing.assert_close(alone[..., 65], level, atol=8.0, rtol=0)  # prosody's level, from a longer window
    padded, _ = front_end(torch.nn.functional.pad(waveform, (0, 5_000)), torch.tensor([8_000]))
    torch.testing.assert_close(padded[:, : alone.shape[1]], alone, atol=1e-3, rtol=0)


def test_samples_are_the_waveform_cut_into_hops() -> None:
    waveform = torch.randn(2, 1_000)
    frames, level = FrontEnd(FeatureSettings(name="waveform"))(waveform)
    assert frames.shape == (2, 1 + 1_000 // 160, 160)
    torch.testing.assert_close(frames.flatten(1)[:, :1_000], waveform)
    torch.testing.assert_close(level[0, 2], 10 * waveform[0, 320:480].square().mean().log10())


def test_samples_take_no_descriptors() -> None:
    with pytest.raises(ConfigError, match="waveform"):
        FrontEnd(FeatureSettings(name="waveform", also=("chroma",)))
