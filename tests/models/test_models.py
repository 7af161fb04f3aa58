"""One contract for every registered model."""

import pytest
import torch

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe
from emofocus.errors import ModelError
from emofocus.models import MODELS, SpeechNetwork, build
from emofocus.models.mhsa import BiLSTM
from emofocus.training.experiment import parameter_count

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
PARAMETERS = {
    "bmhsa": 4_284_104,
    "mhsa-fa": 4_809_416,
    "mhsa-ca": 4_284_176,
    "mhsa-faca": 4_809_488,
    "compact-bmhsa": 304_168,
    "compact-fa": 337_192,
    "compact-ca": 304_188,
    "compact-faca": 337_212,
    "encoder-bmhsa": 44_456,
    "encoder-fa": 63_080,
    "encoder-ca": 44_476,
    "encoder-faca": 63_100,
    "audio-bre": 518_688,
    "drn-mhsa": 9_943_160,
    "adcnn": 18_211_440,
    "cnn-xvector": 395_784,
    "deep-cnn": 519_320,
    "head-fusion": 155_896,
    "qcnn": 150_024,
    "timnet": 104_536,
    "reslstm": 46_772,
}
FAMILIES = (
    ("bmhsa", "mhsa-fa", "mhsa-ca", "mhsa-faca"),
    ("compact-bmhsa", "compact-fa", "compact-ca", "compact-faca"),
    ("encoder-bmhsa", "encoder-fa", "encoder-ca", "encoder-faca"),
)
FRAMES = 50

every_model = pytest.mark.parametrize("name", MODELS)


def network_of(name: str, **settings: object) -> SpeechNetwork:
    """With the features and segments of its publication."""
    torch.manual_seed(0)
    recipe = MODELS[name].recipe or Recipe()
    network = NetworkSettings(dropout=0.0, **settings)
    return build(ModelConfig.of(name, LABELS, features=recipe.features, segment=recipe.segment, network=network))


def features_of(network: SpeechNetwork, rows: int, frames: int = FRAMES) -> torch.Tensor:
    """Frames as they are after normalization."""
    return torch.randn(rows, frames, len(network.normalize.mean))


@every_model
def test_shapes(name: str) -> None:
    network = network_of(name)
    output = network(features_of(network, 3), need_maps=True)
    assert output.logits.shape == (3, len(LABELS))
    if output.maps is not None:
        steps = -(-FRAMES // network.frames_a_step)
        assert output.maps.weights.shape == (3, output.maps.weights.shape[1], steps, steps)


@every_model
def test_stated_parameter_count(name: str) -> None:
    assert sum(parameter.numel() for parameter in network_of(name).parameters()) == PARAMETERS[name]


@every_model
def test_parameters_are_counted_without_making_them(name: str) -> None:
    """Prosody's window could not be had without its numbers: audio-bre and drn-mhsa could not be cross-validated."""
    recipe = MODELS[name].recipe or Recipe()
    config = recipe.config(name, LABELS)
    assert parameter_count(config) == sum(parameter.numel() for parameter in build(config).parameters())


def test_faca_has_about_4_74_million_parameters_before_the_two_fully_connected_layers() -> None:
    network = network_of("mhsa-faca")
    before = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("classifier"))
    assert before == 4_742_792


@every_model
@pytest.mark.parametrize("pooling", ["mean", "last", "flatten"])
def test_padding_a_batch_changes_no_logits(name: str, pooling: str) -> None:
    network = network_of(name, pooling=pooling).eval()
    lengths = [1, 2, 17, FRAMES]
    batch = features_of(network, len(lengths))
    with torch.inference_mode():
        together = network(batch, torch.tensor(lengths)).logits
        for row, length in enumerate(lengths):
            alone = network(batch[row : row + 1, :length]).logits[0]
            torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=0)
        rubbish = torch.where(torch.arange(FRAMES)[None, :, None] < torch.tensor(lengths)[:, None, None], batch, 1e3)
        torch.testing.assert_close(network(rubbish, torch.tensor(lengths)).logits, together, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bilstm_gives_the_same_numbers_and_gradients_in_training_and_in_use(layers: int) -> None:
    """In training it runs over padding, turned around; in use over packed sequences."""
    lstm = BiLSTM(12, 7, layers, dropout=0.0)
    batch = torch.randn(5, 9, 12, generator=torch.Generator().manual_seed(3))
    lengths = torch.tensor([9, 1, 4, 9, 3])
    found = []
    for mode in (True, False):
        x = batch.clone().requires_grad_()
        output = lstm.train(mode)(x, lengths)
        output.square().sum().backward()
        found.append([output, x.grad, *(parameter.grad.clone() for parameter in lstm.parameters())])
        lstm.zero_grad()
    for trained, used in zip(*found, strict=True):
        torch.testing.assert_close(trained, used, atol=1e-5, rtol=1e-5)


@every_model
def test_order_within_a_batch_does_not_matter(name: str) -> None:
    network = network_of(name).eval()
    batch = features_of(network, 5)
    with torch.inference_mode():
        forwards, backwards = network(batch).logits, network(batch.flip(0)).logits.flip(0)
    torch.testing.assert_close(forwards, backwards, atol=1e-5, rtol=0)


@every_model
def test_gradients_reach_every_parameter(name: str) -> None:
    network = network_of(name)
    network(features_of(network, 4)).logits.square().sum().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not bool((p.grad != 0).any())]
    assert silent == []


@every_model
def test_maps_do_not_change_logits(name: str) -> None:
    network = network_of(name).eval()
    batch = features_of(network, 2)
    with torch.inference_mode():
        torch.testing.assert_close(network(batch, need_maps=True).logits, network(batch).logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family[-1])
def test_ablation_differs_in_the_mechanisms_and_in_nothing_else(family: tuple[str, ...]) -> None:
    plain, focused, calibrated, both = (set(network_of(name).state_dict()) for name in family)
    focus = {key for key in both if "attention.focus" in key}
    calibration = {key for key in both if "attention.calibration" in key}
    assert focused == plain | focus
    assert calibrated == plain | calibration
    assert both == plain | focus | calibration
    assert focus
    assert calibration


def test_a_compact_network_with_a_pitchgram_ignores_padding_and_trains_all_of_its_parameters() -> None:
    torch.manual_seed(0)
    features = FeatureSettings(name="log-mel", mels=64, pitch_bins=56)
    network = build(ModelConfig.of("compact-faca", LABELS, features=features, network=NetworkSettings(dropout=0.0)))
    batch = torch.randn(3, 64, 120)
    network(batch).logits.square().sum().backward()
    assert all(bool((p.grad != 0).any()) for p in network.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in network.parameters())
    network.eval()
    with torch.inference_mode():
        padded = network(batch, torch.tensor([13, 40, 64])).logits
        torch.testing.assert_close(padded[0], network(batch[:1, :13]).logits[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(padded[1], network(batch[1:2, :40]).logits[0], atol=1e-5, rtol=0)


def test_an_unknown_model_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(
        ModelError, match=r"unknown model 'mhsa' \(valid: bmhsa, mhsa-fa, mhsa-ca, mhsa-faca, compact-bmhsa, "
    ):
        build(ModelConfig.of("mhsa", LABELS))
