"""Recognition of many clips: decoded and scored in parallel, several clips in a batch, in the order given."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from emofocus import audio
from emofocus.audio.loading import SAMPLING_RATE, Waveform
from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.lookahead import map_ahead

BATCH = 8
"""Clips that are decoded and scored together. Batches begin at fixed positions of the input: a clip is always scored
with the same others, and has the same bits, even when an interrupted run goes on."""

LONGEST_SECONDS = 30.0
"""Longest clip of a batch; longer clips are scored alone, block by block."""

MANIFESTS = (".csv", ".jsonl")
"""Suffixes of lists of clips: a column, or key, `file`, and for parts of files `start` and `end` in seconds."""


@dataclass(frozen=True, slots=True)
class Item:
    """One clip to recognize: a file, or a part of it.

    Attributes:
        name: Name of the clip in results.
        path: The audio file.
        start: Start of the part in seconds; None for the start of the file.
        end: End of the part in seconds; None for the end of the file.
    """

    name: str
    path: Path
    start: float | None = None
    end: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Identity of the clip: its name, start and end as tables spell them."""
        return self.name, seconds(self.start), seconds(self.end)


ClipResult = tuple[Item, Prediction | AudioError]
"""A clip, and its prediction or the reason why it has none."""


def seconds(value: float | None) -> str:
    """A time as tables spell it: seconds, or an empty text for none."""
    return "" if value is None else f"{value:g}"


def items_of(paths: Sequence[Path], report: Callable[[AudioError], None]) -> Iterator[Item]:
    """Clips of files, of the audio files in folders, and of manifests.

    Args:
        paths: Files, folders and manifests.
        report: Called with the error of a path that has no audio.

    Raises:
        ConfigError: A manifest cannot be read.
    """
    for path in paths:
        if path.suffix.lower() in MANIFESTS and path.is_file():
            yield from read_manifest(path)
            continue
        try:
            yield from (Item(str(file), file) for file in audio.find([path]))
        except AudioError as error:
            report(error)


def read_manifest(path: Path) -> Iterator[Item]:
    """Clips of a manifest; its files are relative to its folder.

    Raises:
        ConfigError: An entry names no file, or a time is no number; the message names the entry.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        for name, start, end in entries_of(stream, str(path)):
            yield Item(name, path.parent / name, start, end)


def entries_of(stream: TextIO, source: str) -> Iterator[tuple[str, float | None, float | None]]:
    """File, start and end of each entry of a manifest that is open.

    Args:
        stream: Text of the manifest.
        source: Name of the manifest, whose suffix is one of `MANIFESTS`.

    Raises:
        ConfigError: An entry names no file, or a time is no number; the message names the entry.
    """
    rows = csv.DictReader(stream) if source.lower().endswith(".csv") else map(json.loads, stream)
    try:
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, dict) or not row.get("file"):
                raise ConfigError(f"{source}: entry {number} names no file (it needs a column, or key, file)")
            start, end = (None if row.get(key) in (None, "") else float(row[key]) for key in ("start", "end"))
            yield str(row["file"]), start, end
    except (ValueError, UnicodeDecodeError) as error:  # JSON's errors are ValueErrors
        raise ConfigError(f"{source}: cannot be read as a list of clips ({error})") from error


def recognize(
    recognizer: Recognizer,
    items: Iterable[Item],
    workers: int | None = None,
    batch: int = BATCH,
    done: Callable[[Item], bool] = lambda _: False,
) -> Iterator[list[ClipResult]]:
    """Recognize clips in parallel, and give the results of each batch, in order.

    Args:
        recognizer: Loaded for one thread where there are several workers.
        items: Clips, which are taken at most two batches a worker ahead of the results.
        workers: Number of threads; by default as many as there are cores.
        batch: Clips scored together.
        done: Whether a clip has been recognized before. A batch of such clips alone is left out.
    """
    count = workers or os.cpu_count() or 1
    batches = (group for group in batched(items, batch) if not all(map(done, group)))
    yield from map_ahead(partial(recognize_batch, recognizer), batches, count, ahead=2 * count)


def batched(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Consecutive items, ``size`` at a time; the last ones may be fewer."""
    source = iter(items)
    while group := tuple(islice(source, size)):
        yield group


def recognize_batch(recognizer: Recognizer, items: Sequence[Item]) -> list[ClipResult]:
    """Recognize some clips together: the results, in order."""
    results: dict[int, Prediction | AudioError] = {}
    short: dict[int, Waveform] = {}
    notices: list[list[audio.Notice]] = [[] for _ in items]
    for number, item in enumerate(items):
        try:
            waveform = _load(item, recognizer.track, notices[number].append)
            if waveform is None:
                results[number] = recognizer(str(item.path))
            else:
                short[number] = waveform
        except AudioError as error:
            results[number] = error
    for number, prediction in zip(short, recognize_together(recognizer, list(short.values())), strict=True):
        results[number] = prediction.with_notices(notices[number])
    return [(item, results[number]) for number, item in enumerate(items)]


def _load(item: Item, track: int | None, warn: audio.Warn) -> Waveform | None:
    """Samples of a clip (T,), 16 kHz; None if it is longer than `LONGEST_SECONDS`."""
    if item.start is not None or item.end is not None:
        return audio.load(item.path, item.start, item.end, track, warn)
    blocks, samples = [], 0
    for block in audio.stream(item.path, track=track, warn=warn):
        blocks.append(block)
        samples += len(block)
        if samples > LONGEST_SECONDS * SAMPLING_RATE:
            return None
    waveform = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    audio.check(waveform, str(item.path))
    return waveform


def recognize_together(recognizer: Recognizer, waveforms: Sequence[Waveform]) -> list[Prediction]:
    """Recognize waveforms (T,), 16 kHz, in batches of similar lengths, so that little is padding.

    Waveforms that fill no segment are scored one by one.
    """
    engine, config = recognizer.engine, recognizer.config
    whole = (config.segment.frames - 1) * config.features.hop
    order = sorted(range(len(waveforms)), key=lambda number: len(waveforms[number]))
    short = sum(len(waveform) < whole for waveform in waveforms)
    groups = [[number] for number in order[:short]]
    groups += [order[start : start + engine.batch] for start in range(short, len(order), engine.batch)]
    results: dict[int, Prediction] = {}
    for group in groups:
        predictions = recognizer.scorer.score_batch([waveforms[number] for number in group])
        results |= dict(zip(group, predictions, strict=True))
    return [results[number] for number in range(len(waveforms))]
