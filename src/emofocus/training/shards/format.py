"""Format of shards: utterances' features as rows of Parquet files, and an index of them.

Parquet rather than tar files (WebDataset): a speed is a column, so that an epoch reads one of seven and not all; a row
group can be read by itself, so that any number of processes share the work evenly; and any table tool opens it.

| file | content |
|---|---|
| ``train-00000.parquet``, ``valid-00000.parquet`` … | utterances, in an order without a pattern |
| ``groups.parquet`` | a row for each row group: utterances, and segments at each speed |
| ``index.json`` | corpus, folds, audit, settings, statistics; written last, when the shards are whole |
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from emofocus.errors import ConfigError, CorpusError
from emofocus.utils.storage import Location, open_file, parse_location, reason_of

FORMAT = "emofocus shards/1"
INDEX, GROUPS = "index.json", "groups.parquet"
PARTS = ("train", "valid")
GROUP = 8
"""Utterances of a row group, which are read together at one speed."""

SUMMARY = b"emofocus"
"""Key of a shard's summary among the metadata of its footer."""


class ShardSummary(msgspec.Struct, frozen=True):
    """Content of a shard, as its footer says it.

    Attributes:
        identity: Hash of all that the content of the shards depends on.
        groups: Utterances of each row group, and segments at each speed (G, 1 + speeds).
        moments: Frames of unaltered speech, their mean (F,), and the sum of their squared distances from it (F,).
    """

    identity: str
    groups: list[list[int]]
    moments: tuple[int, list[float], list[float]]


class Cut(NamedTuple):
    """An utterance at one speed: frames (n, F) and the first frames of its active segments (S,)."""

    frames: NDArray[np.float32]
    starts: NDArray[np.int32]


def shards_at(uri: str) -> Location:
    """A folder's path or URI.

    Raises:
        CorpusError: There is no such file system.
    """
    location = parse_location(uri)
    try:
        location.open()
    except ConfigError as error:
        raise CorpusError(f"{location.name}: no place for shards ({error})") from error
    return location


@contextmanager
def plain_read_errors(location: Location) -> Iterator[None]:
    """Turn errors of disk, network or content into one line.

    Raises:
        CorpusError: Reading failed; the message names location and reason.
    """
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise CorpusError(f"{location.name}: {reason_of(error)}") from error


def schema_of(speeds: Sequence[float], summary: ShardSummary | None = None) -> pa.Schema:
    """Columns of a shard, with the summary of its footer."""
    cuts = [(f"{name} {speed:g}", pa.large_binary()) for speed in speeds for name in ("frames", "starts")]
    metadata = None if summary is None else {SUMMARY: json.dumps(msgspec.to_builtins(summary)).encode()}
    return pa.schema([("key", pa.string()), ("label", pa.int32()), *cuts], metadata=metadata)


def summary_of(shard: Location) -> ShardSummary:
    """Summary in a shard's footer.

    Raises:
        CorpusError: The file cannot be read, or is not a shard.
    """
    with plain_read_errors(shard), open_file(shard) as file:
        metadata = parquet.read_metadata(file).metadata or {}
    if SUMMARY not in metadata:
        raise CorpusError(f"{shard.name}: no shard of emofocus")
    try:
        return msgspec.json.decode(metadata[SUMMARY], type=ShardSummary)
    except msgspec.ValidationError as error:
        raise CorpusError(f"{shard.name}: a shard of another version ({error})") from error


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
