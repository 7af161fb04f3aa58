"""Headers of audio files: the length that they promise, and recordings that follow each other in one file.

Decoders stop where a header says that a recording ends. These functions find the cases in which it says too little.
All of them read an open file, of which they move the position.
"""

from collections.abc import Iterator
from io import SEEK_END
from typing import BinaryIO, NamedTuple

UNKNOWN_BYTES = 0x7FFF0000
"""A 32-bit size from here on was never written: programs that write to a pipe put 2 or 4 GiB."""

FLAC_START = b"fLaC\x00\x00\x00\x22"
"""Marker of a FLAC file, with the head of its first block."""

SEARCH_BYTES = 1 << 20
"""Bytes searched at a time."""


class DataChunk(NamedTuple):
    """Samples of a WAV, AIFF, AU or W64 file.

    Attributes:
        start: First byte.
        declared: Bytes that the header names; None where it names no length.
        present: Bytes from the first one to the file's end.
    """

    start: int
    declared: int | None
    present: int


class OggLink(NamedTuple):
    """One recording of an Ogg file, in which several may follow each other.

    Attributes:
        start: First byte.
        stop: Byte behind the last one.
        tracks: Logical streams that begin with it.
        whole: Whether its last page is complete and carries the mark of the end.
    """

    start: int
    stop: int
    tracks: int
    whole: bool


def data_chunk(opened: BinaryIO) -> DataChunk | None:
    """Samples of an open WAV (RIFF, RIFX, RF64, BW64), AIFF, AU or W64 file; None for other files."""
    size = opened.seek(0, SEEK_END)
    opened.seek(0)
    head = opened.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
        return _chunk(opened, size, b"data", "big" if head[:4] == b"RIFX" else "little")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _chunk(opened, size, b"SSND", "big")
    if head[:4] == b".snd":
        start, declared = (int.from_bytes(head[at : at + 4], "big") for at in (4, 8))
        return DataChunk(start, _known(declared), max(0, size - start))
    if head[:8] == b"riff\x2e\x91\xcf\x11":
        return _w64_chunk(opened, size)
    return None


def _chunk(opened: BinaryIO, size: int, wanted: bytes, order: str) -> DataChunk | None:
    """Find a chunk of a RIFF or AIFF file."""
    long_size = None
    for name, length, start in _chunks(opened, 12, size, order):
        if name == b"ds64":
            opened.seek(start + 8)
            long_size = int.from_bytes(opened.read(8), "little")
        if name == wanted:
            if long_size is not None and length == 0xFFFFFFFF:
                declared = long_size if 0 < long_size < 1 << 62 else None
            else:
                declared = _known(length)
            if declared is None and start < size and _ends_in_chunks(opened, start, size, order):
                declared = 0  # no samples, but notes behind them
            return DataChunk(start, declared, size - start)
    return None


def _chunks(opened: BinaryIO, position: int, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, length and first byte of each chunk."""
    while position + 8 <= size:
        opened.seek(position)
        head = opened.read(8)
        length = int.from_bytes(head[4:], "big" if order == "big" else "little")
        yield head[:4], length, position + 8
        position += 8 + length + length % 2


def _ends_in_chunks(opened: BinaryIO, position: int, size: int, order: str) -> bool:
    """Whether the rest of a file is a row of chunks."""
    end = position
    for name, length, start in _chunks(opened, position, size, order):
        if not (name.isascii() and name.decode().isprintable()):
            return False
        end = start + length
    return end in (size, size + 1)


def _w64_chunk(opened: BinaryIO, size: int) -> DataChunk | None:
    """Find the samples of a Sony Wave64 file, whose chunks have names of 16 bytes and lengths of 8."""
    position = 40
    while position + 24 <= size:
        opened.seek(position)
        head = opened.read(24)
        length = int.from_bytes(head[16:], "little")
        if head[:4] == b"data":
            known = length - 24 if 24 < length < 1 << 62 else None
            return DataChunk(position + 24, known, size - position - 24)
        position += max(24, (length + 7) // 8 * 8)
    return None


def _known(length: int) -> int | None:
    """A 32-bit length, or None for the values that stand for a length that was never written."""
    return length if 0 < length < UNKNOWN_BYTES else None


def ogg_links(opened: BinaryIO) -> list[OggLink]:
    """Recordings in an open Ogg file, one after the other (RFC 3533, section 4: chaining)."""
    size = opened.seek(0, SEEK_END)
    links: list[OggLink] = []
    begins = False  # whether the page before was the first one of a stream
    for start, stop, kind in _ogg_pages(opened, size):
        first, last = bool(kind & 2), bool(kind & 4)
        if first and not begins:
            links.append(OggLink(start, stop, 1, last))
        elif links:
            link = links[-1]
            links[-1] = link._replace(
                stop=min(stop, size), tracks=link.tracks + first, whole=(last or link.whole) and stop <= size
            )
        begins = first
    return links


def _ogg_pages(opened: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """First byte, byte behind the last one, and flags of each page."""
    position = 0
    while position + 27 <= size:
        opened.seek(position)
        head = opened.read(27)
        if head[:4] != b"OggS":
            found = find(opened, b"OggS", position + 1)
            if found is None:
                return
            position = found
            continue
        stop = position + 27 + head[26] + sum(opened.read(head[26]))
        yield position, stop, head[5]
        position = stop


def find(opened: BinaryIO, wanted: bytes, position: int) -> int | None:
    """Position of the first bytes of that kind in an open file, from a position on; None if there are none."""
    opened.seek(position)
    tail = b""
    while block := opened.read(SEARCH_BYTES):
        content = tail + block
        at = content.find(wanted)
        if at >= 0:
            return position - len(tail) + at
        tail = content[-(len(wanted) - 1) :]
        position += len(block)
    return None


def without_long_length(opened: BinaryIO) -> bytes:
    """First bytes of an open RF64 file, changed into those of a WAV whose length was never written."""
    opened.seek(0)
    head = opened.read(16)
    return b"RIFF\xff\xff\xff\xffWAVEJUNK" if head[:4] in (b"RF64", b"BW64") and head[12:] == b"ds64" else head


def is_mpeg_audio(head: bytes) -> bool:
    """Whether bytes begin as a frame of MPEG audio (MP3, or AAC without a container): with eleven bits that are set."""
    return len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0


def mp3_frames(opened: BinaryIO) -> int | None:
    """Frames that the Xing header of an open MP3 file promises; None without such a header."""
    opened.seek(0)
    head = opened.read(10)
    position = 0
    if head[:3] == b"ID3":
        position = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
    opened.seek(position)
    frame = opened.read(4096)
    at = max(frame.find(b"Xing", 0, 300), frame.find(b"Info", 0, 300))
    if at < 0 or not frame[at + 7] & 1:
        return None
    return int.from_bytes(frame[at + 8 : at + 12], "big")
