"""Networks on a pretrained encoder: frozen frames of several layers, and layers that are fine-tuned by adapters."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from emofocus.config import (
    EncoderSettings,
    FeatureSettings,
    ModelConfig,
    NetworkSettings,
    Recipe,
    SegmentSettings,
    to_plain,
)
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.errors import ModelError
from emofocus.export.to_onnx import export
from emofocus.features.front_end import FrontEnd
from emofocus.models import build
from emofocus.models.checkpoint import load_network, save_config, save_tensors
from emofocus.models.complexity import network_cost
from emofocus.models.encoder_head import mean_of_steps
from emofocus.recognition.engine import Engine
from emofocus.training.loop import fit
from helpers.encoders import tiny_features

LABELS = tuple("abcdef")
VARIANTS = ("encoder-bmhsa", "encoder-fa", "encoder-ca", "encoder-faca")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are kept outside of the user's folder."""
    monkeypatch.setenv("EMOFOCUS_CACHE", str(tmp_path / "home"))


def described(taps: object) -> ModelConfig:
    """Features of an encoder whose weights nobody has."""
    encoder = EncoderSettings(source="none", digest="", config={"d_model": 48})
    features = FeatureSettings(name="whisper", encoder=encoder, layers=4, taps=taps)
    return ModelConfig.of("encoder-faca", LABELS, features=features, network=NetworkSettings(dropout=0.0))


def adapted(folder: Path, model: str = "encoder-faca", **features: Any) -> ModelConfig:
    settings = tiny_features(folder / "ears", **{"layers": 3, "taps": (1,), "hop": 320} | features)
    network = NetworkSettings(dropout=0.0, adapter_rank=2)
    return ModelConfig.of(model, LABELS, features=settings, network=network)


def test_a_network_is_built_without_the_encoders_weights() -> None:
    assert len(build(described(msgspec.UNSET)).normalize.mean) == 48


def test_layers_of_an_encoder_are_mixed_by_learned_weights_that_begin_equal() -> None:
    torch.manual_seed(0)
    network = build(described((2, 3, 4)))
    batch = torch.randn(3, 20, 3 * 48)
    torch.testing.assert_close(network.layers(batch), batch.reshape(3, 20, 3, 48).mean(dim=2))
    network(batch).logits.square().sum().backward()
    assert bool((network.layers.weights.grad != 0).all())


def test_a_learned_choice_of_layers_trains_and_is_exported(tmp_path: Path) -> None:
    features = tiny_features(tmp_path / "ears", layers=3, taps=(1, 2, 3))
    config = ModelConfig.of("encoder-faca", LABELS, features=features, segment=SegmentSettings(frames=25, hop=10))
    front_end, generator = FrontEnd(features).eval(), torch.Generator().manual_seed(0)
    speech = []
    for number in range(12):  # three classes that differ in loudness, to which the layers listen differently
        with torch.inference_mode():
            frames, level = front_end(0.1 * 4.0 ** (number % 3) * torch.randn(1, 24_000, generator=generator))
        speech.append(Speech(frames[0].numpy(), level[0].numpy()))
    part = SegmentDataset(speech, [number % 3 for number in range(12)], config.segment)
    torch.manual_seed(0)
    network = build(config)
    recipe = Recipe(epochs=6, batch_size=12, learning_rate=1e-2, features=features, segment=config.segment)
    history = fit(network, part, part, recipe, seed=0, folder=tmp_path / "fold").history
    assert history[-1].loss < 0.7 * history[0].loss
    shares = network.layers.weights.detach().softmax(dim=0)
    assert float(shares.max() - shares.min()) > 1e-3
    save_config(tmp_path / "fold", config)
    export(tmp_path / "fold", tmp_path / "model")  # which compares it with torch
    waveform = 0.1 * torch.randn(1, 24_000, generator=generator)
    with torch.inference_mode():
        expected = network.eval()(front_end(waveform)[0]).logits
    logits = Engine(tmp_path / "model" / "model.onnx").run(waveform.numpy(), np.array([24_000])).logits
    np.testing.assert_allclose(logits[0], expected, atol=1e-4)


def test_networks_without_adapters_have_settings_of_the_same_bytes() -> None:
    assert to_plain(NetworkSettings()) == {"pooling": "mean", "dropout": 0.2}


def test_adapted_layers_start_as_the_encoders_own(tmp_path: Path) -> None:
    network = build(adapted(tmp_path)).eval()
    network.load_pretrained()
    waveform = 0.1 * torch.randn(1, 9_000)
    with torch.inference_mode():
        first, _ = FrontEnd(adapted(tmp_path).features)(waveform)
        third, _ = FrontEnd(tiny_features(tmp_path / "ears", layers=3, hop=320))(waveform)
        x = first
        for layer in network.adapted:
            x = layer(x)
    torch.testing.assert_close(x, third, atol=1e-5, rtol=0)


@pytest.mark.parametrize("model", VARIANTS)
def test_padding_changes_no_logits_of_adapted_networks(model: str, tmp_path: Path) -> None:
    network = build(adapted(tmp_path, model)).eval()
    network.load_pretrained()
    lengths = torch.tensor([3, 8, 17, 40])
    batch = torch.randn(4, 40, 32)
    with torch.inference_mode():
        together = network(batch, lengths).logits
        for row, length in enumerate(lengths.tolist()):
            alone = network(batch[row : row + 1, :length]).logits[0]
            torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)
        rubbish = torch.where(torch.arange(40)[None, :, None] < lengths[:, None, None], batch, 1e3)
        torch.testing.assert_close(network(rubbish, lengths).logits, together, atol=1e-5, rtol=0)


def test_adapters_and_the_head_learn_and_the_encoder_does_not(tmp_path: Path) -> None:
    network = build(adapted(tmp_path))
    network.load_pretrained()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(3):  # the first step reaches the half of an adapter that starts as zero alone
        optimizer.zero_grad()
        network(torch.randn(4, 40, 32)).logits.square().sum().backward()
        optimizer.step()
    silent = [n for n, p in network.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert silent == []
    for name, value in network.state_dict().items():
        frozen = name.startswith("adapted.") and ".adapter." not in name
        assert torch.equal(value, before[name]) == (frozen or name.startswith("normalize."))


def test_maps_of_an_adapted_network_have_a_position_each_eight_frames(tmp_path: Path) -> None:
    network = build(adapted(tmp_path)).eval()
    maps = network(torch.randn(1, 41, 32), need_maps=True).maps
    assert network.frames_a_step == 8
    assert maps is not None
    assert maps.weights.shape[2:] == (6, 6)


def test_an_adapted_network_comes_back_from_its_directory(tmp_path: Path) -> None:
    config = adapted(tmp_path)
    network = build(config).eval()
    network.load_pretrained()
    save_tensors(tmp_path / "model" / "model.safetensors", network.state_dict())
    save_config(tmp_path / "model", config)
    again, found = load_network(tmp_path / "model")
    assert found == config
    batch = torch.randn(2, 20, 32)
    torch.testing.assert_close(again(batch).logits, network(batch).logits, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"hop": 640}, "adapters need features whisper with a hop of 320, not whisper with 640"),
        ({"taps": (3,)}, r"adapters need one tap below the 3 layers, not \(3,\)"),
        ({"taps": (1, 2)}, r"adapters need one tap below the 3 layers, not \(1, 2\)"),
    ],
)
def test_features_that_cannot_be_adapted_are_refused(features: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        build(adapted(tmp_path, **features))


def test_adapters_on_other_features_are_refused() -> None:
    config = Recipe(network=NetworkSettings(adapter_rank=2)).config("encoder-faca", LABELS)
    with pytest.raises(ModelError, match="adapters need features whisper with a hop of 320, not mfcc with 160"):
        build(config)


def test_means_of_steps_are_over_true_frames_alone() -> None:
    x = torch.arange(10.0)[None, :, None].expand(2, -1, 1).clone()
    x[1, 5:] = 0
    found = mean_of_steps(x, torch.tensor([10, 5]), 4)[:, :, 0]
    torch.testing.assert_close(found, torch.tensor([[1.5, 5.5, 8.5], [1.5, 4.0, 0.0]]))


def test_a_head_is_counted_without_the_encoders_weights() -> None:
    """`emofocus compare` asked for weights that a reader of results does not have."""
    assert network_cost(described(msgspec.UNSET)) > 1e4
