"""wav2vec 2.0, HuBERT and WavLM through the same door, with random weights."""

import json
import sys
from pathlib import Path

import pytest
import torch

from emofocus.errors import MissingExtraError
from emofocus.features.front_end import FrontEnd, frame_size
from emofocus.features.self_supervised import CLASSES, STORED
from helpers.encoders import VARIANTS, self_supervised_features, tiny_self_supervised

pytestmark = pytest.mark.filterwarnings("ignore")
each = pytest.mark.parametrize("name", CLASSES)
each_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are kept outside of the user's folder."""
    monkeypatch.setenv("EMOFOCUS_CACHE", str(tmp_path / "cache"))


@each
@each_variant
def test_frames_are_those_of_the_layer_of_the_whole_network(name: str, variant: str, tmp_path: Path) -> None:
    network = tiny_self_supervised(tmp_path / "ears", name, variant)
    settings = self_supervised_features(tmp_path / "ears", name, hop=320)
    waveform = torch.randn(1, 24 * 320 + 80)
    whole = torch.nn.functional.pad(waveform, (0, 320))  # up to the end of the last position's window
    with torch.inference_mode():
        normal = (whole - whole.mean()) / whole.var(correction=0).sqrt()
        expected = network(normal, output_hidden_states=True).hidden_states[2]
        found, _ = FrontEnd(settings)(waveform)
    assert frame_size(settings) == 32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@each
@each_variant
def test_padding_a_batch_changes_no_frame(name: str, variant: str, tmp_path: Path) -> None:
    tiny_self_supervised(tmp_path / "ears", name, variant)
    front_end = FrontEnd(self_supervised_features(tmp_path / "ears", name)).eval()
    lengths = torch.tensor([3_000, 8_000, 16_000])
    batch = torch.randn(3, 16_000) * (torch.arange(16_000) < lengths[:, None])
    with torch.inference_mode():
        together, _ = front_end(batch, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone, _ = front_end(batch[row : row + 1, :length])
            torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], atol=1e-5, rtol=0)


@each
def test_their_shape_is_in_the_settings(name: str, tmp_path: Path) -> None:
    tiny_self_supervised(tmp_path / "ears", name, "group norm")
    settings = self_supervised_features(tmp_path / "ears", name)
    (tmp_path / "ears" / "config.json").unlink()
    with torch.inference_mode():
        assert FrontEnd(settings)(torch.randn(1, 4_000))[0].shape == (1, 7, 32)


def test_older_files_of_a_normalised_weight_are_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tiny_self_supervised(tmp_path / "ears", "wav2vec2", "group norm")
    before = self_supervised_features(tmp_path / "ears", "wav2vec2").encoder.digest
    tensors = load_file(tmp_path / "ears" / "model.safetensors")
    for old, new in STORED.items():
        tensors = {f"wav2vec2.{name.removeprefix('wav2vec2.').replace(new, old)}": v for name, v in tensors.items()}
    save_file(tensors, tmp_path / "ears" / "model.safetensors")
    assert self_supervised_features(tmp_path / "ears", "wav2vec2").encoder.digest == before


def test_without_transformers_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_self_supervised(tmp_path / "ears", "hubert", "group norm")
    assert json.loads((tmp_path / "ears" / "config.json").read_text())["model_type"] == "hubert"
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'emofocus\[encoders]'"):
        self_supervised_features(tmp_path / "ears", "hubert")
