"""Any audio file → mono samples at their own rate, block by block.

soundfile decodes most files, because it is fast. PyAV takes those that soundfile cannot read (m4a, webm), gets wrong
(mp3, whose length it guesses when there is no Xing header) or would shorten (a FLAC whose length was never written).
"""

from collections.abc import Iterator
from io import SEEK_END, SEEK_SET, BytesIO, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

from emofocus.audio.channels import Channels, chosen, mixed
from emofocus.audio.containers import EXTENSIONS, decode_container
from emofocus.audio.headers import (
    FLAC_START,
    OggLink,
    data_chunk,
    find,
    is_mpeg_audio,
    ogg_links,
    without_long_length,
)
from emofocus.audio.notices import Notice, Warn, ignore
from emofocus.audio.samples import Waveform
from emofocus.errors import AudioError

__all__ = ["BLOCK_SECONDS", "EXTENSIONS", "OPENED", "TOLERATED_SECONDS", "channel_count", "decode"]

BLOCK_SECONDS = 30.0
"""Seconds decoded at a time."""

TOLERATED_SECONDS = 0.025
"""A file that lacks more than this of what its header promises is cut."""

OPENED = "the given file"
"""Name of a file in messages that was opened by somebody else."""

ENDLESS = 1 << 62
"""libsndfile counts at least so many samples in a stream of unknown length."""

Blocks = Iterator[tuple[int, Channels]]
"""Rates in hertz, and consecutive blocks of shape (channels, T_k)."""


def decode(
    source: Path | BinaryIO,
    block_seconds: float = BLOCK_SECONDS,
    track: int | None = None,
    warn: Warn = ignore,
    channel: int | None = None,
) -> Iterator[tuple[int, Waveform]]:
    """Decode a file, or one that is open, at its own rate.

    Args:
        source: The file's path, or anything with ``read`` that gives bytes.
        block_seconds: Seconds decoded at a time.
        track: Number of the audio track, from 1; None for the one that the file marks as its default.
        warn: Takes a notice of each thing that is unusual about a file that is read all the same: it is cut or
            damaged, or has several audio tracks, or channels that cancel each other.
        channel: Number of the channel to take, from 1; None to mix all of them.

    Yields:
        The rate in hertz, and consecutive mono blocks of shape (T_k,).

    Raises:
        AudioError: The file is missing, empty, not audio, or has no such track or channel.
    """
    blocks = _decode(source, block_seconds, track, warn)
    name = str(source) if isinstance(source, Path) else OPENED
    yield from mixed(blocks, warn) if channel is None else chosen(blocks, channel, name)


def channel_count(source: Path | BinaryIO, track: int | None = None) -> int:
    """Number of channels at the beginning of a file; 0 if it holds no samples.

    Args:
        source: The file, as in `decode`.
        track: Number of the audio track, as in `decode`.

    Raises:
        AudioError: As in `decode`.
    """
    return next((len(block) for _, block in _decode(source, 1.0, track, ignore)), 0)


def _decode(source: Path | BinaryIO, block_seconds: float, track: int | None, warn: Warn) -> Blocks:
    if not isinstance(source, Path):
        yield from _decode_opened(_rewound(source), OPENED, block_seconds, track, warn)
        return
    try:
        if source.is_dir():
            raise AudioError(f"{source}: is a folder, not an audio file")
        if not source.exists():
            raise AudioError(f"{source}: no such file")
        if source.is_file() and source.stat().st_size == 0:
            raise AudioError(f"{source}: is an empty file")
        # Decoders get no name: they stumble over "12:30.m4a" and over names that are not UTF-8.
        with source.open("rb") as opened:
            rewindable = opened if opened.seekable() else BytesIO(opened.read())  # a named pipe
            yield from _decode_opened(rewindable, str(source), block_seconds, track, warn)
    except OSError as error:
        raise AudioError(f"{source}: cannot be read ({error.strerror})") from error


def _rewound(opened: BinaryIO) -> BinaryIO:
    """The file at its start; a pipe, which has no way back, is read whole.

    Raises:
        AudioError: It gives text or nothing, or cannot be read.
    """
    try:
        if not (hasattr(opened, "seekable") and opened.seekable()):
            content = opened.read()
            if not isinstance(content, bytes | bytearray | memoryview):
                raise AudioError(f"{OPENED}: gives {type(content).__name__}, not bytes; open it with mode 'rb'")
            opened = BytesIO(content)
        size = opened.seek(0, SEEK_END)
        opened.seek(0)
        if not isinstance(opened.read(0), bytes):
            raise AudioError(f"{OPENED}: gives text, not bytes; open it with mode 'rb'")
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise AudioError(f"{OPENED}: cannot be read ({error})") from error
    if size == 0:
        raise AudioError(f"{OPENED}: is an empty file")
    return opened


def _decode_opened(opened: BinaryIO, name: str, block_seconds: float, track: int | None, warn: Warn) -> Blocks:
    """Decode an open file, whose recordings may follow each other."""
    kind = opened.read(4)
    links = ogg_links(opened) if kind == b"OggS" else []
    # soundfile has one track, and tells on standard error of oddities of MP3 files.
    other = track not in (None, 1) or kind[:3] == b"ID3" or is_mpeg_audio(kind)
    if other or any(link.tracks > 1 for link in links):
        opened.seek(0)
        yield from decode_container(opened, name, block_seconds, track, warn)
        return
    sections = [opened] if len(links) < 2 else [_section(opened, link) for link in links]
    seconds = 0.0
    for section in sections:
        for rate, block in _decode_one(section, name, block_seconds, track, warn):
            seconds += block.shape[1] / rate
            yield rate, block
    if links and not links[-1].whole:
        warn(Notice("cut", f"the recording breaks off at {seconds:.2f} s"))


def _decode_one(opened: BinaryIO, name: str, block_seconds: float, track: int | None, warn: Warn) -> Blocks:
    """Decode one recording with soundfile, or with PyAV where soundfile would fail or stop too early."""
    file = _soundfile(opened)
    if file is None:
        chunk = data_chunk(opened)
        if chunk is not None and chunk.declared is None:
            opened = cast(BinaryIO, _Section(opened, 0, chunk.start + chunk.present, without_long_length(opened)))
        opened.seek(0)
        yield from decode_container(opened, name, block_seconds, track, warn)
        return
    with file:
        yield from _decode_soundfile(file, opened, name, block_seconds, warn)


def _soundfile(opened: BinaryIO) -> Any | None:
    """The same file opened by soundfile; None if soundfile cannot read it, or would not read all of it."""
    import soundfile  # imported here: decoding is not needed to start

    opened.seek(0)
    joined = opened.read(4) == FLAC_START[:4] and find(opened, FLAC_START, 4) is not None
    opened.seek(0)
    try:
        file = None if joined else soundfile.SoundFile(opened)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a name that ends in .raw
        return None
    if file is None or file.format in ("MP3", "MPEG"):
        return None
    return file if 0 < file.frames < ENDLESS or _has_no_samples(opened) else None


def _has_no_samples(opened: BinaryIO) -> bool:
    """Whether the header names a length of 0, or nothing is behind it."""
    position = opened.tell()
    chunk = data_chunk(opened)
    opened.seek(position)
    return chunk is not None and (chunk.present == 0 or chunk.declared == 0)


def _decode_soundfile(file: Any, opened: BinaryIO, name: str, block_seconds: float, warn: Warn) -> Blocks:
    import soundfile

    rate, expected, read = int(file.samplerate), _promised_samples(file, opened), 0
    try:
        # Not file.blocks(), which fills up what could not be read with whatever the memory holds.
        while len(block := file.read(max(1, int(block_seconds * rate)), dtype="float32", always_2d=True)):
            read += len(block)
            yield rate, block.T
    except soundfile.LibsndfileError:
        opened.seek(0)
        yield from _behind(decode_container(opened, name, block_seconds, None, warn), read)
        return
    if expected - read > TOLERATED_SECONDS * rate:
        warn(Notice("cut", f"{read / rate:.2f} of {expected / rate:.2f} s could be read"))


def _behind(blocks: Blocks, samples: int) -> Blocks:
    """Blocks without the first samples."""
    for rate, block in blocks:
        if block.shape[1] > samples:
            yield rate, block[:, samples:]
        samples = max(0, samples - block.shape[1])


def _promised_samples(file: Any, opened: BinaryIO) -> int:
    """Samples that the header names; of some formats, libsndfile counts the samples that are there."""
    frames = int(file.frames)
    if file.format in ("FLAC", "OGG"):
        return frames
    position = opened.tell()
    chunk = data_chunk(opened)
    opened.seek(position)
    if chunk is None or not chunk.declared or not chunk.present:
        return frames
    return max(frames, frames * chunk.declared // chunk.present)


def _section(opened: BinaryIO, link: OggLink) -> BinaryIO:
    """One recording of an Ogg file, as a file."""
    return cast(BinaryIO, _Section(opened, link.start, link.stop))


class _Section(RawIOBase):
    """A part of an open file, as a file.

    Args:
        opened: The whole file, whose position nobody else uses.
        start: First byte of the part.
        stop: Byte behind its last one.
        head: Bytes that replace its first ones.
    """

    def __init__(self, opened: BinaryIO, start: int, stop: int, head: bytes = b"") -> None:
        super().__init__()
        self._opened, self._start, self._size, self._head = opened, start, stop - start, head
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Move to an offset from the start (0), the position (1) or the end (2)."""
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; the number of bytes that were read."""
        view = memoryview(buffer).cast("B")
        self._opened.seek(self._start + self._position)
        content = self._opened.read(max(0, min(len(view), self._size - self._position)))
        replaced = self._head[self._position : self._position + len(content)]
        content = replaced + content[len(replaced) :]
        view[: len(content)] = content
        self._position += len(content)
        return len(content)
