"""Features have librosa's numbers, in any shape, with gradients."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from emofocus import audio
from emofocus.config import FeatureSettings
from emofocus.errors import ConfigError
from emofocus.features.filterbanks import hann
from emofocus.features.front_end import MFCC, Deltas, FrontEnd, LogMel
from emofocus.features.pitch import BINS_AN_OCTAVE, LOWEST
from emofocus.features.stft import SquaredSpectrum, two_step_bins, two_step_power, two_step_rows
from helpers.properties import cases

SETTINGS = FeatureSettings()


def librosa_log_mel(waveform: np.ndarray) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=16_000,
        n_fft=400,
        hop_length=160,
        n_mels=128,
        window="hann",
        center=True,
        pad_mode="constant",
    )
    return librosa.power_to_db(power, top_db=None)


def librosa_mfcc(waveform: np.ndarray) -> np.ndarray:
    return librosa.feature.mfcc(S=librosa_log_mel(waveform), n_mfcc=40).T


def mfcc(waveform: np.ndarray) -> np.ndarray:
    return MFCC(SETTINGS)(torch.from_numpy(waveform)[None])[0].numpy()


def tone(hertz: float, samples: int, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(samples) / 16_000)).astype(np.float32)


@pytest.mark.parametrize("samples", [400, 401, 559, 560, 1_600, 8_000, 16_003, 50_000])
def test_mfcc_equals_librosa_for_any_length(samples: int) -> None:
    noise = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    assert mfcc(noise).shape == (1 + samples // 160, 40)
    np.testing.assert_allclose(mfcc(noise), librosa_mfcc(noise), atol=1e-3)


@pytest.mark.parametrize("hertz", [60, 200, 1_000, 3_000, 7_900])
def test_mfcc_equals_librosa_on_tones_whose_other_bins_are_120_db_below(hertz: float) -> None:
    np.testing.assert_allclose(mfcc(tone(hertz, 16_000)), librosa_mfcc(tone(hertz, 16_000)), atol=1e-3)


@given(st.integers(400, 20_000), st.floats(-80, 0), st.integers(0, 2**32 - 1))
@cases(20)
def test_mfcc_equals_librosa_at_any_level(samples: int, level: float, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 10 ** (level / 20), samples).astype(np.float32)
    np.testing.assert_allclose(mfcc(noise), librosa_mfcc(noise), atol=1e-3)


def test_mfcc_equals_librosa_on_speech(speech) -> None:
    waveform = audio.load(speech)
    np.testing.assert_allclose(mfcc(waveform), librosa_mfcc(waveform), atol=1e-3)


@pytest.mark.parametrize("pattern", ["ravdess/Actor_*/*.flac", "emodb/wav/*"])
def test_mfcc_equals_librosa_on_clean_studio_speech(data, pattern: str) -> None:
    for file in sorted(data.glob(pattern))[::30]:
        waveform = audio.load(file)
        np.testing.assert_allclose(mfcc(waveform), librosa_mfcc(waveform), atol=1e-3, err_msg=str(file))


def tones(generator: np.random.Generator) -> np.ndarray:
    """One to four of any frequency and of levels 80 dB apart."""
    rows = [
        tone(generator.uniform(20, 7_990), 16_000, 10 ** generator.uniform(-4, 0))
        for _ in range(generator.integers(1, 5))
    ]
    return np.sum(rows, axis=0)


def filtered_noise(generator: np.random.Generator) -> np.ndarray:
    """Noise whose quiet side is up to 150 dB below its loud side."""
    slope, edge, side = generator.integers(2, 10), generator.uniform(200, 6_000), generator.choice(["low", "high"])
    return signal.sosfilt(signal.butter(slope, edge, side, fs=16_000, output="sos"), generator.normal(size=16_000))


WIDE = {
    "tones": tones,
    "tones over faint noise": lambda g: tones(g) + 10 ** g.uniform(-8, -2) * g.normal(size=16_000),
    "clipped tones": lambda g: np.clip(4 * tones(g), -0.5, 0.5),
    "tones in 16 bits": lambda g: np.round(32_767 * tones(g)) / 32_768,
    "filtered noise": filtered_noise,
    "clicks": lambda g: np.where(g.random(16_000) < 2e-3, g.normal(size=16_000), 1e-6 * g.normal(size=16_000)),
    "bursts in silence": lambda g: np.where(tone(2, 16_000) > 0, g.normal(size=16_000), 0.0),
    "silence": lambda g: np.zeros(16_000),
    "faint noise over direct current": lambda g: 1.0 + 10 ** g.uniform(-7, -2) * g.normal(size=16_000),
}
"""Sounds whose frames reach further down from their loudest bin than a float32 transform does."""


@pytest.mark.parametrize("name", WIDE)
@given(st.integers(0, 2**32 - 1))
@cases(15, 200)
def test_mfcc_and_log_mel_equal_librosa_on_frames_of_wide_range(name: str, seed: int) -> None:
    waveform = WIDE[name](np.random.default_rng(seed)).astype(np.float32)
    np.testing.assert_allclose(mfcc(waveform), librosa_mfcc(waveform), atol=1e-3)
    log_mel = LogMel(SETTINGS)(torch.from_numpy(waveform)[None])[0].numpy()
    np.testing.assert_allclose(log_mel, librosa_log_mel(waveform).T, atol=1e-3)


def test_log_mel_equals_librosa() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)
    found = LogMel(SETTINGS)(torch.from_numpy(noise)[None])[0].numpy()
    np.testing.assert_allclose(found, librosa_log_mel(noise).T, atol=1e-3)


def mixed_batch() -> torch.Tensor:
    """A tone, of which every frame is transformed twice, noise, of which none is, and both in turn: (3, 16 000)."""
    noise = torch.randn(16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    sine = torch.from_numpy(tone(1_000, 16_000))
    return torch.stack([sine, noise, torch.where(torch.arange(16_000) < 8_000, sine, noise)])


@pytest.mark.parametrize("module", [MFCC, LogMel])
def test_only_frames_of_wide_range_are_transformed_twice(module: type[LogMel], monkeypatch) -> None:
    features, transformed = module(SETTINGS), []
    transform = features.spectrum.transform
    monkeypatch.setattr(features.spectrum, "transform", lambda x: transformed.append((x.dtype, len(x))) or transform(x))
    sine, noise, both = mixed_batch().split(1)
    for waveform, expected in ((sine, 101), (noise, 0), (both, 50)):
        transformed.clear()
        features(waveform)
        assert transformed[0] == (torch.float32, 101)
        assert sum(count for dtype, count in transformed if dtype == torch.float64) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize("name", ["mfcc", "log-mel"])
def test_a_batch_equals_its_rows_alone(name: str) -> None:
    front_end, batch = FrontEnd(FeatureSettings(name=name)), mixed_batch()
    together = front_end(batch)
    for row in range(len(batch)):
        for found, alone in zip(together, front_end(batch[row : row + 1]), strict=True):
            torch.testing.assert_close(found[row : row + 1], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["mfcc", "log-mel"])
def test_gradients_equal_those_of_float64(name: str) -> None:
    front_end = FrontEnd(FeatureSettings(name=name))
    gradients = []
    for dtype in (torch.float32, torch.float64):
        waveform = mixed_batch().to(dtype).requires_grad_()
        features, level = front_end(waveform)
        (features.sin().sum() + level.sum()).backward()
        gradients.append(waveform.grad.double())
    for found, expected in zip(*gradients, strict=True):
        assert float((found - expected).norm() / expected.norm()) < 1e-3


@pytest.mark.parametrize("order", [1, 2])
def test_deltas_equal_librosa(order: int) -> None:
    features = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    found = Deltas(order)(torch.from_numpy(features)[None])[0].numpy()
    for k in range(1, order + 1):
        expected = librosa.feature.delta(features.T, order=k, mode="nearest").T
        np.testing.assert_allclose(found[:, 5 * k : 5 * (k + 1)], expected, atol=1e-5)


@pytest.mark.parametrize("settings", [SETTINGS, FeatureSettings(name="log-mel"), FeatureSettings(deltas=2)])
def test_padding_a_batch_changes_no_frame(settings: FeatureSettings) -> None:
    front_end = FrontEnd(settings)
    short = torch.randn(1, 4_000)
    batch = torch.zeros(2, 9_000)
    batch[0, :4_000], batch[1] = short, torch.randn(9_000)
    alone, level = front_end(short, torch.tensor([4_000]))
    padded, padded_level = front_end(batch, torch.tensor([4_000, 9_000]))
    assert alone.shape == (1, 26, front_end.size)
    torch.testing.assert_close(padded[:1, :26], alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(padded_level[:1, :26], level, atol=1e-4, rtol=0)


def test_level_of_a_full_scale_sine_is_three_db_below_full_scale() -> None:
    _, level = FrontEnd(SETTINGS)(torch.from_numpy(tone(1_000, 16_000, level=1.0))[None])
    torch.testing.assert_close(level[0, 5:-5], torch.full((91,), -3.01), atol=0.01, rtol=0)


def test_mfcc_is_differentiable_to_the_samples() -> None:
    waveform = torch.randn(1, 1_600, requires_grad=True)
    MFCC(SETTINGS)(waveform).square().sum().backward()
    assert waveform.grad is not None
    assert bool(torch.isfinite(waveform.grad).all())
    assert bool((waveform.grad != 0).any())


def test_parseval_holds_for_the_power() -> None:
    spectrum, waveform = SquaredSpectrum(), torch.randn(1, 1_600)
    frame = waveform[0, 600:1_000] * spectrum.window  # the frame centred at sample 800
    expected = float(frame.square().sum() / spectrum.window.square().sum())
    assert float(spectrum.power(spectrum(waveform))[0, 5]) == pytest.approx(expected, rel=1e-5)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="200 coefficients cannot be made of 128 mels"):
        MFCC(FeatureSettings(coefficients=200))
    with pytest.raises(ConfigError, match="multiple of 4"):
        SquaredSpectrum(window=401)
    with pytest.raises(ConfigError, match="order 3"):
        Deltas(3)


PITCHED = FeatureSettings(name="log-mel", window=1024, hop=512, mels=64, pitch_bins=56)


def pitchgram(waveform: np.ndarray) -> np.ndarray:
    """(n, 56)."""
    return FrontEnd(PITCHED)(torch.from_numpy(waveform)[None])[0][0, :, 64:].numpy()


def voice(hertz: float, seconds: float = 1.0) -> np.ndarray:
    """Ten harmonics of equal loudness."""
    times = np.arange(round(16_000 * seconds)) / 16_000
    return (0.05 * sum(np.sin(2 * np.pi * hertz * k * times) for k in range(1, 11))).astype(np.float32)


@pytest.mark.parametrize("hertz", [85, 120, 180, 250, 400])
def test_a_pitchgram_peaks_at_a_voices_pitch_or_octaves_below_it(hertz: float) -> None:
    frame = pitchgram(voice(hertz))[15]
    own = round(BINS_AN_OCTAVE * np.log2(hertz / LOWEST))
    assert frame[own - 1 : own + 2].max() == pytest.approx(frame.max(), abs=0.2)
    assert frame[own - 1 : own + 2].max() > 0.4
    assert frame[own + 8] < 0.3  # half an octave above there is nothing


def test_a_pitchgram_is_an_explicit_autocorrelation_of_the_compressed_spectrum() -> None:
    waveform = voice(150) + np.random.default_rng(0).normal(0, 0.01, 16_000).astype(np.float32)
    found = pitchgram(waveform)[10]
    frame = waveform[10 * 512 - 512 : 10 * 512 + 512].astype(float) * (
        0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    )
    hertz = np.arange(513) * 16_000 / 1024
    weights = np.where((hertz >= 50) & (hertz <= 4000), (np.abs(np.fft.rfft(frame)) ** 2) ** 0.335, 0)
    for number in (0, 13, 55):
        lag = 1 / (60 * 2 ** (number / 16))
        expected = sum(w * np.cos(2 * np.pi * f * lag) for w, f in zip(weights, hertz, strict=True)) / weights.sum()
        assert found[number] == pytest.approx(expected, abs=1e-4)


def test_a_pitchgram_does_not_depend_on_loudness() -> None:
    np.testing.assert_allclose(pitchgram(voice(150)), pitchgram(0.1 * voice(150)), atol=1e-3)


def test_deltas_leave_the_pitchgram_behind_them() -> None:
    waveform = torch.from_numpy(voice(150))[None]
    sloped = FeatureSettings(name="log-mel", window=1024, hop=512, mels=64, pitch_bins=56, deltas=1)
    with_deltas, without = FrontEnd(sloped)(waveform)[0], FrontEnd(PITCHED)(waveform)[0]
    assert FrontEnd(sloped).size == with_deltas.shape[2] == 184
    assert torch.equal(with_deltas[:, :, :64], without[:, :, :64])
    assert torch.equal(with_deltas[:, :, 128:], without[:, :, 64:])


@pytest.mark.parametrize("size", [4, 12, 180, 400, 480, 1024, 2048])
def test_the_graphs_transform_is_the_fourier_transform_in_an_order_of_its_own(size: int) -> None:
    frames = torch.randn(2, 3, size, dtype=torch.float64)
    expected = torch.fft.rfft(frames * torch.from_numpy(hann(size))).abs().square()
    found, bins = two_step_power(frames, size), two_step_bins(size)
    assert sorted(bins[bins >= 0]) == list(range(size // 2 + 1)), "each bin once"
    torch.testing.assert_close(found.double()[..., bins >= 0], expected[..., bins[bins >= 0]], rtol=1e-6, atol=1e-9)
    table = torch.rand(size // 2 + 1, 5)  # filters are not negative: with both signs, a sum near 0 has no digit right
    torch.testing.assert_close(found @ two_step_rows(table), expected.float() @ table, rtol=1e-4, atol=1e-3)


def test_overlapping_windows_glued_from_chunks_are_the_windows() -> None:
    spectrum, waveform = SquaredSpectrum(), torch.randn(2, 3_333)
    padded = torch.nn.functional.pad(waveform, (200, 200))
    assert torch.equal(spectrum.chunked_frames(padded), padded.unfold(1, spectrum.size, spectrum.hop))
