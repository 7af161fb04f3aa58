"""What lies in shards: utterances' features as rows of Parquet files, and an index of them.

Parquet rather than tar files (WebDataset): a speed is a column, so that an epoch reads one of seven and not all; a row
group can be read by itself, so that any number of processes share the work evenly; and any table tool opens it.

| file | what |
|---|---|
| ``train-00000.parquet``, ``valid-00000.parquet`` … | utterances, in an order without a pattern |
| ``groups.parquet`` | a row for each row group: utterances, and segments at each speed |
| ``index.json`` | corpus, folds, audit, settings, statistics; written last, when the shards are whole |
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import fs, parquet

from emofocus.errors import CorpusError

FORMAT = "emofocus shards/1"
INDEX, GROUPS = "index.json", "groups.parquet"
PARTS = ("train", "valid")
GROUP = 8
"""Utterances of a row group: what is read at once, and heard at one speed."""

SUMMARY = b"emofocus"
"""Key of a shard's summary among the metadata of its footer."""


class Cut(NamedTuple):
    """An utterance at one speed: frames (n, F) and the first frames of its active segments (S,)."""

    frames: NDArray[np.float32]
    starts: NDArray[np.int32]


class Place:
    """A folder on a disk or in an object store.

    Args:
        uri: A path, or a URI that pyarrow or fsspec knows (``s3://bucket/folder``).

    Raises:
        CorpusError: Neither knows it.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._system, self._folder = _system_of(uri)

    def names(self) -> set[str]:
        """Files that are there; none, if there is no such folder."""
        with self.told_plainly():
            found = self._system.get_file_info(fs.FileSelector(self._folder, allow_not_found=True))
        return {item.base_name for item in found if item.is_file}

    def read(self, name: str) -> pa.Buffer:
        """A whole file."""
        with self.told_plainly(name), self._system.open_input_stream(self._path(name)) as file:
            return pa.py_buffer(file.read())

    def open(self, name: str) -> pa.NativeFile:
        """A file to read here and there in."""
        return self._system.open_input_file(self._path(name))

    def write(self, name: str, content: pa.Buffer | bytes) -> None:
        """Write a whole file, atomically: an object is there when it was sent, and a file when it is renamed."""
        on_disk = isinstance(self._system, fs.LocalFileSystem)
        beside = f".{name}.{os.getpid()}" if on_disk else name
        with self.told_plainly(name):
            self._system.create_dir(self._folder)
            file = self._system.open_output_stream(self._path(beside))
            file.write(content)
            file.close()
            if on_disk:
                self._system.move(self._path(beside), self._path(name))

    @contextmanager
    def told_plainly(self, name: str = "") -> Iterator[None]:
        """Turn what a disk or a network reports into one line.

        Raises:
            CorpusError: With the place and the reason.
        """
        try:
            yield
        except (OSError, pa.ArrowInvalid) as error:
            raise CorpusError(f"{self.uri}{name and '/' + name}: {error}") from error

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"


def _system_of(uri: str) -> tuple[fs.FileSystem, str]:
    if "://" not in uri:
        return fs.LocalFileSystem(), str(Path(uri).absolute())
    try:
        system, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        system, path = _by_fsspec(uri, error)
    return system, path.rstrip("/")


def _by_fsspec(uri: str, first: Exception) -> tuple[fs.FileSystem, str]:
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise CorpusError(f"{uri}: no place for shards; pyarrow: {first}; fsspec: {error}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path


def schema_of(speeds: Sequence[float], summary: dict[str, Any] | None = None) -> pa.Schema:
    """Columns of a shard, and what its footer says."""
    cuts = [(f"{name} {speed:g}", pa.large_binary()) for speed in speeds for name in ("frames", "starts")]
    metadata = None if summary is None else {SUMMARY: json.dumps(summary).encode()}
    return pa.schema([("key", pa.string()), ("label", pa.int32()), *cuts], metadata=metadata)


def summary_of(place: Place, name: str) -> dict[str, Any]:
    """What a shard's footer says.

    Raises:
        CorpusError: It cannot be read, or is no shard.
    """
    with place.told_plainly(name), place.open(name) as file:
        metadata = parquet.read_metadata(file).metadata or {}
    if SUMMARY not in metadata:
        raise CorpusError(f"{place.uri}/{name}: no shard of emofocus")
    found: dict[str, Any] = json.loads(metadata[SUMMARY])
    return found


# A cell of frames holds float32, or float16 behind the utterance's own offset and scale: each feature then has zero
# mean and unit variance, and an error of about a thousandth of a standard deviation.


def packed(frames: NDArray[np.float32], half: bool) -> bytes:
    """Frames (n, F) → a cell."""
    if not half:
        return frames.astype("<f4").tobytes()
    offset, scale = frames.mean(axis=0), frames.std(axis=0).clip(min=1e-5)
    head = np.stack([offset, scale]).astype("<f4").tobytes()
    return head + np.asarray((frames - offset) / scale, "<f2").tobytes()


def unpacked(cell: memoryview | bytes, size: int, half: bool) -> NDArray[np.float32]:
    """A cell → frames (n, F), a copy."""
    if not half:
        return np.frombuffer(cell, "<f4").reshape(-1, size).astype(np.float32)
    offset, scale = np.frombuffer(cell, "<f4", count=2 * size).reshape(2, size)
    values = np.frombuffer(cell, "<f2", offset=8 * size).reshape(-1, size).astype(np.float32)
    values *= scale
    values += offset
    return values
