"""Live speech on one core: how long after a hop's last sample its event is there.

Run: ``python benchmarks/live_latency.py MODEL_DIRECTORY … [--hop 0.25] [--precision int8] [--seconds 60]``. One stream
of noise, 20 ms at a time and as fast as it goes, so nothing waits for speech. Prints Markdown, a row for each precision
of each model: the hop in whole frames of the model, the window that an event is about, milliseconds in the median, at
99 % and at most, the same of the core's own time, which other work on the machine does not count in, and the share of
the core that the stream takes of that.
"""

import argparse
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.recognition.engine import PRECISION_FILES
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.streaming import STREAM_HOP, StreamingRecognizer

CHUNK = 320
"""Samples that are fed at a time, 20 ms."""


def delays(recognizer: Recognizer, waveform: np.ndarray) -> tuple[list[tuple[float, float]], float]:
    """Milliseconds of each chunk that brings an event, by the clock and of the core, and the core's seconds of all."""
    stream, taken, began = StreamingRecognizer(recognizer), [], time.thread_time()
    for start in range(0, len(waveform), CHUNK):
        before, own = time.perf_counter(), time.thread_time()
        if stream.feed(waveform[start : start + CHUNK]):
            taken.append((1000 * (time.perf_counter() - before), 1000 * (time.thread_time() - own)))
    return taken, time.thread_time() - began


def row(model: Path, precision: str, hop: float, seconds: float) -> str:
    """A row of the table."""
    options = RecognitionOptions(threads=1, precision=precision, device="cpu")
    recognizer = Recognizer.load(model, options).for_stream(hop)
    generator = np.random.default_rng(0)
    delays(recognizer, generator.normal(0, 0.1, 8 * SAMPLING_RATE).astype(np.float32))  # warms up
    taken, spent = delays(recognizer, generator.normal(0, 0.1, round(seconds * SAMPLING_RATE)).astype(np.float32))
    segment, frame = recognizer.config.segment, recognizer.config.features.hop / SAMPLING_RATE
    quantiles = np.quantile(np.array(taken), [0.5, 0.99, 1], axis=0).T  # by the clock, then of the core
    times = " | ".join(f"{value:.1f}" for value in quantiles.flatten())
    lengths = f"{segment.hop * frame:.3g} | {segment.frames * frame:.3g}"
    return f"| {model.name} | {precision} | {lengths} | {len(taken)} | {times} | {spent / seconds:.0%} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--hop", type=float, default=STREAM_HOP)
    parser.add_argument("--precision", action="append", choices=list(PRECISION_FILES), help="all that it has")
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    head = "model precision hop,_s window,_s events median,_ms 99_%,_ms most,_ms own_median,_ms own_99_% own_most share"
    names = [name.replace("_", " ") for name in head.split()]
    print(f"| {' | '.join(names)} |\n|---|---|{'---:|' * (len(names) - 2)}")
    for model in given.models:
        there = [name for name, file in PRECISION_FILES.items() if (model / file).is_file()]
        for precision in given.precision or there:
            print(row(model, precision, given.hop, given.seconds), flush=True)


if __name__ == "__main__":
    main()
