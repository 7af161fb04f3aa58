"""Models on small encoders beside large ones, in one run on one core: what a second of speech costs.

Run: ``python benchmarks/encoders.py MODEL_DIRECTORY … [--rounds 5]``; needs the extra ``encoders``. The shipped model
and each model directory run as they do in `emofocus predict`, in each precision that they have. wav2vec2-base,
HuBERT-base and WavLM-base run in torch, without a classifier, with random weights of the published shape: weights make
no difference to the time. All take turns. Prints Markdown: megabytes, and seconds of speech for a second of processor
time, median of the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from emofocus.recognition.engine import PRECISION_FILES, Engine
from emofocus.recognition.recognizer import model_folder

RATE, SECONDS = 16_000, 3.7
NAMES = {"wav2vec2-base": "Wav2Vec2", "HuBERT-base": "Hubert", "WavLM-base": "WavLM"}


def large(name: str) -> tuple[float, Callable[[np.ndarray], object]]:
    """Megabytes in float32, and a run of a network of transformers with the shape that its config has by default."""
    import transformers

    network = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")()).eval()
    size = sum(item.numel() for item in network.parameters()) * 4 / 1e6

    def run(clip: np.ndarray) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(clip[None]))

    return size, run


def ours(path: Path) -> tuple[float, Callable[[np.ndarray], object]]:
    """Megabytes, and a run of a graph."""
    engine = Engine(path, threads=1)
    return path.stat().st_size / 1e6, lambda clip: engine.run(clip[None], np.array([len(clip)]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    subjects = {
        f"{label}, {precision}": ours(folder / file)
        for label, folder in [("shipped", model_folder(None)), *((item.name, item) for item in given.models)]
        for precision, file in PRECISION_FILES.items()
        if (folder / file).is_file()
    }
    subjects |= {f"{name}, torch fp32": large(kind) for name, kind in NAMES.items()}
    clip = np.random.default_rng(0).normal(0, 0.1, round(SECONDS * RATE)).astype(np.float32)
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(given.rounds + 1):  # the first warms up
        for name, (_, run) in subjects.items():
            began = time.process_time()
            run(clip)
            taken[name].append(time.process_time() - began)
    slowest = statistics.median(taken["wav2vec2-base, torch fp32"][1:])
    print("| model | MB | × real time | × wav2vec2-base |\n|---|---:|---:|---:|")
    for name, (size, _) in subjects.items():
        median = statistics.median(taken[name][1:])
        print(f"| {name} | {size:.1f} | {SECONDS / median:.0f} | {slowest / median:.1f} |")


if __name__ == "__main__":
    main()
