"""Steps by CUDA graphs learn what steps without them learn; where there is no GPU, nothing is captured."""

import copy
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from emofocus.config import ModelConfig, NetworkSettings, Recipe, load_recipe
from emofocus.models import MODELS, SpeechNetwork, build
from emofocus.training import loop as training
from emofocus.training.cuda_graphs import logits_of
from emofocus.training.loop import Fitted, fit
from helpers.speech import LABELS, speech_of

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: CUDA graphs are for nothing else")


def learned(folder: Path, model: str, epochs: int = 3, dropout: float = 0.0) -> tuple[SpeechNetwork, Fitted]:
    """A network trained on the GPU."""
    torch.manual_seed(0)
    network = build(ModelConfig.of(model, LABELS, network=NetworkSettings(dropout=dropout)))
    recipe = Recipe(epochs=epochs, batch_size=8, learning_rate=3e-4)
    fabric = Fabric(accelerator="gpu", devices=1)
    train, valid = speech_of(16, seed=1), speech_of(16, seed=2)
    return network, fit(network, train, valid, recipe, seed=5, folder=folder, fabric=fabric)


@needs_gpu
@pytest.mark.parametrize("model", ["bmhsa", "mhsa-faca", "compact-faca"])
def test_graphs_learn_what_plain_steps_learn(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cudnn.allow_tf32 = False
    network, graphed = learned(tmp_path / "graphed", model)
    monkeypatch.setattr(training, "logits_of", lambda model, *_: lambda x, lengths: model(x, lengths).logits)
    other, plain = learned(tmp_path / "plain", model)
    for mine, theirs in zip(graphed.history, plain.history, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, rel=2e-3)
    for (name, mine), theirs in zip(network.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(mine.float(), theirs.float(), rtol=0.05, atol=5e-3, msg=name)


@needs_gpu
def test_training_by_graphs_resumes_to_the_same_figures(tmp_path: Path) -> None:
    """Dropout draws from the seed and the epoch's number, also inside of a graph; the optimizer's state follows.

    A resumed run on a GPU once failed, as the optimizer's state had stayed on the CPU.
    """
    whole = learned(tmp_path / "whole", "mhsa-faca", epochs=4, dropout=0.3)[1]
    learned(tmp_path / "parts", "mhsa-faca", epochs=2, dropout=0.3)
    parts = learned(tmp_path / "parts", "mhsa-faca", epochs=4, dropout=0.3)[1]
    for mine, theirs in zip(parts.history, whole.history, strict=True):
        assert mine.loss == pytest.approx(theirs.loss, rel=2e-3)
    assert whole.history[0].loss != whole.history[1].loss


@needs_gpu
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_pass_by_graphs_is_a_plain_one(name: str) -> None:
    """Logits, gradients, running statistics, and the random numbers that follow: capturing leaves no trace."""
    torch.backends.cudnn.allow_tf32 = False
    recipe = MODELS[name].recipe or load_recipe("paper")[1]
    network = build(recipe.config(name, LABELS))
    generator = torch.Generator().manual_seed(0)
    size = (4, min(recipe.segment.frames, 200), len(network.normalize.mean))
    features = torch.randn(size, generator=generator).cuda()
    fabric = Fabric(accelerator="gpu", devices=1)
    other = copy.deepcopy(network)
    model, plain = fabric.setup(network), fabric.setup(other)
    passing = logits_of(model.train(), network, fabric)
    found = []
    for function in (lambda x: passing(x, None), lambda x: plain.train()(x).logits):
        torch.manual_seed(7)
        logits = function(features)
        logits.float().square().sum().backward()
        found.append((logits.detach().clone(), torch.rand(3, device="cuda")))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=5e-3)
    for (key, mine), theirs in zip(network.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}")
    for (key, mine), theirs in zip(network.named_parameters(), other.parameters(), strict=True):
        if mine.grad is not None or theirs.grad is not None:
            torch.testing.assert_close(
                mine.grad, theirs.grad, rtol=1e-2, atol=1e-2, msg=lambda t, key=key: f"{key}: {t}"
            )


def test_nothing_is_captured_without_a_gpu() -> None:
    network = build(ModelConfig.of("mhsa-faca", LABELS))
    fabric = Fabric(accelerator="cpu", devices=1)
    model = fabric.setup(network)
    network.eval()
    features = torch.randn(2, 50, 40)
    assert torch.equal(logits_of(model, network, fabric)(features, None), network(features).logits)
