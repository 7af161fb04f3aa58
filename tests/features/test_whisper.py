"""Whisper's encoder gives the numbers of `transformers`, and padding changes none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emofocus.config import FeatureSettings
from emofocus.features.encoders import load, resolved
from emofocus.features.front_end import FrontEnd
from emofocus.features.whisper import WhisperLogMel, cut_off
from helpers.encoders import TINY, tiny_features, tiny_whisper

RATE = 16_000


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Weights are kept outside of the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOFOCUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seconds", [0.05, 1.0, 3.21])
@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_log_mels_are_those_of_transformers(seconds: float, level: float) -> None:
    transformers = pytest.importorskip("transformers")
    waveform = level * noise(1, int(seconds * RATE)) * torch.linspace(0, 1, int(seconds * RATE)) ** 4
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    expected = extractor(waveform[0].numpy(), sampling_rate=RATE, return_tensors="pt").input_features[0].T  # (3000, 80)
    frames = int(seconds * 100) + 2
    found = cut_off(WhisperLogMel(80)(waveform, 160 * frames))[0]
    torch.testing.assert_close(found, expected[:frames], atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore")
def test_layers_are_those_of_transformers_with_random_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = tiny_whisper(tmp_path / "tiny", max_source_positions=75)
    config = json.loads((folder / "config.json").read_text())
    shape = transformers.WhisperConfig(**config, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=8)
    theirs = transformers.WhisperModel(shape).encoder.eval()
    tensors = {k.removeprefix("model.encoder."): v for k, v in load_file(folder / "model.safetensors").items()}
    missing, unexpected = theirs.load_state_dict(tensors, strict=False)
    assert (sorted(missing), unexpected) == (["layer_norm.bias", "layer_norm.weight"], [])
    ours = load(resolved(FeatureSettings(name="whisper", encoder=str(folder), layers=3))).encoder
    mels = noise(2, 150, 80)
    with torch.inference_mode():
        expected = theirs(mels.transpose(1, 2), output_hidden_states=True).hidden_states
        found = ours(mels)
        found[2] = theirs.layer_norm(found[2])  # theirs ends with a norm, of the deepest layer there is
    for layer in range(3):
        torch.testing.assert_close(found[layer], expected[layer + 1], atol=1e-4, rtol=0)


def test_padding_a_batch_changes_no_frame(tmp_path: Path) -> None:
    front_end = FrontEnd(tiny_features(tmp_path / "tiny")).eval()
    lengths = [150, 1280, 8000, 15_999, 16_000]
    batch = noise(len(lengths), max(lengths))
    batch *= torch.arange(batch.shape[1]) < torch.tensor(lengths)[:, None]
    with torch.inference_mode():
        together, level = front_end(batch, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            alone, quiet = front_end(batch[row : row + 1, :length])
            assert alone.shape[1] == 1 + length // 1280
            torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(level[row, : quiet.shape[1]], quiet[0], atol=1e-4, rtol=0)


def test_frames_are_means_of_positions_and_taps_stand_beside_each_other(tmp_path: Path) -> None:
    waveform = noise(1, 12_345)
    with torch.inference_mode():
        fine, _ = FrontEnd(tiny_features(tmp_path / "tiny", hop=320, layers=3, taps=(1, 3)))(waveform[:, :11_000])
        third, _ = FrontEnd(tiny_features(tmp_path / "tiny", hop=320, layers=3))(waveform[:, :11_000])
        first, _ = FrontEnd(tiny_features(tmp_path / "tiny", hop=320, layers=1))(waveform[:, :11_000])
        torch.testing.assert_close(fine, torch.cat([first, third], dim=2))


def test_a_recording_longer_than_the_encoder_has_positions_for_is_encoded_in_pieces(tmp_path: Path) -> None:
    front_end = FrontEnd(tiny_features(tmp_path / "tiny"))  # 200 positions: 4 seconds
    waveform = noise(1, 10 * RATE)
    with torch.inference_mode():
        frames, level = front_end(waveform)
        piece = front_end.base.encode(front_end.base.sounds(waveform)[0][:, 50:100])
    assert frames.shape == (1, 126, TINY["d_model"])
    assert level.shape == (1, 126)
    torch.testing.assert_close(frames[:, 50:100], piece, atol=1e-5, rtol=0)


def test_the_level_is_that_of_the_samples_of_a_frame(tmp_path: Path) -> None:
    _, level = FrontEnd(tiny_features(tmp_path / "tiny"))(torch.ones(1, 1280 * 2 + 640))
    np.testing.assert_allclose(level[0].numpy(), [0.0, 0.0, 10 * np.log10(0.5)], atol=1e-4)
