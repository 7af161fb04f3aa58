"""A model directory that can be adapted to voices, and speech of several."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.config import ModelConfig, NetworkSettings, SegmentSettings
from helpers.encoders import tiny_features
from helpers.untrained import LABELS, saved, untrained

HOP, FRAMES, STRENGTH, SIZE = 1280, 25, 10.0, 32
"""Samples from frame to frame, frames of a segment, seconds of speech that count half, features."""


@contextmanager
def adaptable_model(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model directory whose statistics of the training part are not zeros and ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOFOCUS_CACHE", str(factory.mktemp("cache")))
        root = factory.mktemp("model")
        config = ModelConfig.of(
            "encoder-faca",
            LABELS,
            features=tiny_features(root / "encoder", hop=HOP),
            segment=SegmentSettings(frames=FRAMES, hop=10),
            network=NetworkSettings(voice_seconds=STRENGTH),
        )
        network = untrained(config)
        generator = torch.Generator().manual_seed(1)
        network.normalize.set(*(torch.rand(SIZE, generator=generator) + 0.5 for _ in range(2)))
        network.voice.log_deviation.copy_(torch.randn(SIZE, generator=generator) * 0.1)
        yield saved(root, network, config)


def talk(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose color is its seed's (T,), 16 kHz."""
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal(round(seconds * SAMPLING_RATE))
    colored = np.convolve(noise, generator.standard_normal(5), "same") if seed % 2 else noise
    return (0.1 * colored).astype(np.float32)
