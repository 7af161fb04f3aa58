"""Recognition of many clips: decoded and scored in parallel, several clips in a batch, in the order given."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from emofocus import audio
from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import Waveform
from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.folder_tree import is_file
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.table_text import SUFFIXES, turned_path

BATCH = 8
"""Clips that are decoded and scored together. Batches begin at fixed positions of the input: a clip is always scored
with the same others, and has the same bits, even when an interrupted run goes on."""

LONGEST_SECONDS = 30.0
"""Longest clip of a batch; longer clips are scored alone, block by block."""

STANDARD_INPUT = Path("-")
"""The path that names the standard input."""

NO_VOICES: Mapping[str, Recognizer] = MappingProxyType({})
"""The recognizers of voices where clips are not adapted to their voices."""


class Channel(NamedTuple):
    """One channel of a file.

    Attributes:
        number: Its number, from 1.
        name: Its name in results.
    """

    number: int
    name: str

    @property
    def named(self) -> bool:
        """Whether it has a name of its own, and not its number's."""
        return self.name != str(self.number)


@dataclass(frozen=True, slots=True)
class Item:
    """One clip to recognize: a file, or a part of it.

    Attributes:
        name: Name of the clip in results.
        path: The audio file.
        start: Start of the part in seconds; None for the start of the file.
        end: End of the part in seconds; None for the end of the file.
        voice: Name of the voice that speaks, where clips are adapted to their voices; None if it is not known.
        channel: Channel of the file that is heard; None for the mean of all.
    """

    name: str
    path: Path
    start: float | None = None
    end: float | None = None
    voice: str | None = None
    channel: Channel | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Identity of the clip: its name, start, end and channel as tables spell them."""
        return self.name, seconds(self.start), seconds(self.end), "" if self.channel is None else self.channel.name

    @property
    def channel_number(self) -> int | None:
        """Number of the channel, from 1; None for the mean of all."""
        return None if self.channel is None else self.channel.number

    @property
    def source(self) -> str:
        """Name for a reader, with the name of the channel."""
        return self.name if self.channel is None else f"{self.name} [{self.channel.name}]"

    @property
    def title(self) -> str:
        """Name for a reader, with the name of the channel and the times of a part."""
        if self.start is None and self.end is None:
            return self.source
        if self.end is None:
            return f"{self.source} from {seconds(self.start)} s"
        return f"{self.source} {seconds(self.start or 0.0)}–{seconds(self.end)} s"

    def to_dict(self) -> dict[str, Any]:
        """Name, times and channel as JSON has them: a whole file has neither times nor a channel."""
        parts = {"start": self.start, "end": self.end, "channel": self.channel and self.channel.name}
        return {"file": self.name} | {name: value for name, value in parts.items() if value is not None}


ClipResult = tuple[Item, Prediction | AudioError]
"""A clip, and its prediction or the reason why it has none."""


def seconds(value: float | None) -> str:
    """A time as tables spell it: seconds, exactly, or an empty text for none."""
    return "" if value is None else repr(float(value)).removesuffix(".0")


def items_of(paths: Sequence[Path], report: Callable[[AudioError], None], column: str | None = None) -> Iterator[Item]:
    """Clips of files, of the audio files in folders, of lists, and of the standard input.

    Args:
        paths: Files, folders and lists of clips; ``-`` is the standard input.
        report: Called with the error of a path that has no audio, of a folder that cannot be read, and of a list's row
            that names no clip.
        column: Column of lists that names the voice of each clip; None to read no voices.

    Raises:
        ConfigError: A list cannot be read, or lacks the column.
    """
    for path in paths:
        if is_list(path):
            yield from read_list(path, report, column)
        elif path == STANDARD_INPUT:
            yield Item(str(path), Path("/dev/stdin"))
        else:
            try:
                yield from (Item(str(file), file) for file in audio.find([path], report))
            except AudioError as error:
                report(error)


def is_list(path: Path) -> bool:
    """Whether a path is a list of clips."""
    return path.suffix.lower() in SUFFIXES and is_file(path)


def read_list(path: Path, report: Callable[[AudioError], None], column: str | None = None) -> Iterator[Item]:
    """Clips of a list; its files are relative to its folder.

    Args:
        path: A CSV or JSONL file.
        report: Called with the error of each row that names no clip.
        column: Column that names the voice of each clip; None to read no voices.

    Raises:
        ConfigError: The file is no list of clips, cannot be read, or lacks the column.
    """
    from emofocus.recognition.clip_list import spoken_entries  # imported here: prediction starts without it

    try:
        stream = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    with stream:
        for row in spoken_entries(stream, str(path), column):
            if isinstance(row, AudioError):
                report(row)
            else:
                entry, voice = row
                yield Item(entry.file, path_of(path.parent, entry.file), entry.start, entry.end, voice)


def path_of(folder: Path, name: str) -> Path:
    """File of an entry in a list: as it is named, or as a program of Windows may have meant it.

    Args:
        folder: Folder of the list.
        name: Name of the file in the list.
    """
    path, turned = folder / name, turned_path(name)
    if turned != name and not is_file(path):
        path = folder / turned
    if not name.isprintable() and not is_file(path):  # bytes that are no UTF-8: Excel writes the code page of Windows
        with suppress(UnicodeError):
            path = folder / turned.encode("utf-8", "surrogateescape").decode("cp1252")
    return path


def recognize(
    recognizer: Recognizer,
    items: Iterable[Item],
    workers: int | None = None,
    batch: int = BATCH,
    done: Callable[[Item], bool] = lambda _: False,
    voices: Mapping[str, Recognizer] = NO_VOICES,
) -> Iterator[list[ClipResult]]:
    """Recognize clips in parallel, and give the results of each batch, in order.

    Args:
        recognizer: Loaded for one thread where there are several workers.
        items: Clips, which are taken at most two batches a worker ahead of the results.
        workers: Number of threads; by default as many as there are cores.
        batch: Clips scored together.
        done: Whether a clip has been recognized before. A batch of such clips alone is left out.
        voices: Recognizers that are adapted to voices, by the names of these.
    """
    count = workers or os.cpu_count() or 1
    batches = (group for group in batched(items, batch) if not all(map(done, group)))
    yield from map_ahead(partial(recognize_batch, recognizer, voices=voices), batches, count, ahead=2 * count)


def batched(items: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Consecutive items, ``size`` at a time; the last ones may be fewer."""
    source = iter(items)
    while group := tuple(islice(source, size)):
        yield group


def recognize_batch(
    recognizer: Recognizer, items: Sequence[Item], voices: Mapping[str, Recognizer] = NO_VOICES
) -> list[ClipResult]:
    """Recognize some clips together, those of one voice in one batch of the engine: the results, in order."""
    results: dict[int, Prediction | AudioError] = {}
    short: dict[Recognizer, dict[int, Waveform]] = {}
    notices: list[list[audio.Notice]] = [[] for _ in items]
    for number, item in enumerate(items):
        adapted = recognizer if item.voice is None else voices.get(item.voice, recognizer)
        try:
            source = _source_of(item)
            waveform = _load(item, source, recognizer.track, notices[number].append)
            if waveform is None:
                results[number] = adapted(source, channel=item.channel_number)
            else:
                short.setdefault(adapted, {})[number] = waveform
        except AudioError as error:
            results[number] = error
    for adapted, clips in short.items():
        for number, prediction in zip(clips, recognize_together(adapted, list(clips.values())), strict=True):
            results[number] = prediction.with_notices(notices[number])
    return [(item, results[number]) for number, item in enumerate(items)]


def recognize_clips(
    recognizer: Recognizer,
    clips: Sequence[Any],
    sampling_rate: int | None = None,
    track: int | None = None,
    workers: int | None = None,
) -> list[Prediction | AudioError]:
    """Recognize clips of any kind in parallel: the prediction or the error of each, in order.

    Args:
        recognizer: Recognizes.
        clips: Clips, as a call of the recognizer takes them.
        sampling_rate: Rate in hertz of samples that come without it.
        track: Number of the audio track of files that have several, from 1.
        workers: Number of threads; by default as many as there are cores.
    """
    part = partial(_recognize_together, recognizer, sampling_rate=sampling_rate, track=track)
    return list(chain.from_iterable(map_ahead(part, batched(clips, BATCH), workers or os.cpu_count() or 1)))


def _recognize_together(
    recognizer: Recognizer, clips: Sequence[Any], sampling_rate: int | None, track: int | None
) -> list[Prediction | AudioError]:
    results: dict[int, Prediction | AudioError] = {}
    short: dict[int, Waveform] = {}
    sources: dict[int, Any] = {}
    notices: list[list[audio.Notice]] = [[] for _ in clips]
    for number, given in enumerate(clips):
        try:
            sources[number] = clip = audio.with_rate(given, sampling_rate)
            name, blocks = audio.name_of(clip), audio.stream(clip, track=track, warn=notices[number].append)
            content = _short_or_blocks(blocks, name)
            if isinstance(content, np.ndarray):
                short[number] = content
            else:
                results[number] = recognizer.scorer.score_recording(content, name)
        except AudioError as error:
            results[number] = error
    results |= dict(zip(short, recognize_together(recognizer, list(short.values())), strict=True))
    return [
        item if isinstance(item, AudioError) else item.with_notices(notices[number]).with_source(sources[number])
        for number, item in sorted(results.items())
    ]


def _short_or_blocks(blocks: Iterator[Waveform], name: str) -> Waveform | Iterator[Waveform]:
    """Samples (T,) of a clip of up to `LONGEST_SECONDS`; all blocks of a longer one.

    Raises:
        AudioError: A short clip is too short, or silent.
    """
    read: list[Waveform] = []
    samples = 0
    for block in blocks:
        read.append(block)
        samples += len(block)
        if samples > LONGEST_SECONDS * SAMPLING_RATE:
            return chain(read, blocks)
    waveform = np.concatenate(read) if read else np.zeros(0, np.float32)
    audio.check(waveform, name)
    return waveform


def _source_of(item: Item) -> str | bytes:
    """The file's path; the content of a pipe, which can be read once.

    Raises:
        AudioError: A pipe cannot be read, or holds nothing.
    """
    path = item.path
    try:
        if not (path.is_fifo() or (path.is_char_device() and str(path) == "/dev/stdin")):
            return str(path)
        content = path.read_bytes()
    except OSError as error:
        raise AudioError(f"{item.name}: cannot be read ({error.strerror})") from error
    if not content:
        raise AudioError(f"{item.name}: is an empty file")
    return content


def _load(item: Item, source: str | bytes, track: int | None, warn: audio.Warn) -> Waveform | None:
    """Samples of a clip (T,), 16 kHz; None if it is longer than `LONGEST_SECONDS`."""
    channel = item.channel_number
    if item.start is not None or item.end is not None:
        return audio.load(source, item.start, item.end, track, warn, channel)
    blocks = audio.stream(source, track=track, warn=warn, channel=channel)
    content = _short_or_blocks(blocks, audio.name_of(source))
    return content if isinstance(content, np.ndarray) else None


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
