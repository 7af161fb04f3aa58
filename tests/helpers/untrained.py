"""Networks that have learned nothing, and model directories of them."""

from pathlib import Path

import torch

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.config import ModelConfig, Recipe
from emofocus.export.to_onnx import export
from emofocus.features.front_end import FrontEnd
from emofocus.models import MODELS, SpeechNetwork, build
from emofocus.models.checkpoint import save_config, save_tensors

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def config_of(name: str, labels: tuple[str, ...] = LABELS) -> ModelConfig:
    recipe = MODELS[name].recipe or Recipe()
    return ModelConfig.of(name, labels, features=recipe.features, segment=recipe.segment)


def untrained(config: ModelConfig) -> SpeechNetwork:
    """With the feature statistics of noise, as a trained one has those of its corpus."""
    torch.manual_seed(0)
    network = build(config)
    features, _ = FrontEnd(config.features)(0.1 * torch.randn(1, 2 * SAMPLING_RATE))
    network.normalize.set(features[0].mean(dim=0), features[0].std(dim=0))
    return network


def saved(folder: Path, network: SpeechNetwork, config: ModelConfig) -> Path:
    save_tensors(folder / "fold" / "model.safetensors", network.state_dict())
    save_config(folder / "fold", config)
    export(folder / "fold", folder / "model")
    return folder / "model"
