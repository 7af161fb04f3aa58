"""Decoding of all files of a corpus, with the figures that tell whether each utterance is intact.

Files are decoded block by block, several at a time, at their own rate. Several channels become their mean, as
everywhere in emofocus.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emofocus import audio
from emofocus.audio.decoding import decode
from emofocus.corpora.corpus import SCHEMA, Utterance, Utterances
from emofocus.errors import AudioError
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.progress import track

FULL_SCALE = 32_767 / 32_768
"""The largest sample that 16 bits can hold."""

CLIPPED_RUN = 3
"""Samples at full scale in a row from which on a wave counts as cut off; fewer may be a peak that just reaches it."""

ROUNDING_SECONDS = 0.05
"""Seconds by which a time may lie behind its file's end, because manifests round times."""

THREADS = 8
"""Most threads; more would only wait for the disk."""


@dataclass(slots=True)
class UtteranceAudio:
    """Figures of one utterance's audio.

    Attributes:
        utterance: Row of the table.
        rate: Sampling rate in Hz.
        samples: Number of samples.
        peak: Largest magnitude.
        cut_off: Number of samples in runs at full scale.
        digest: Hash of all samples.
    """

    utterance: Utterance
    rate: int = 0
    samples: int = 0
    peak: float = 0.0
    cut_off: int = 0
    digest: Any = field(default_factory=lambda: blake2b(digest_size=16))

    @property
    def key(self) -> str:
        """Name of the utterance."""
        return self.utterance.key

    @property
    def seconds(self) -> float:
        """Duration of the utterance in seconds."""
        return self.samples / self.rate

    def add(self, block: audio.Waveform, rate: int, position: int) -> None:
        """Add the part of a block (T,) that belongs to the utterance; ``position`` is the block's first sample."""
        start = round((self.utterance.start or 0.0) * rate)
        end = position + len(block) if self.utterance.end is None else round(self.utterance.end * rate)
        part = block[max(0, start - position) : max(0, end - position)]
        if len(part):
            self.rate, self.samples = rate, self.samples + len(part)
            self.peak = max(self.peak, float(np.abs(part).max()))
            self.cut_off += _cut_off(part)
            self.digest.update(part.tobytes())


@dataclass(slots=True)
class File:
    """One file and the utterances in it.

    Attributes:
        name: Path below the root.
        utterances: Its utterances; empty if the file cannot be decoded.
        rate: Sampling rate in Hz.
        channels: Number of channels.
        format: Format and encoding.
        reason: Reason why the file cannot be decoded.
    """

    name: str
    utterances: list[UtteranceAudio]
    rate: int = 0
    channels: int = 0
    format: str = ""
    reason: str = ""


def decode_files(table: pl.DataFrame, root: Path) -> list[File]:
    """Decode every file, several at a time."""
    rows = groupby(Utterances(table.select(list(SCHEMA)).sort("file", maintain_order=True)), lambda row: row.file)
    files = [File(name, [UtteranceAudio(row) for row in group]) for name, group in rows]
    decoded = map_ahead(partial(_decode_file, root), files, min(THREADS, os.cpu_count() or 1))
    return [file for _, file in zip(track(files, "Decoding", "files"), decoded, strict=True)]


def _decode_file(root: Path, file: File) -> File:
    path = root / file.name
    try:
        seconds = _decode_blocks(file, path)
        _refuse_times_behind(file.utterances, seconds)
        file.rate, file.channels, file.format = _format(path)
    except AudioError as error:
        file.utterances, file.reason = [], str(error).removeprefix(f"{path}: ")
    return file


def _decode_blocks(file: File, path: Path) -> float:
    """Decode a file for all of its utterances; its duration in seconds."""
    position, rate = 0, 1
    for rate, block in decode(path, warn=_refuse_damage):
        if not np.isfinite(block).all():
            raise AudioError("holds NaN or infinite samples")
        for item in file.utterances:
            item.add(block, rate, position)
        position += len(block)
    audio.check_length(position, str(path))
    return position / rate


def _refuse_damage(notice: audio.Notice) -> None:
    """A corpus holds no file that is cut or damaged."""
    if notice.kind in ("cut", "damaged"):
        raise AudioError(str(notice))


def _refuse_times_behind(items: Iterable[UtteranceAudio], seconds: float) -> None:
    for item in items:
        if not item.samples or (item.utterance.end or 0.0) > seconds + ROUNDING_SECONDS:
            times = f"{item.utterance.start or 0.0:g} to {item.utterance.end or seconds:g} s"
            raise AudioError(f"{item.key}: from {times} is not in this file of {seconds:.2f} s")


def _format(path: Path) -> tuple[int, int, str]:
    """Sampling rate, channels, and format with encoding."""
    import av
    import soundfile

    with path.open("rb") as opened:
        try:
            with soundfile.SoundFile(opened) as file:
                return file.samplerate, file.channels, f"{file.format} {file.subtype}"
        except (soundfile.LibsndfileError, TypeError):
            opened.seek(0)
        with av.open(opened) as container:
            codec = container.streams.audio[0].codec_context
            return codec.sample_rate, codec.channels, f"{container.format.name} {codec.name}"


def _cut_off(block: audio.Waveform) -> int:
    """Number of samples in runs at full scale; a run that is split between blocks may be missed."""
    full = np.abs(block) >= FULL_SCALE
    if np.count_nonzero(full) < CLIPPED_RUN:
        return 0
    edges = np.flatnonzero(np.diff(full, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= CLIPPED_RUN].sum())
