"""Training steps a second on one GPU: several processes side by side, with CUDA graphs and without.

Run: ``python benchmarks/gpu_training.py``, once as it is and once under NVIDIA's multi-process service
(``nvidia-cuda-mps-control -d``). Each process trains on noise as ``emofocus crossval --accelerator gpu --precision
bf16-mixed`` trains on speech, with order, augmentation, optimizer and checkpoints, but without validation, for the same
seconds. Prints a process' mean step, and the steps a second of all.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from emofocus.config import Recipe, load_recipe
from emofocus.data.datasets import Batch, SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.models import build
from emofocus.training import loop as training
from emofocus.training.augmentation import Mixed
from emofocus.training.fabric import make_fabric
from emofocus.training.options import FabricOptions

CLASSES = tuple(map(str, range(8)))
UTTERANCES, FRAMES = 600, 300


class EnoughError(Exception):
    """The time is over."""


def child(model: str, recipe_name: str, graphs: bool, seconds: float, start: float) -> None:
    """Print the steps made from ``start`` (of the clock) on, and the time that they took."""
    _, recipe = load_recipe(recipe_name, epochs=100_000)
    if not graphs:
        training.logits_of = lambda model, *_: lambda x, lengths: model(x, lengths).logits
    torch.manual_seed(0)
    network = build(recipe.config(model, CLASSES))
    generator = np.random.default_rng(0)
    size = len(network.normalize.mean)
    items = [
        Speech(generator.normal(size=(FRAMES, size)).astype(np.float32), np.zeros(FRAMES, np.float32))
        for _ in range(UTTERANCES)
    ]
    part = SegmentDataset(items, np.arange(UTTERANCES) % len(CLASSES), recipe.segment)
    times: list[float] = []
    augment = training.augment  # once a step

    def counted(batch: Batch, recipe: Recipe) -> Mixed:
        now = time.time()
        if now > start:
            times.append(now)
        if now > start + seconds:
            raise EnoughError
        return augment(batch, recipe)

    training.augment = counted
    fabric = make_fabric(FabricOptions(accelerator="gpu", precision="bf16-mixed", threads=1))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(EnoughError):
        training.fit(network, part, None, recipe, 0, Path(folder), fabric)
    if len(times) < 2:
        raise SystemExit("the first step came too late; give it more --warm-up")
    print(len(times) - 1, times[-1] - times[0])


def measure(
    model: str, recipe: str, graphs: bool, processes: int, seconds: float, warm_up: float
) -> tuple[float, float]:
    """Seconds of a process' step, and steps a second of all."""
    start = time.time() + warm_up + 0.5 * processes  # by then, all are in their steps
    command = [sys.executable, __file__, "--child", model, recipe, str(int(graphs)), str(seconds), str(start)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    rates = []
    for process in running:
        out, errors = process.communicate()
        if process.returncode:
            raise SystemExit(errors[-2000:])
        steps, taken = out.split()[-2:]
        rates.append(int(steps) / float(taken))
    return processes / sum(rates), sum(rates)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mhsa-faca")
    parser.add_argument("--recipe", default="paper")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--warm-up", type=float, default=12.0, help="seconds before, and half of one for each process")
    parser.add_argument("--ways", nargs="+", choices=("plain", "graphs"), default=["plain", "graphs"])
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        model, recipe, graphs, seconds, start = arguments.child
        child(model, recipe, graphs == "1", float(seconds), float(start))
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {arguments.model}, {arguments.recipe}\n")
    print("| processes | steps | a step of one, ms | steps a second, all |\n|---|---|---|---|")
    for processes in arguments.processes:
        for way in arguments.ways:
            what = (arguments.model, arguments.recipe, way == "graphs", processes)
            taken, rate = measure(*what, arguments.seconds, arguments.warm_up)
            print(f"| {processes} | {way} | {1e3 * taken:.2f} | {rate:.0f} |", flush=True)


if __name__ == "__main__":
    main()
