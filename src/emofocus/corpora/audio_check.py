"""Decode every file of a corpus once, and keep of each utterance what tells whether it is sound.

Files are decoded block by block, several at a time, at their own rate; several channels are heard as their mean, as
everything else in emofocus hears them.
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
"""So many samples at full scale in a row are a wave that was cut off; fewer may be a peak that just reaches it."""

ROUNDING_SECONDS = 0.05
"""Times in a manifest are rounded: an end this little behind its file's end is no mistake."""

THREADS = 8
"""More would only wait for the disk."""


@dataclass(slots=True)
class Sound:
    """What is heard of one utterance.

    Attributes:
        utterance: Its row of the table.
        rate: Samples a second.
        samples: Number of them.
        peak: The largest, without its sign.
        cut_off: Samples in runs at full scale.
        digest: Hash of all of them.
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
        """Length of the utterance."""
        return self.samples / self.rate

    def hear(self, block: audio.Waveform, rate: int, position: int) -> None:
        """Take what is this utterance's of a block that begins at a sample of the file."""
        start = round((self.utterance.start or 0.0) * rate)
        end = position + len(block) if self.utterance.end is None else round(self.utterance.end * rate)
        own = block[max(0, start - position) : max(0, end - position)]
        if len(own):
            self.rate, self.samples = rate, self.samples + len(own)
            self.peak = max(self.peak, float(np.abs(own).max()))
            self.cut_off += _cut_off(own)
            self.digest.update(own.tobytes())


@dataclass(slots=True)
class File:
    """One file and the utterances in it.

    Attributes:
        name: Path below the root.
        sounds: Its utterances; none when it cannot be decoded.
        rate: Samples a second.
        channels: Number of them.
        format: Format and encoding.
        reason: Why it cannot be decoded.
    """

    name: str
    sounds: list[Sound]
    rate: int = 0
    channels: int = 0
    format: str = ""
    reason: str = ""


def listen(table: pl.DataFrame, root: Path) -> list[File]:
    """Decode every file, several at a time."""
    rows = groupby(Utterances(table.select(list(SCHEMA)).sort("file", maintain_order=True)), lambda row: row.file)
    files = [File(name, [Sound(row) for row in group]) for name, group in rows]
    decoded = map_ahead(partial(_hear, root), files, min(THREADS, os.cpu_count() or 1))
    return [file for _, file in zip(track(files, "Decoding", "files"), decoded, strict=True)]


def _hear(root: Path, file: File) -> File:
    path = root / file.name
    try:
        seconds = _hear_blocks(file, path)
        _refuse_times_behind(file.sounds, seconds)
        file.rate, file.channels, file.format = _format(path)
    except AudioError as error:
        file.sounds, file.reason = [], str(error).removeprefix(f"{path}: ")
    return file


def _hear_blocks(file: File, path: Path) -> float:
    """Let every utterance of a file hear it; its length in seconds."""
    position, rate = 0, 1
    for rate, block in decode(path, warn=_refuse_damage):
        if not np.isfinite(block).all():
            raise AudioError("holds NaN or infinite samples")
        for sound in file.sounds:
            sound.hear(block, rate, position)
        position += len(block)
    audio.check_length(position, str(path))
    return position / rate


def _refuse_damage(notice: audio.Notice) -> None:
    """A corpus holds no file that is cut or damaged."""
    if notice.kind in ("cut", "damaged"):
        raise AudioError(str(notice))


def _refuse_times_behind(sounds: Iterable[Sound], seconds: float) -> None:
    for sound in sounds:
        if not sound.samples or (sound.utterance.end or 0.0) > seconds + ROUNDING_SECONDS:
            times = f"{sound.utterance.start or 0.0:g} to {sound.utterance.end or seconds:g} s"
            raise AudioError(f"{sound.key}: from {times} is not in this file of {seconds:.2f} s")


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
    """Samples in runs at full scale; a run that a block's border shortens too much is not counted."""
    full = np.abs(block) >= FULL_SCALE
    if np.count_nonzero(full) < CLIPPED_RUN:
        return 0
    edges = np.flatnonzero(np.diff(full, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= CLIPPED_RUN].sum())
