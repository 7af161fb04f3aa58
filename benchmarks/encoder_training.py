"""A training step and an epoch on a frozen Whisper encoder: ours, from cached frames, and loops over `transformers`.

Run: ``python benchmarks/encoder_training.py``. Random weights in the shape of Whisper base; noise as long as RAVDESS'
clips; one thread. Two loops are compared with: one reads the documentation straight, so that the feature extractor pads
each clip to 30 seconds and all six layers run; the other cuts positions to the longest clip of the batch, and the
network to three layers. Both put the same head on top, and compute the encoder's frames anew in each epoch.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from emofocus.config import EncoderSettings, FeatureSettings, Recipe, SegmentSettings
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.models import build

BATCH, CLIPS, CLASSES = 8, 1152, 8
"""Clips of a step that is timed; clips of an epoch, RAVDESS without a fifth."""

HOP, LAYERS, WIDTH = 2560, 3, 512
LENGTHS = np.linspace(3.0, 5.0, BATCH)
"""Seconds of a batch's clips."""


def fastest(step: Callable[[], None], rounds: int = 3) -> float:
    """Seconds of a step, after one that is not timed."""
    step()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return min(found)


def head() -> nn.Module:
    """The network above the encoder."""
    encoder = EncoderSettings(source="random", digest="", config={"d_model": WIDTH})
    features = FeatureSettings(name="whisper", encoder=encoder, layers=LAYERS, hop=HOP)
    recipe = Recipe(features=features)
    return build(recipe.config("encoder-faca", tuple("abcdefgh"))).train()


def learn(network: nn.Module, optimizer: torch.optim.Optimizer, frames: Tensor, lengths: Tensor) -> None:
    """One step on frames (B, m, F)."""
    labels = torch.arange(len(frames)) % CLASSES
    loss = F.cross_entropy(network(frames, lengths).logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def ours() -> float:
    """Seconds of a step from frames in memory, as training has them from the cache."""
    generator = np.random.default_rng(0)
    counts = [1 + int(seconds * 16_000) // HOP for seconds in LENGTHS]
    items = [Speech(generator.normal(size=(n, WIDTH)).astype(np.float16), np.zeros(n, np.float32)) for n in counts]
    data = SegmentDataset(items, list(range(BATCH)), SegmentSettings(frames=63, hop=25))
    network = head()
    optimizer = torch.optim.AdamW(network.parameters())

    def step() -> None:
        batch = data.batch(np.arange(BATCH))
        learn(network, optimizer, batch.features, batch.lengths)

    return fastest(step, rounds=10)


def straightforward(cut: bool) -> float:
    """Seconds of a step that begins with waveforms."""
    config = WhisperConfig(d_model=WIDTH, encoder_layers=LAYERS if cut else 6, encoder_attention_heads=8)
    config.encoder_ffn_dim, config.num_mel_bins = 2048, 80
    longest = round(LENGTHS.max() * 100) if cut else 3000
    config.max_source_positions = longest // 2
    encoder, extractor = WhisperEncoder(config).eval(), WhisperFeatureExtractor(feature_size=80)
    clips = [np.random.default_rng(0).normal(0, 0.1, int(seconds * 16_000)) for seconds in LENGTHS]
    network = head()
    optimizer = torch.optim.AdamW(network.parameters())
    lengths = torch.tensor([1 + len(clip) // HOP for clip in clips])

    def step() -> None:
        mels = extractor(clips, sampling_rate=16_000, return_tensors="pt").input_features[:, :, :longest]
        with torch.no_grad():
            frames = encoder(mels).last_hidden_state  # (B, e, d)
        pooled = F.avg_pool1d(frames.transpose(1, 2), HOP // 320, ceil_mode=True).transpose(1, 2)
        learn(network, optimizer, pooled, lengths.clamp(max=pooled.shape[1]))

    return fastest(step, rounds=1)


def main() -> None:
    """Print a Markdown table."""
    torch.set_num_threads(1)
    cached = ours()
    rows = {"ours, cached frames": cached, "transformers, cut": straightforward(True)}
    rows["transformers, as documented"] = straightforward(False)
    print("| loop | a step of 8 clips, ms | an epoch of 1152 clips, s | ratio |\n|---|---:|---:|---:|")
    for name, seconds in rows.items():
        print(f"| {name} | {1e3 * seconds:.1f} | {seconds * CLIPS / BATCH:.1f} | {seconds / cached:.0f} |")


if __name__ == "__main__":
    main()
