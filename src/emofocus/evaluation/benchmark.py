"""Benchmark: speed, latency, memory and start of a model on this machine, on one core: `emofocus bench`."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import Waveform
from emofocus.errors import ConfigError
from emofocus.recognition.bulk import recognize_together
from emofocus.recognition.engine import PRECISION_FILES
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer, model_folder
from emofocus.recognition.streaming import STREAM_HOP, StreamingRecognizer
from emofocus.utils.atomic import write_text
from emofocus.utils.file_formats import suffix_of
from emofocus.utils.markdown import table
from emofocus.utils.progress import log_line

BATCH = 32
CHUNK_SECONDS = 0.02
LISTEN_SECONDS = 10.0

FORMATS = (".md", ".json")

# A small process starts the measured one, because a child's peak memory includes that of the process that forked it.
WATCHER = """
import subprocess, sys, time
began = time.perf_counter()
main = "from emofocus.cli.main import main; main()"
subprocess.run([sys.executable, "-c", main, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
spent = time.perf_counter() - began
try:
    import resource
    print(spent, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
except ImportError:
    print(spent, "nan")
"""

HEAD = (
    "precision",
    "MB",
    "one by one, × real time",
    f"batches of {BATCH}, × real time",
    "event, median ms",
    "99 % ms",
    "streams: share of a core",
    "start, s",
    "memory, MB",
)


class Speed(NamedTuple):
    """Speed of one precision on one core.

    Attributes:
        precision: Key of `PRECISION_FILES`.
        size: Size of its file in MB.
        single: Seconds of audio recognized per second, clip by clip.
        batch: Seconds of audio recognized per second, in batches of `BATCH`.
        median: Median milliseconds from the last sample of a stream's hop to its event.
        worst: 99th percentile of these milliseconds.
        streams: Share of the core that the live streams take; above 1 they fall behind.
        start: Seconds of a whole process of `emofocus predict` for one clip.
        memory: Peak memory of this process in MB; None where the system does not report it.
    """

    precision: str
    size: float
    single: float
    batch: float
    median: float
    worst: float
    streams: float
    start: float
    memory: float | None


def bench_model(
    model: str | None = None,
    precisions: Sequence[str] = (),
    device: str = "auto",
    seconds: float = 3.7,
    streams: int = 8,
    rounds: int = 3,
    out: Path | None = None,
) -> list[Speed]:
    """Measure all precisions of a model in turns, so that other load hits all alike, and take medians over rounds.

    Clips are noise, since their content does not change the time.

    Args:
        model: Model as in `Recognizer.from_pretrained`.
        precisions: Precisions to measure; all of the model's by default.
        device: Device as in `RecognitionOptions`.
        seconds: Length of a clip.
        streams: Number of simultaneous live streams.
        rounds: Number of measurements of each precision.
        out: File to write, one of `FORMATS`; printed if None.

    Raises:
        ConfigError: A precision or format is unknown, or clips have no length.
        ModelError: The model lacks a precision.
    """
    if out is not None:
        suffix_of(out, FORMATS)
    if not seconds > 0:
        raise ConfigError(f"clips of {seconds:g} s cannot be recognized (valid: above 0)")
    folder = model_folder(model)
    chosen = list(precisions) or [name for name, file in PRECISION_FILES.items() if (folder / file).is_file()]
    recognizers = {
        name: Recognizer.load(model, RecognitionOptions(threads=1, precision=name, device=device)) for name in chosen
    }
    ready = {name: (recognizer, recognizer.for_stream(STREAM_HOP)) for name, recognizer in recognizers.items()}
    clips = list(np.random.default_rng(0).normal(0, 0.1, (BATCH, round(seconds * SAMPLING_RATE))).astype(np.float32))
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in chosen}
    for number in range(rounds + 1):
        log_line(f"round {number} of {rounds}" if number else "warming up")
        for name, (recognizer, live) in ready.items():
            row = (
                _real_time(recognizer, [[clip] for clip in clips[:4]]),
                _real_time(recognizer, [clips]),
                *_latencies(live, 1)[:2],
                _latencies(live, streams)[2],
                *_whole_process(model, name, device, clips[0]),
            )
            if number:  # the first round warms up
                taken[name].append(row)
    speeds = []
    for name, rows in taken.items():
        figures: list[Any] = [statistics.median(column) for column in zip(*rows, strict=True)]
        figures[-1] = None if np.isnan(figures[-1]) else figures[-1]
        speeds.append(Speed(name, (folder / PRECISION_FILES[name]).stat().st_size / 1e6, *figures))
    _write(speeds, out)
    return speeds


def _real_time(recognizer: Recognizer, batches: Sequence[list[Waveform]]) -> float:
    """Seconds of audio recognized per second."""
    began = time.perf_counter()
    for batch in batches:
        recognize_together(recognizer, batch)
    seconds = sum(len(clip) for batch in batches for clip in batch) / SAMPLING_RATE
    return seconds / (time.perf_counter() - began)


def _latencies(recognizer: Recognizer, count: int) -> tuple[float, float, float]:
    """Milliseconds from a hop's last sample to its event (median, 99th percentile), and the share of the core."""
    streams = [StreamingRecognizer(recognizer) for _ in range(count)]
    waveform = np.random.default_rng(1).normal(0, 0.1, round(LISTEN_SECONDS * SAMPLING_RATE)).astype(np.float32)
    chunk = round(CHUNK_SECONDS * SAMPLING_RATE)
    taken, began = [], time.perf_counter()
    for start in range(0, len(waveform), chunk):
        for stream in streams:
            before = time.perf_counter()
            if stream.feed(waveform[start : start + chunk]):
                taken.append(1000 * (time.perf_counter() - before))
    share = (time.perf_counter() - began) / LISTEN_SECONDS
    median, worst = np.quantile(taken, [0.5, 0.99])
    return float(median), float(worst), share


def _whole_process(model: str | None, precision: str, device: str, clip: Waveform) -> tuple[float, float]:
    """Seconds and peak memory in MB of a process of `emofocus predict` for one clip; NaN if unknown."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        soundfile.write(path, clip, SAMPLING_RATE)
        arguments = ["predict", str(path), "--precision", precision, "--device", device]
        if model is not None:
            arguments += ["--model", model]
        return watched(arguments)


def watched(arguments: Sequence[str]) -> tuple[float, float]:
    """Run emofocus as a separate process.

    Returns:
        Its seconds, and its peak memory in MB, NaN if unknown.
    """
    done = subprocess.run([sys.executable, "-c", WATCHER, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    spent, peak = map(float, done.stdout.split())
    return spent, peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes on macOS, kilobytes elsewhere


def _write(speeds: Sequence[Speed], out: Path | None) -> None:
    if out is not None and suffix_of(out, FORMATS) == ".json":
        write_text(out, json.dumps([item._asdict() for item in speeds], indent=1) + "\n")
        return
    if out is None:
        _print(speeds)
    else:
        write_text(out, table(HEAD, map(_cells, speeds), right=1))


def _print(speeds: Sequence[Speed]) -> None:
    """Print a table with a column for each precision, which fits into a narrow terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, title="on one core of this machine")
    head, *rows = zip(HEAD, *map(_cells, speeds), strict=True)
    for number, name in enumerate(head):
        shown.add_column(name, justify="right" if number else "left")
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)


def _cells(item: Speed) -> list[str]:
    return [
        item.precision,
        f"{item.size:.1f}",
        f"{item.single:.0f}",
        f"{item.batch:.0f}",
        f"{item.median:.1f}",
        f"{item.worst:.1f}",
        f"{item.streams:.0%}",
        f"{item.start:.2f}",
        "–" if item.memory is None else f"{item.memory:.0f}",
    ]
