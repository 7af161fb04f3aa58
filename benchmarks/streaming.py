"""Latency of streams on one core: from the last sample of a hop to its event, for one stream and for several.

Run: ``python benchmarks/streaming.py [--seconds S] [--streams N]``. Noise in chunks of 20 ms, one thread, as fast as it
goes; a stream falls behind where a hop's work takes longer than the hop. Prints Markdown.
"""

import argparse
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from emofocus import Recognizer, StreamingRecognizer

RATE, CHUNK, HOP = 16_000, 320, 0.1


def latencies(streams: list[StreamingRecognizer], seconds: float) -> tuple[np.ndarray, float]:
    """Milliseconds of each feed that gave an event, and the share of real time that all streams took."""
    generator = np.random.default_rng(0)
    waveforms = generator.normal(0, 0.1, (len(streams), round(seconds * RATE))).astype(np.float32)
    taken, began = [], time.perf_counter()
    for start in range(0, waveforms.shape[1], CHUNK):
        for stream, waveform in zip(streams, waveforms, strict=True):
            before = time.perf_counter()
            if stream.feed(waveform[start : start + CHUNK]):
                taken.append(1000 * (time.perf_counter() - before))
    return np.array(taken), (time.perf_counter() - began) / seconds


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--streams", type=int, default=8)
    arguments = parser.parse_args()
    recognizer = Recognizer.from_pretrained(threads=1, hop=HOP)
    latencies([StreamingRecognizer(recognizer)], 5)
    print("| streams | events | median, ms | 99 %, ms | of one core |\n|---:|---:|---:|---:|---:|")
    for count in (1, arguments.streams):
        taken, share = latencies([StreamingRecognizer(recognizer) for _ in range(count)], arguments.seconds)
        middle, worst = np.quantile(taken, [0.5, 0.99])
        print(f"| {count} | {len(taken)} | {middle:.1f} | {worst:.1f} | {share:.0%} |")


if __name__ == "__main__":
    main()
