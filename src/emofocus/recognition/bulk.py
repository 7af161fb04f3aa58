"""Many clips through one model: decoded and recognized in parallel, several clips in a batch, in the order given."""

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
"""Clips decoded and recognized as one piece of work. They are cut at fixed places of the input, so that a clip has the
same company, and the same bits, whatever was done before."""

LONGEST_SECONDS = 30.0
"""Of a clip in a batch; longer ones are recognized by themselves, block by block."""

MANIFESTS = (".csv", ".jsonl")
"""Lists of clips: a column, or key, `file`, and where a clip is a part of it `start` and `end` in seconds."""


@dataclass(frozen=True, slots=True)
class Item:
    """One clip to recognize: a file, or a part of it.

    Attributes:
        name: How results call it.
        path: The file.
        start: Where the part begins, in seconds; None for the file's beginning.
        end: Where it ends; None for the file's end.
    """

    name: str
    path: Path
    start: float | None = None
    end: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from other items."""
        return self.name, seconds(self.start), seconds(self.end)


Result = tuple[Item, Prediction | AudioError]


def seconds(value: float | None) -> str:
    """A time as tables spell it."""
    return "" if value is None else f"{value:g}"


def items_of(paths: Sequence[Path], report: Callable[[AudioError], None]) -> Iterator[Item]:
    """Files, the audio files of folders, and what manifests name.

    Args:
        paths: Of all three kinds.
        report: Is told of a path that gives none.

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
    """Clips that a manifest names; files are relative to its folder.

    Raises:
        ConfigError: No such column or key, or a time that is none; the message names the line.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        for name, start, end in entries_of(stream, str(path)):
            yield Item(name, path.parent / name, start, end)


def entries_of(stream: TextIO, source: str) -> Iterator[tuple[str, float | None, float | None]]:
    """File, start and end of each entry of a manifest that is open.

    Args:
        stream: Its text.
        source: Its name, whose ending tells which kind it is.

    Raises:
        ConfigError: As above.
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
) -> Iterator[list[Result]]:
    """Recognize clips in parallel, and give the results of each batch, in order.

    Args:
        recognizer: Its engine should have one thread when there are several workers.
        items: Taken a little ahead of the results.
        workers: Threads; as many as there are cores by default.
        batch: Clips recognized together.
        done: Which clips have been recognized before: a batch of them alone is passed over.
    """
    count = workers or os.cpu_count() or 1
    batches = (group for group in batched(items, batch) if not all(map(done, group)))
    yield from map_ahead(partial(recognize_batch, recognizer), batches, count, ahead=2 * count)


def batched(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Consecutive items, ``size`` at a time; the last ones may be fewer."""
    source = iter(items)
    while group := tuple(islice(source, size)):
        yield group


def recognize_batch(recognizer: Recognizer, items: Sequence[Item]) -> list[Result]:
    """Recognize some clips together."""
    found: dict[int, Prediction | AudioError] = {}
    short: dict[int, Waveform] = {}
    for number, item in enumerate(items):
        try:
            waveform = _load(item)
            if waveform is None:
                found[number] = recognizer(str(item.path))
            else:
                short[number] = waveform
        except AudioError as error:
            found[number] = error
    found |= dict(zip(short, recognize_together(recognizer, list(short.values())), strict=True))
    return [(item, found[number]) for number, item in enumerate(items)]


def _load(item: Item) -> Waveform | None:
    """A clip's samples, or None if it is too long to be held."""
    if item.start is not None or item.end is not None:
        return audio.load(item.path, item.start, item.end)
    blocks, samples = [], 0
    for block in audio.stream(item.path):
        blocks.append(block)
        samples += len(block)
        if samples > LONGEST_SECONDS * SAMPLING_RATE:
            return None
    waveform = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    audio.check(waveform, str(item.path))
    return waveform


def recognize_together(recognizer: Recognizer, waveforms: Sequence[Waveform]) -> list[Prediction]:
    """Recognize waveforms in batches of as many as the engine likes, of similar lengths, so that little is padding.

    Those that fill no segment are recognized one by one.
    """
    engine = recognizer.engine
    order = sorted(range(len(waveforms)), key=lambda number: len(waveforms[number]))
    short = sum(len(waveform) < engine.whole for waveform in waveforms)
    groups = [[number] for number in order[:short]]
    groups += [order[start : start + engine.batch] for start in range(short, len(order), engine.batch)]
    found: dict[int, Prediction] = {}
    for group in groups:
        predictions = recognizer.scorer.score_batch([waveforms[number] for number in group])
        found |= dict(zip(group, predictions, strict=True))
    return [found[number] for number in range(len(waveforms))]
