"""What the compared systems' papers say of them, beyond the contract of all models."""

from pathlib import Path

import numpy as np
import pytest
import torch

from emofocus.config import FeatureSettings, ModelConfig
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.errors import ConfigError, ModelError
from emofocus.features.front_end import FrontEnd
from emofocus.models import MODELS, build
from emofocus.models.baselines.audio_bre import functionals
from emofocus.models.baselines.cnn_xvector import statistics
from emofocus.models.baselines.qcnn import jet
from emofocus.models.baselines.timnet import reverse
from emofocus.models.masking import FrameNorm
from emofocus.training.loop import fit
from emofocus.training.setup import recipe_of

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
PUBLISHED = [name for name, model in MODELS.items() if model.recipe]


def paper_network(name: str) -> torch.nn.Module:
    recipe = MODELS[name].recipe
    assert recipe is not None
    torch.manual_seed(0)
    config = ModelConfig.of(name, LABELS, features=recipe.features, segment=recipe.segment, network=recipe.network)
    return build(config)


def test_deep_cnn_flattens_to_3072() -> None:
    assert paper_network("deep-cnn").classifier[0].in_features == 3_072


def test_a_quarter_of_a_second_flattens_to_8220_behind_sinc_filters() -> None:
    assert paper_network("adcnn").dense[0].in_features == 8_220


def test_jet_is_matplotlibs_within_two_percent_on_average() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    light = np.linspace(0, 1, 500)
    expected = matplotlib.colormaps["jet"](light)[:, :3].T  # (3, 500)
    found = jet(torch.from_numpy(light)[None, None])[0, :, 0]
    assert (found[0] == 0).all()
    np.testing.assert_allclose(found[1:], expected, atol=0.13)
    assert np.abs(found[1:].numpy() - expected).mean() < 0.025


def test_drn_without_its_attention_has_the_8_89_million_parameters_of_the_public_code() -> None:
    network = paper_network("drn-mhsa")
    total = sum(p.numel() for p in network.parameters())
    attention = sum(p.numel() for p in network.attention.parameters())
    assert total - attention == pytest.approx(8.89e6, rel=2e-3)
    assert attention == 4 * (512**2 + 512)


@pytest.mark.parametrize("name", ["audio-bre", "drn-mhsa", "qcnn", "adcnn"])
def test_a_model_that_cannot_use_the_features_says_what_it_needs(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} needs features.*--recipe paper"):
        build(ModelConfig.of(name, LABELS, features=FeatureSettings(name="log-mel", mels=64)))


@pytest.mark.parametrize("further", [{"mels": 64, "deltas": 1}, {"mels": 72, "pitch_bins": 56}])
def test_a_picture_is_not_made_of_other_features_that_happen_to_be_as_many(further: dict[str, int]) -> None:
    features = FeatureSettings(name="log-mel", **further)
    assert FrontEnd(features).size == 128
    with pytest.raises(ModelError, match=rf"as in --recipe paper; not log-mel with {further['mels']} mels among 128"):
        build(ModelConfig.of("qcnn", LABELS, features=features, segment=MODELS["qcnn"].recipe.segment))


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_paper_is_the_models_own(name: str) -> None:
    assert recipe_of(name, "paper", None) == ("paper", MODELS[name].recipe)
    short = recipe_of(name, "paper", 3)[1]
    assert short.epochs == 3
    assert short.features == MODELS[name].recipe.features


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_one_loop_trains_it_by_its_papers_recipe(name: str, tmp_path: Path) -> None:
    recipe, network = recipe_of(name, "paper", 1)[1], paper_network(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    generator = np.random.default_rng(0)
    size = FrontEnd(recipe.features).size
    speech = [
        Speech(generator.normal(size=(frames, size)).astype(np.float32), np.zeros(frames, np.float32))
        for frames in (30, 80, 150, 20)
    ]
    data = SegmentDataset(speech, [0, 1, 2, 7], recipe.segment)
    fitted = fit(network, data, data, recipe, seed=0, folder=tmp_path)
    assert np.isfinite(fitted.history[0].loss)
    learned = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert learned >= {key for key, value in network.named_parameters() if value.ndim > 1}


def test_recipe_paper_of_the_papers_family_is_the_shipped_file() -> None:
    assert recipe_of("mhsa-faca", "paper", None)[1].epochs == 100
    assert recipe_of("timnet", "quick", None)[1].epochs == 3
    with pytest.raises(ConfigError, match="unknown recipe 'papers'"):
        recipe_of("timnet", "papers", None)


def test_a_reversed_sequence_starts_with_its_last_true_frame() -> None:
    x = torch.arange(10.0).reshape(2, 1, 5)
    lengths = torch.tensor([3, 5])
    assert reverse(x, lengths)[:, 0].tolist() == [[2, 1, 0, 0, 0], [9, 8, 7, 6, 5]]
    assert reverse(x, None)[0, 0].tolist() == [4, 3, 2, 1, 0]


def test_timnet_hears_the_past_alone_in_each_direction() -> None:
    """A change in the future of a frame changes nothing in the forward direction."""
    network = paper_network("timnet").eval()
    x = torch.randn(1, 39, 60)
    later = x.clone()
    later[:, :, 40:] += 1.0
    with torch.inference_mode():
        before, after = (network.forwards(item, None)[-1] for item in (x, later))
    torch.testing.assert_close(before[:, :, :40], after[:, :, :40])
    assert not torch.allclose(before[:, :, 40:], after[:, :, 40:])


def test_frame_norm_takes_statistics_of_true_frames_alone() -> None:
    x = torch.randn(3, 4, 9)
    lengths = torch.tensor([2, 9, 5])
    x[0, :, 2:], x[2, :, 5:] = 1e3, -1e3
    norm = FrameNorm(4).train()
    normed = norm(x, lengths)
    true = torch.cat([x[0, :, :2], x[1], x[2, :, :5]], dim=1)  # (4, 16)
    torch.testing.assert_close(norm.running_mean, 0.1 * true.mean(dim=1))
    torch.testing.assert_close(
        torch.cat([normed[0, :, :2], normed[1], normed[2, :, :5]], dim=1).std(dim=1, correction=0),
        torch.ones(4),
        atol=1e-3,
        rtol=0,
    )
    assert (normed[0, :, 2:] == 0).all()


def test_functionals_and_statistics_are_numpys() -> None:
    generator = np.random.default_rng(0)
    contours = generator.normal(size=(1, 12, 3, 5)).astype(np.float32)
    values, slopes, curvatures = contours[0, :7].transpose(1, 0, 2)
    expected = [
        values.mean(0),
        values.std(0),
        slopes.std(0),
        curvatures.std(0),
        values.max(0),
        values.min(0),
        np.abs(slopes).mean(0),
    ]
    found = functionals(torch.from_numpy(contours), torch.tensor([7]))
    np.testing.assert_allclose(found[0], np.concatenate(expected), atol=1e-4)
    frames = np.abs(contours[:, :, 0])
    pooled = statistics(torch.from_numpy(frames), torch.tensor([7]))
    true = frames[0, :7]
    np.testing.assert_allclose(pooled[0], np.concatenate([true.mean(0), true.max(0), true.std(0)]), atol=1e-4)
