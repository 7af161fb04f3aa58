"""Features of made-up speech whose class is easy to hear."""

import numpy as np

from emofocus.config import SegmentSettings
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech

LABELS = ("low", "high")


def speech_of(utterances: int, seed: int, frames: int = 60) -> SegmentDataset:
    """Noise whose class is heard in one coefficient."""
    generator = np.random.default_rng(seed)
    labels = [index % 2 for index in range(utterances)]
    items = []
    for label in labels:
        features = generator.normal(size=(frames, 40)).astype(np.float32)
        features[:, 3] += 2 * label
        items.append(Speech(features, np.zeros(frames, np.float32)))
    return SegmentDataset(items, labels, SegmentSettings())
