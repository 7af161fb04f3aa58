"""A training that several processes share, as a program: it starts itself as often, or torchrun does."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from emofocus.config import ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.models import build
from emofocus.training.fabric import make_fabric
from emofocus.training.loop import Epoch, fit
from emofocus.training.options import FabricOptions

LABELS = ("low", "middle", "high")

RECIPE = Recipe(
    batch_size=13,  # two processes cannot have equal halves
    learning_rate=1e-3,
    schedule="cosine",
    warmup=0.1,
    label_smoothing=0.1,
    time_reversal=0.5,
    gain_db=6,
    mask_frames=5,
    mask_coefficients=4,
    mixup=0.3,
    gradient_norm=2,
    weight_average=0.9,
    segment=SegmentSettings(frames=24, hop=12),
    network=NetworkSettings(dropout=0.0),
)
"""Everything that draws random numbers for segments."""


def part(utterances: int, seed: int) -> SegmentDataset:
    """Noise whose class is heard in one coefficient, in two versions; some utterances are shorter than a segment."""
    generator = np.random.default_rng(seed)
    labels = [index % len(LABELS) for index in range(utterances)]

    def spoken(label: int, frames: int) -> Speech:
        features = generator.normal(size=(frames, 40)).astype(np.float32)
        features[:, 3] += label
        return Speech(features, np.zeros(frames, np.float32))

    heard, slower = ([spoken(label, size - 5 * (i % 7)) for i, label in enumerate(labels)] for size in (50, 60))
    return SegmentDataset(heard, labels, RECIPE.segment, variants=[slower])


def train(folder: Path, devices: int | None, model: str, changes: dict[str, Any]) -> None:
    """Train into ``folder``; each process says who it is after each epoch, and leaves its losses."""
    recipe = msgspec.convert(msgspec.to_builtins(RECIPE) | changes, Recipe)
    fabric = make_fabric(FabricOptions(devices=devices, threads=1))
    losses: list[float] = []
    backward = fabric.backward

    def recorded(loss: torch.Tensor) -> None:
        losses.append(float(loss))
        backward(loss)

    fabric.backward = recorded  # type: ignore[method-assign, assignment]

    def after_epoch(figures: Epoch) -> None:
        print(f"process {fabric.global_rank} of {fabric.world_size}: {os.getpid()} epoch {figures.epoch}", flush=True)

    torch.manual_seed(0)
    network = build(ModelConfig.of(model, LABELS, segment=recipe.segment, network=recipe.network))
    fitted = fit(network, part(36, 1), part(12, 2), recipe, 5, folder, fabric, after_epoch=after_epoch)
    found = {"losses": losses, "history": [[item.loss, item.valid_ua] for item in fitted.history]}
    found["weights"] = float(sum(tensor.double().abs().sum() for tensor in network.state_dict().values()))
    (folder / f"process-{fabric.global_rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    where, how = sys.argv[1:]
    train(Path(where), **json.loads(how))
