"""MFCC of one clip on one core: ours against librosa's, in turn, in one run.

Run: ``python benchmarks/mfcc.py`` for noise and tones, ``python benchmarks/mfcc.py --clips FOLDER`` for real audio.
Prints the median of each and of their ratio over rounds of calls. Both give 40 coefficients of 128 mels, 25 ms windows
every 10 ms; `tests/features/test_front_end.py` holds them equal within 1e-3.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import torch

from emofocus import audio
from emofocus.config import FeatureSettings
from emofocus.features.front_end import MFCC

SECONDS = (0.5, 1.0, 2.0, 2.8, 3.7, 5.0, 10.0, 60.0)
"""A segment; short clips; the mean clips of EmoDB (2.8 s) and RAVDESS (3.7 s); longer ones."""

CLIPS = 100
"""Files of a folder that are timed, evenly spread in the order of their names."""

ROUNDS, REPEATS = 9, 30
CLIP_ROUNDS, CLIP_REPEATS = 4, 20


def per_call(function: Callable[[], object], repeats: int) -> float:
    """Milliseconds of one call among many, as when a corpus is read."""
    started = time.perf_counter()
    for _ in range(repeats):
        function()
    return 1e3 * (time.perf_counter() - started) / repeats


def compare(ours: MFCC, waveform: np.ndarray, rounds: int, repeats: int) -> tuple[float, float, float]:
    """Median milliseconds of ours and of librosa, and the median of their ratio, over rounds that take turns."""
    batch = torch.from_numpy(waveform)[None]
    times = [
        (per_call(lambda: ours(batch), repeats), per_call(lambda: reference(waveform), repeats)) for _ in range(rounds)
    ]
    times = times[1:]  # the first warms up
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return mine, theirs, statistics.median(b / a for a, b in times)


def synthetic(ours: MFCC) -> None:
    """A Markdown table of noise and of tones, whose frames all need a second transform."""
    generator = np.random.default_rng(0)
    print("| sound | seconds | emofocus, ms | librosa, ms | ratio |\n|---|---|---|---|---|")
    for name in ("noise", "tone"):
        for seconds in SECONDS:
            times = np.arange(int(seconds * 16_000)) / 16_000
            waveform = generator.normal(0, 0.1, len(times)) if name == "noise" else 0.5 * np.sin(2_000 * np.pi * times)
            mine, theirs, ratio = compare(ours, waveform.astype(np.float32), ROUNDS, REPEATS)
            print(f"| {name} | {seconds} | {mine:.3f} | {theirs:.3f} | {ratio:.1f} |", flush=True)


def real(ours: MFCC, folder: Path) -> None:
    """One line on the clips of a folder."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in audio.EXTENSIONS)
    clips = [audio.load(file) for file in files[:: -(-len(files) // CLIPS)]]
    seconds = statistics.mean(len(clip) for clip in clips) / 16_000
    ratios = sorted(compare(ours, clip, CLIP_ROUNDS, CLIP_REPEATS)[2] for clip in clips)
    low, median, high = (ratios[int(share * (len(ratios) - 1))] for share in (0.1, 0.5, 0.9))
    print(
        f"{len(clips)} clips of {seconds:.1f} s on average: ratio {median:.1f}, for eight of ten {low:.1f} … {high:.1f}"
    )


def main() -> None:
    """Compare on one core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, metavar="FOLDER", help="time audio files of this folder instead")
    folder = parser.parse_args().clips
    torch.set_num_threads(1)
    ours = MFCC(FeatureSettings()).eval()
    if folder is None:
        synthetic(ours)
    else:
        real(ours, folder)


def reference(waveform: np.ndarray) -> np.ndarray:
    """What a user of librosa calls."""
    return librosa.feature.mfcc(
        y=waveform, sr=16_000, n_mfcc=40, n_fft=400, hop_length=160, n_mels=128, pad_mode="constant"
    )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
