"""Input of a bulk run on a cluster: files, folders and manifests, by path or URI, divided into parts."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from emofocus.audio.decoding import EXTENSIONS
from emofocus.audio.loading import SEARCHED
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.recognition.bulk import Item, items_of, path_of
from emofocus.recognition.clip_list import entries_of
from emofocus.utils.folder_tree import is_file
from emofocus.utils.provenance import file_state
from emofocus.utils.storage import LOCAL, Location, is_uri, list_states, parse_location, reason_of
from emofocus.utils.table_text import SUFFIXES, turned_path

CLIPS = pa.schema(
    [
        ("position", pa.int64()),  # in the whole input
        ("file", pa.string()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("root", pa.string()),
        ("path", pa.binary()),  # names on disks need not be UTF-8
    ]
)
"""Columns of a clip in a part's table, which workers get."""


class Clip(NamedTuple):
    """One clip to recognize.

    Attributes:
        name: Name in the results.
        location: Its file.
        start: Start in the file, in seconds; None for the file's beginning.
        end: End in the file, in seconds; None for the file's end.
        state: Size and time of the last change of the file, as `utils.provenance.file_state`; None if not known.
    """

    name: str
    location: Location
    start: float | None = None
    end: float | None = None
    state: Sequence[int] | None = None

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Clip":
        """The clip of a row with the columns `CLIPS`."""
        return cls(row["file"], Location(row["root"], os.fsdecode(row["path"])), row["start"], row["end"])

    @property
    def key(self) -> tuple[str, str, str]:
        """Identity of the clip, as the local command spells it."""
        name, start, end, _ = Item(self.name, Path(), self.start, self.end).key  # a cluster hears no single channels
        return name, start, end


@dataclass(frozen=True)
class PartitionedInput:
    """The whole input of a run.

    Attributes:
        parts: Result of ``store`` for each part's table.
        clips: Number of clips.
        digest: Hash of all clips in their order.
        repeated: Positions of clips that occur earlier in the input; a clip has one row, at its first position.
        states: Hash (clips,) of each recording's state; 0 where it is not known.
    """

    parts: list[Any]
    clips: int
    digest: str
    repeated: frozenset[int]
    states: NDArray[np.uint64]


def partition(clips: Iterable[Clip], size: int, store: Callable[[pa.Table], Any]) -> PartitionedInput:
    """Divide the input into parts, in one pass that keeps 24 bytes per clip.

    Args:
        clips: All clips of the input.
        size: Clips of a part.
        store: Stores a part's table outside this process, and returns a reference.
    """
    parts: list[Any] = []
    digests, states = bytearray(), bytearray()
    whole = hashlib.sha256()
    source = iter(clips)
    while group := list(islice(source, size)):
        keys = [hashlib.blake2b(repr(clip.key).encode(), digest_size=16).digest() for clip in group]
        digests += b"".join(keys)
        states += b"".join(map(_state_hash, group))
        whole.update(b"".join(keys))
        parts.append(store(_table(group, size * len(parts))))
    _, first = np.unique(np.frombuffer(bytes(digests), "V16"), return_index=True) if digests else ([], np.arange(0))
    count = len(digests) // 16
    repeated = np.setdiff1d(np.arange(count), first, assume_unique=True)
    digest = whole.hexdigest()[:16]
    return PartitionedInput(parts, count, digest, frozenset(repeated.tolist()), np.frombuffer(bytes(states), np.uint64))


def _state_hash(clip: Clip) -> bytes:
    """8 bytes for the state of a recording; zeros if it is not known."""
    return hashlib.blake2b(repr(list(clip.state)).encode(), digest_size=8).digest() if clip.state else bytes(8)


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
    """Clips of files, of the audio files in folders, and of manifests.

    Args:
        sources: Paths and URIs.
        report: Receives the error of a source that has no clips.

    Raises:
        ConfigError: A manifest cannot be read, or a file system does not answer.
    """
    for source in sources:
        location = parse_location(source)
        if location.suffix in SUFFIXES and (is_uri(source) or is_file(Path(source))):
            yield from _list_clips(location, report)
        elif is_uri(source):
            yield from _uri_clips(location, report)
        else:
            items = items_of([Path(source)], report)
            yield from (_clip(item.name, Location(LOCAL, str(item.path.absolute()))) for item in items)


def _clip(name: str, location: Location, start: float | None = None, end: float | None = None) -> Clip:
    """A clip whose file is on this machine, which tells its state; or elsewhere, where asking would take too long."""
    state = None
    if location.root == LOCAL:
        with suppress(OSError):  # the recording's own error is reported when it is read
            state = file_state(Path(location.path))
    return Clip(name, location, start, end, state)


def _list_clips(location: Location, report: Callable[[AudioError], None]) -> Iterator[Clip]:
    system, path = location.open()
    try:
        with system.open_input_stream(path) as stream:
            for entry in entries_of(stream, location.name):
                if isinstance(entry, AudioError):
                    report(entry)
                else:
                    yield _clip(entry.file, _location_of(location, entry.file), entry.start, entry.end)
    except OSError as error:
        raise ConfigError(f"{location.name}: cannot be read ({reason_of(error)})") from error


def _location_of(source: Location, name: str) -> Location:
    """File of an entry of a list, by the local command's rule where that can be looked at."""
    if source.root == LOCAL and not is_uri(name):
        return Location(LOCAL, str(path_of(Path(source.path).parent, name)))
    return source.sibling(turned_path(name))


def _uri_clips(location: Location, report: Callable[[AudioError], None]) -> Iterator[Clip]:
    if location.suffix in SEARCHED:
        location.open()  # raises if there is no such file system
        yield Clip(location.name, location)
        return
    files = {file: state for file, state in list_states(location).items() if file.suffix in SEARCHED}
    if not files:
        report(AudioError(f"{location.name}: this folder holds no audio ({one_of(EXTENSIONS)})"))
    yield from (Clip(file.name, file, state=state) for file, state in files.items())
