"""MFCC of one clip on one core: ours against librosa's, in turn, in one run.

Run: ``python benchmarks/mfcc.py``. Prints the median of each and of their ratio over rounds of calls. Both give 40
coefficients of 128 mels, 25 ms windows every 10 ms; `tests/test_features.py` holds them equal within 1e-3.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable

import librosa
import numpy as np
import torch

from emofocus.config import FeatureSettings
from emofocus.features import MFCC

SECONDS = (0.5, 1.0, 2.0, 2.8, 3.7, 5.0, 10.0, 60.0)
"""A segment; short clips; the mean clips of EmoDB (2.8 s) and RAVDESS (3.7 s); longer ones."""


ROUNDS, REPEATS = 9, 30


def per_call(function: Callable[[], object]) -> float:
    """Milliseconds of one call among many, as when a corpus is read."""
    started = time.perf_counter()
    for _ in range(REPEATS):
        function()
    return 1e3 * (time.perf_counter() - started) / REPEATS


def main() -> None:
    """Print a Markdown table."""
    torch.set_num_threads(1)
    ours = MFCC(FeatureSettings()).eval()
    generator = np.random.default_rng(0)
    print("| seconds | emofocus, ms | librosa, ms | ratio |\n|---|---|---|---|")
    for seconds in SECONDS:
        waveform = generator.normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)
        batch = torch.from_numpy(waveform)[None]
        rounds = [
            (per_call(lambda x=batch: ours(x)), per_call(lambda x=waveform: reference(x))) for _ in range(ROUNDS)
        ][1:]
        mine, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
        ratio = statistics.median(b / a for a, b in rounds)
        print(f"| {seconds} | {mine:.3f} | {theirs:.3f} | {ratio:.1f} |", flush=True)


def reference(waveform: np.ndarray) -> np.ndarray:
    """What a user of librosa calls."""
    return librosa.feature.mfcc(
        y=waveform, sr=16_000, n_mfcc=40, n_fft=400, hop_length=160, n_mels=128, pad_mode="constant"
    )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
