"""What is to be recognized: files, folders and lists, here or behind URIs, cut into parts at fixed places."""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from emofocus.audio.loading import EXTENSIONS
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.recognition.bulk import MANIFESTS, Item, entries_of, items_of
from emofocus.utils.storage import LOCAL, Location, is_uri, list_files, parse_location, reason_of

CLIPS = pa.schema(
    [
        ("position", pa.int64()),  # in the whole input
        ("file", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("root", pa.string()),
        ("path", pa.binary()),  # names on disks may be no UTF-8
    ]
)
"""One row a clip: what a worker gets."""


class Clip(NamedTuple):
    """One clip: how results call it, where it is, and which part of it is meant, in seconds."""

    name: str
    location: Location
    start: float | None = None
    end: float | None = None

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Clip":
        """Of a row of `CLIPS`."""
        return cls(row["file"], Location(row["root"], os.fsdecode(row["path"])), row["start"], row["end"])

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from other clips, as the local command spells it."""
        return Item(self.name, Path(), self.start, self.end).key


@dataclass(frozen=True)
class Listing:
    """The whole input.

    Attributes:
        parts: What ``keep`` made of each part's table.
        clips: How many there are.
        digest: Equal for equal clips in the same order.
        repeated: Positions of clips that were named before: each has one row.
    """

    parts: list[Any]
    clips: int
    digest: str
    repeated: frozenset[int]


def listing_of(clips: Iterable[Clip], size: int, keep: Callable[[pa.Table], Any]) -> Listing:
    """Read the input once, and cut it into parts.

    Args:
        clips: All of them.
        size: Clips of a part.
        keep: Puts a part's table away. Of the clips themselves, this process keeps 16 bytes each.
    """
    parts: list[Any] = []
    digests = bytearray()
    whole = hashlib.sha256()
    source = iter(clips)
    while group := list(islice(source, size)):
        keys = [hashlib.blake2b(repr(clip.key).encode(), digest_size=16).digest() for clip in group]
        digests += b"".join(keys)
        whole.update(b"".join(keys))
        parts.append(keep(_table(group, size * len(parts))))
    _, first = np.unique(np.frombuffer(bytes(digests), "V16"), return_index=True) if digests else ([], np.arange(0))
    count = len(digests) // 16
    repeated = np.setdiff1d(np.arange(count), first, assume_unique=True)
    return Listing(parts, count, whole.hexdigest()[:16], frozenset(repeated.tolist()))


def _table(clips: Sequence[Clip], first: int) -> pa.Table:
    columns = {
        "position": range(first, first + len(clips)),
        "file": [clip.name.encode("utf-8", "backslashreplace").decode() for clip in clips],
        "start": [clip.start for clip in clips],
        "end": [clip.end for clip in clips],
        "root": [clip.location.root for clip in clips],
        "path": [os.fsencode(clip.location.path) for clip in clips],
    }
    return pa.table(columns, schema=CLIPS)


def clips_of(sources: Sequence[str], report: Callable[[AudioError], None]) -> Iterator[Clip]:
    """Files, the audio files of folders, and what manifests name; each of them a path or a URI.

    Args:
        sources: Of all kinds.
        report: Is told of a source that gives none.

    Raises:
        ConfigError: A manifest cannot be read, or a file system does not answer.
    """
    for source in sources:
        location = parse_location(source)
        if location.suffix in MANIFESTS and (is_uri(source) or Path(source).is_file()):
            yield from _manifest_clips(location)
        elif is_uri(source):
            yield from _uri_clips(location, report)
        else:
            found = items_of([Path(source)], report)
            yield from (Clip(item.name, Location(LOCAL, str(item.path.absolute()))) for item in found)


def _manifest_clips(location: Location) -> Iterator[Clip]:
    system, path = location.open()
    try:
        with system.open_input_stream(path) as stream:
            text = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8", newline="")
            for name, start, end in entries_of(text, location.name):
                yield Clip(name, location.sibling(name), start, end)
    except OSError as error:
        raise ConfigError(f"{location.name}: cannot be read ({reason_of(error)})") from error


def _uri_clips(location: Location, report: Callable[[AudioError], None]) -> Iterator[Clip]:
    if location.suffix in EXTENSIONS:
        location.open()  # is there such a file system?
        yield Clip(location.name, location)
        return
    found = [file for file in list_files(location) if file.suffix in EXTENSIONS]
    if not found:
        report(AudioError(f"{location.name}: this folder holds no audio ({one_of(EXTENSIONS)})"))
    yield from (Clip(file.name, file) for file in found)
