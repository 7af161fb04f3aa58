"""One training step of each network, with glibc's allocator as it is and as the training commands set it.

Run: ``python benchmarks/freed_memory.py [MODEL…]``. Each setting is a process of its own, in turns; one thread; the
ratio is that of the fastest steps. Linux with glibc alone: elsewhere both are the same.
"""

import argparse
import resource
import subprocess
import sys

import torch
from training_step import seconds, step_of

from emofocus.features.front_end import FrontEnd
from emofocus.models import MODELS, build
from emofocus.training.fabric import keep_freed_memory
from emofocus.training.setup import recipe_of

SECONDS, ROUNDS = 2.3, 3
"""Speech that is left of an utterance of RAVDESS; steps of each process, after a first one that is not timed."""


def child(model: str, keep: bool) -> None:
    """Print the seconds of the fastest step, and the megabytes of memory that were used at most."""
    torch.set_num_threads(1)
    if keep:
        keep_freed_memory()
    _, recipe = recipe_of(model, "paper", None)
    config = recipe.config(model, tuple("abcdefgh"))
    frames, _ = FrontEnd(config.features)(torch.randn(1, int(SECONDS * config.features.sampling_rate)))
    count, size = min(frames.shape[1], config.segment.frames), frames.shape[2]
    network = build(config).train()
    step = step_of(lambda x: network(x).logits, network, (recipe.batch_size, count, size))
    step()
    print(min(seconds(step) for _ in range(ROUNDS)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measured(model: str, keep: bool) -> tuple[float, float]:
    """Seconds and megabytes of a process of its own."""
    command = [sys.executable, __file__, "--child", "keep" if keep else "plain", model]
    taken, megabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(taken), float(megabytes)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--child", choices=("keep", "plain"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.models[0], arguments.child == "keep")
        return
    print("| network | as it is, s | kept, s | ratio | memory, MB |\n|---|---:|---:|---:|---:|")
    for model in arguments.models or MODELS:
        plain, kept = [], []
        for _ in range(2):
            plain.append(measured(model, False))
            kept.append(measured(model, True))
        before, after = min(plain), min(kept)
        print(
            f"| `{model}` | {before[0]:.2f} | {after[0]:.2f} | {before[0] / after[0]:.2f} "
            f"| {before[1]:.0f} → {after[1]:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
