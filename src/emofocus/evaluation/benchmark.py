"""Benchmark: speed, latency, memory and start of models on this machine, on one core: `emofocus bench`."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import Waveform
from emofocus.errors import ConfigError
from emofocus.evaluation.other_systems import SINGLE_CLIPS, KnownAccuracy, OtherSystem, other_systems
from emofocus.evaluation.report.formatting import NONE
from emofocus.evaluation.results import read_results
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
    "model",
    "precision",
    "MB",
    "one by one, × real time",
    f"batches of {BATCH}, × real time",
    "event, median ms",
    "99 % ms",
    "streams: share of a core",
    "start, s",
    "memory, MB",
    "UA %",
    "UA of",
    "points of UA, for a ms a second of speech",
    "for a MB",
)
NOTE = "\nUA was measured in float32, and not in this run; of networks with random weights it is the published one.\n"


class Speed(NamedTuple):
    """Speed of one precision of a model on one core; None where a figure is not measured.

    Attributes:
        model: Name of the model.
        precision: Key of `PRECISION_FILES`; of other systems, what runs them.
        size: Size of its file in MB; None without weights.
        single: Seconds of audio recognized per second, clip by clip.
        batch: Seconds of audio recognized per second, in batches of `BATCH`.
        median: Median milliseconds from the last sample of a stream's hop to its event.
        worst: 99th percentile of these milliseconds.
        streams: Share of the core that the live streams take; above 1 they fall behind.
        start: Seconds of a whole process of `emofocus predict` for one clip.
        memory: Peak memory of this process in MB; None where the system does not report it.
        ua: UA in percent, as it was measured or published before.
        measured_on: Corpus and protocol of that UA.
    """

    model: str
    precision: str
    size: float | None
    single: float
    batch: float | None = None
    median: float | None = None
    worst: float | None = None
    streams: float | None = None
    start: float | None = None
    memory: float | None = None
    ua: float | None = None
    measured_on: str = ""

    @property
    def points_for_time(self) -> float | None:
        """Points of UA for each millisecond that a second of speech takes."""
        return None if self.ua is None else self.ua * self.single / 1000

    @property
    def points_for_size(self) -> float | None:
        """Points of UA for each megabyte."""
        return None if self.ua is None or self.size is None else self.ua / self.size


@dataclass(frozen=True)
class _Subject:
    """One row in the making.

    Attributes:
        row: The row, without figures of speed.
        measure: Function that takes clips, and measures all columns of speed that it can, in their order.
    """

    row: Speed
    measure: Callable[[list[Waveform]], tuple[float, ...]]


def bench_models(
    models: Sequence[str | None] = (None,),
    precisions: Sequence[str] = (),
    device: str = "auto",
    seconds: float = 3.7,
    streams: int = 8,
    rounds: int = 3,
    out: Path | None = None,
    results: Path | None = None,
    beside: bool = False,
) -> list[Speed]:
    """Measure all precisions of models in turns, so that other load hits all alike, and take medians over rounds.

    Clips are noise, since their content does not change the time.

    Args:
        models: Models as in `Recognizer.from_pretrained`.
        precisions: Precisions to measure; all of each model's by default.
        device: Device as in `RecognitionOptions`.
        seconds: Length of a clip.
        streams: Number of simultaneous live streams.
        rounds: Number of measurements of each precision.
        out: File to write, one of `FORMATS`; printed if None.
        results: Folder of results whose means are the models' UA; by default that of the model's own test part.
        beside: Whether systems that users may pick instead are measured, too, clip by clip.

    Raises:
        ConfigError: A precision or format is unknown, or clips have no length.
        ModelError: A model lacks a precision.
        MissingExtraError: ``beside`` needs a package that is not installed.
    """
    if out is not None:
        suffix_of(out, FORMATS)
    if not seconds > 0:
        raise ConfigError(f"clips of {seconds:g} s cannot be recognized (valid: above 0)")
    known = KnownAccuracy(read_results(results) if results else ())
    subjects = [item for model in models for item in _subjects(model, precisions, device, streams, known)]
    if beside:
        task = next((known.task_of(model_folder(model)) for model in models), None)
        subjects += map(_other_subject, other_systems(task))
    clips = list(np.random.default_rng(0).normal(0, 0.1, (BATCH, round(seconds * SAMPLING_RATE))).astype(np.float32))
    taken: list[list[tuple[float, ...]]] = [[] for _ in subjects]
    for number in range(rounds + 1):
        log_line(f"round {number} of {rounds}" if number else "warming up")
        for rows, subject in zip(taken, subjects, strict=True):
            row = subject.measure(clips)
            if number:  # the first round warms up
                rows.append(row)
    speeds = [_with_medians(subject.row, rows) for subject, rows in zip(subjects, taken, strict=True)]
    _write(speeds, out)
    return speeds


def _subjects(
    model: str | None, precisions: Sequence[str], device: str, streams: int, known: KnownAccuracy
) -> Iterator[_Subject]:
    """Precisions of a model."""
    folder = model_folder(model)
    ua, measured_on = known.of(folder)
    for name in list(precisions) or [name for name, file in PRECISION_FILES.items() if (folder / file).is_file()]:
        options = RecognitionOptions(threads=1, precision=name, device=device)
        recognizer = Recognizer.load(model, options)
        label, size = "shipped" if model is None else folder.name, (folder / PRECISION_FILES[name]).stat().st_size / 1e6
        row = Speed(label, name, size, 0.0, ua=ua, measured_on=measured_on)
        yield _Subject(row, partial(_speeds, recognizer, recognizer.for_stream(STREAM_HOP), streams, model, options))


def _other_subject(item: OtherSystem) -> _Subject:
    row = Speed(item.name, item.kind, item.size, 0.0, ua=item.ua, measured_on=item.measured_on)
    return _Subject(row, item.measure)


def _speeds(
    recognizer: Recognizer,
    live: Recognizer,
    streams: int,
    model: str | None,
    options: RecognitionOptions,
    clips: list[Waveform],
) -> tuple[float, ...]:
    """Figures of `Speed` from `single` to `memory`."""
    return (
        _real_time(recognizer, [[clip] for clip in clips[:SINGLE_CLIPS]]),
        _real_time(recognizer, [clips]),
        *_latencies(live, 1)[:2],
        _latencies(live, streams)[2],
        *_whole_process(model, options.precision, options.device, clips[0]),
    )


def _with_medians(row: Speed, rows: Sequence[tuple[float, ...]]) -> Speed:
    """A row with the medians of some rounds."""
    figures = [statistics.median(column) for column in zip(*rows, strict=True)]
    names = Speed._fields[3 : 3 + len(figures)]
    measured: dict[str, Any] = {n: None if np.isnan(item) else item for n, item in zip(names, figures, strict=True)}
    return row._replace(**measured)


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
    if out is not None and out.suffix == ".json":
        write_text(out, json.dumps([item._asdict() for item in speeds], indent=1) + "\n")
        return
    note = NOTE if any(item.ua is not None for item in speeds) else ""
    if out is None:
        _print(speeds, note)
    else:
        write_text(out, table(HEAD, map(_cells, speeds), right=2) + note)


def _print(speeds: Sequence[Speed], note: str) -> None:
    """Print a table with a column for each model and precision, which fits into a narrow terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, title="on one core of this machine")
    models, precisions, *rows = zip(HEAD, *map(_cells, speeds), strict=True)
    for number, (model, precision) in enumerate(zip(models, precisions, strict=True)):
        shown.add_column(f"{model}\n{precision}", justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
    print(note, end="")


def _cells(item: Speed) -> list[str]:
    def cell(value: float | None, form: str) -> str:
        return NONE if value is None else format(value, form)

    return [
        item.model,
        item.precision,
        cell(item.size, ".1f"),
        f"{item.single:.0f}",
        cell(item.batch, ".0f"),
        cell(item.median, ".1f"),
        cell(item.worst, ".1f"),
        cell(item.streams, ".0%"),
        cell(item.start, ".2f"),
        cell(item.memory, ".0f"),
        cell(item.ua, ".1f"),
        item.measured_on or NONE,
        cell(item.points_for_time, ".1f"),
        cell(item.points_for_size, ".2f"),
    ]
