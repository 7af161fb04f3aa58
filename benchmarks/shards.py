"""Memory of writing shards and of training from them, and the speed of streaming, as a corpus grows.

Run: ``python benchmarks/shards.py`` (about half an hour on two cores, 4 GB of disk), or ``--rows 10000 100000``. The
corpus is made up: a manifest of that many utterances with 5,000 speakers, each 20 to 40 frames of 16 features. Each
step is a process of its own, as the peak of a process is never taken back. Training runs the one loop, `fit`, for two
epochs of at most ``--steps`` steps, and scores the whole validation part after each. Prints a Markdown table.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from manifest import EMOTIONS, made

from emofocus.audio.fingerprint import AudioFingerprint
from emofocus.config import EmbeddingSettings, FeatureSettings, Recipe, SegmentSettings
from emofocus.corpora import Corpus
from emofocus.data.datasets import ALONE, Pass, Rank, SegmentDataset, Step
from emofocus.data.feature_store import Speech
from emofocus.models import build
from emofocus.splits.protocols import make_folds
from emofocus.training.experiment import Experiment
from emofocus.training.loop import fit
from emofocus.training.shards.reader import Shards, StreamedTraining
from emofocus.training.shards.writer import write_shards
from emofocus.utils.storage import parse_location

RECIPE = Recipe(
    epochs=2,
    batch_size=64,
    features=FeatureSettings(coefficients=16),
    segment=SegmentSettings(frames=20, hop=10),
)
BUFFER = 16 << 20
NOISE = np.random.default_rng(0).normal(size=(10_007, 16)).astype(np.float32)


class MadeSpeech(Sequence[Speech]):
    """Stretches of one noise, in which the class is heard."""

    embedding: EmbeddingSettings | None = None

    def __init__(self, corpus: Corpus) -> None:
        self.corpus, self._labels = corpus, corpus.labels()

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, index: int) -> Speech:  # type: ignore[override]
        start, size = index * 7919 % 9_900, 20 + index % 21
        frames = NOISE[start : start + size].copy()
        frames[:, 3] += self._labels[index] / 2
        return Speech(frames, np.zeros(size, np.float32))

    def speech(self, recipe: Recipe, passing: bool = False) -> list[Sequence[Speech]]:
        """See `emofocus.data.feature_store.SpeechSource`."""
        return [self]

    def content(self) -> str:
        """There is no audio to hash."""
        return "made"

    def fingerprints(self) -> list[AudioFingerprint]:
        """There are none."""
        raise NotImplementedError("there is no audio to listen to")


class FewSteps(StreamedTraining):
    """The first steps of each epoch."""

    steps = 0

    def epoch(self, size: int, generator: np.random.Generator, rank: Rank = ALONE) -> Pass:
        """See `emofocus.data.datasets.TrainingPart`."""
        whole = super().epoch(size, generator, rank)
        count = min(self.steps, whole.count)
        return Pass(count, _first(whole.steps, count), whole.draws)


def _first(steps: Iterator[Step], count: int) -> Iterator[Step]:
    for _ in range(count):
        yield next(steps)


def peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def experiment(rows: int) -> Experiment:
    corpus = Corpus("made", Path(), tuple(sorted(EMOTIONS)), made(rows), "none")
    return Experiment(corpus, "compact-faca", "made", RECIPE, make_folds(corpus, "speaker", 0), 0)


def write(folder: str, rows: int) -> dict[str, float]:
    """Write shards; how long it took, and memory with the corpus' table alone and at most."""
    imported = peak()
    of = experiment(rows)
    table, began = peak(), time.perf_counter()
    write_shards(of, 0, MadeSpeech(of.corpus), parse_location(folder), listen=False)
    size = sum(file.stat().st_size for file in Path(folder).iterdir())
    return {
        "imported": imported,
        "table": table,
        "peak": peak(),
        "seconds": time.perf_counter() - began,
        "bytes": size,
    }


def train(folder: str, steps: int) -> dict[str, float]:
    """Train from shards."""
    torch.set_num_threads(1)
    imported, began = peak(), time.perf_counter()
    shards = Shards(folder)
    opened = shards.training(RECIPE, BUFFER)
    part = FewSteps(shards, (1.0,), BUFFER)
    part.steps = steps
    torch.manual_seed(0)
    network = build(RECIPE.config("compact-faca", tuple(shards.index["classes"])))
    with tempfile.TemporaryDirectory() as work:
        fitted = fit(network, part, shards.validation(), RECIPE, 0, Path(work))
    taken = opened.epoch(RECIPE.batch_size, np.random.default_rng(0)).count
    return {
        "imported": imported,
        "peak": peak(),
        "seconds": time.perf_counter() - began,
        "steps of an epoch": taken,
        "ua": fitted.history[-1].valid_ua,
    }


def stream(folder: str, rows: int) -> dict[str, float]:
    """Batches a second from shards and from memory, without training, in turns: a ratio."""
    of = experiment(rows)
    memory = SegmentDataset(MadeSpeech(of.corpus), of.corpus.labels(), RECIPE.segment, of.folds[0].train)
    streamed = Shards(folder).training(RECIPE, BUFFER)
    found: dict[str, list[float]] = {"memory": [], "shards": []}
    for turn in range(3):
        for name, part in (("memory", memory), ("shards", streamed)):
            began = time.perf_counter()
            passing = part.epoch(RECIPE.batch_size, np.random.default_rng(turn))
            segments = sum(step.segments for step in passing.steps)
            found[name].append(segments / (time.perf_counter() - began))
    speeds = {name: float(np.median(values)) for name, values in found.items()}
    return speeds | {"ratio": speeds["shards"] / speeds["memory"]}


def alone(*arguments: str) -> dict[str, float]:
    """Run this file in a new process."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="keep the shards there")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, folder = arguments.child
        calls = {"write": (write, arguments.rows[0]), "train": (train, arguments.steps)}
        function, number = calls.get(name, (stream, arguments.rows[0]))
        print(json.dumps(function(folder, number)))
        return
    print(
        "| utterances | shards, MB | writing, s | table, MB | peak, MB | training peak, MB | beyond imports | s | UA |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for rows in arguments.rows:
            folder = str((arguments.folder or Path(temporary)) / f"rows{rows}")
            wrote = alone("--child", "write", folder, "--rows", str(rows))
            trained = alone("--child", "train", folder, "--steps", str(arguments.steps))
            print(
                f"| {rows:,} | {wrote['bytes'] / 1e6:.0f} | {wrote['seconds']:.0f} | {wrote['table']:.0f} | "
                f"{wrote['peak']:.0f} | {trained['peak']:.0f} | {trained['peak'] - trained['imported']:.0f} | "
                f"{trained['seconds']:.0f} | {trained['ua']:.3f} |",
                flush=True,
            )
        smallest = arguments.rows[0]
        folder = str((arguments.folder or Path(temporary)) / f"rows{smallest}")
        found = alone("--child", "stream", folder, "--rows", str(smallest))
        speeds = f"{found['shards']:.0f} streamed, {found['memory']:.0f} from memory"
        print(f"\nsegments a second: {speeds}: {found['ratio']:.2f}x")


if __name__ == "__main__":
    main()
