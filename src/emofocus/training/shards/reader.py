"""Parts of a corpus that are read from shards, in a new random order each epoch.

An epoch goes through the shards in a random order, takes each row group at a random speed, and draws its segments from
a buffer of bounded size. All draws follow from the seed and the epoch's number, so that an interrupted training
continues with the same bits. Processes share the row groups: none is read twice.
"""

import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import cached_property
from threading import local
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyarrow import parquet
from torch import Tensor

from emofocus.config import EmbeddingSettings, FeatureSettings, Recipe, SegmentSettings, parse, to_plain
from emofocus.data.datasets import ALONE, Batch, Pass, Rank, Step, padded, refuse_idle
from emofocus.data.feature_store import refuse_copies
from emofocus.errors import ConfigError, CorpusError, one_of
from emofocus.training.shards.format import FORMAT, GROUPS, INDEX, Cut, plain_read_errors, shards_at, unpacked
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.storage import list_files, open_file, read_file

BUFFER_BYTES = 256 << 20
"""Default size of the buffer from which segments are drawn."""

READERS = 4
"""Row groups that are read ahead at the same time, which hides the latency of a network."""

Numbers = NDArray[np.int64]


class LabeledCut(NamedTuple):
    """An utterance of a shard: its frames and segments, and the number of its class."""

    cut: Cut
    label: int


Utterances = Generator[list[LabeledCut], None, None]
"""Utterances of row groups, one group after the other."""


class Groups(NamedTuple):
    """Row groups of a part.

    Attributes:
        shard: Number of each group's shard (G,).
        number: Number of each group within its shard (G,).
        utterances: Number of utterances of each group (G,).
        segments: Number of segments of each group at each speed (G, V).
    """

    shard: Numbers
    number: Numbers
    utterances: Numbers
    segments: Numbers

    def at(self, chosen: Numbers) -> "Groups":
        """Some of them, in that order."""
        return Groups(*(column[chosen] for column in self))


class Shards:
    """Shards, as `write_shards` writes them.

    Args:
        uri: Path or URI of the folder.

    Attributes:
        index: Content of `index.json`.

    Raises:
        CorpusError: The folder holds no shards, unfinished ones, or shards of another version.
    """

    def __init__(self, uri: str) -> None:
        self.location = shards_at(uri)
        where, index = self.location.name, self.location.child(INDEX)
        if index not in list_files(self.location, deep=False):
            raise CorpusError(
                f"{where}: no shards, or not all of them yet: {INDEX} is missing (emofocus shards writes it)"
            )
        self.index: dict[str, Any] = json.loads(read_file(index))
        if self.index.get("format") != FORMAT:
            raise CorpusError(f"{where}: shards of another version, {self.index.get('format')!r} ({one_of([FORMAT])})")
        self.segment = parse(SegmentSettings, self.index["segment"], where)
        self.features = parse(FeatureSettings, self.index["features"], where)
        embedding = self.index["embedding"]
        self.embedding = parse(EmbeddingSettings, embedding, where) if embedding else None
        self.half = bool(self.index["half"])
        self.size = len(self.index["mean"])

    def training(self, recipe: Recipe, buffer_bytes: int = BUFFER_BYTES) -> "StreamedTraining":
        """The training part, at a recipe's speeds.

        Raises:
            ConfigError: The shards hold other features or segments than the recipe wants, or lack one of its speeds.
        """
        refuse_copies(recipe)
        for name, held in (("features", self.features), ("segment", self.segment)):
            if getattr(recipe, name) != held:
                raise ConfigError(f"{self.location.name} holds other {name} than the recipe asks for: {to_plain(held)}")
        speeds = self.index["speeds"]
        missing = [speed for speed in recipe.speeds if speed not in speeds]
        if missing:
            raise ConfigError(f"{self.location.name} lacks speed {missing[0]} of the recipe ({one_of(speeds)})")
        return StreamedTraining(self, (1.0, *recipe.speeds), buffer_bytes)

    def validation(self) -> "StreamedScoring":
        """The validation part."""
        return StreamedScoring(self, "valid")

    def groups(self, part: str, speeds: Sequence[float]) -> Groups:
        """Row groups of a part, and their segments at some speeds."""
        location = self.location.child(GROUPS)
        with plain_read_errors(location):
            table = parquet.read_table(pa.BufferReader(read_file(location)), filters=[("part", "=", part)])
        segments = np.stack([_numbers(table, f"segments {speed:g}") for speed in speeds], axis=1)
        return Groups(_numbers(table, "shard"), _numbers(table, "group"), _numbers(table, "utterances"), segments)

    def read(self, part: str, groups: Groups, speeds: NDArray[np.float64]) -> Utterances:
        """Row groups one after the other, read ahead; ``speeds`` are of each group (G,)."""
        opened = local()

        def one(position: int) -> list[LabeledCut]:
            location = self.location.child(f"{part}-{groups.shard[position]:05d}.parquet")
            with plain_read_errors(location):
                if getattr(opened, "location", None) != location:
                    opened.location, opened.file = location, parquet.ParquetFile(open_file(location))
                columns = [f"{column} {speeds[position]:g}" for column in ("frames", "starts")]
                number = int(groups.number[position])
                table = opened.file.read_row_group(number, columns=["label", *columns], use_threads=False)
            cells = zip(*(table[column].to_pylist() for column in columns), strict=True)
            labels = table["label"].to_pylist()
            return [LabeledCut(self._cut(*cell), label) for cell, label in zip(cells, labels, strict=True)]

        yield from map_ahead(one, range(len(groups.shard)), READERS)

    def _cut(self, frames: bytes, starts: bytes) -> Cut:
        return Cut(unpacked(frames, self.size, self.half), np.frombuffer(starts, "<i4"))


def _numbers(table: pa.Table, column: str) -> Numbers:
    return np.asarray(table[column].to_numpy(), np.int64)


class StreamedTraining:
    """A `TrainingPart` that is read from shards.

    Each process draws and alters other segments than the others, and mixes pairs of its segments.
    """

    def __init__(self, shards: Shards, speeds: Sequence[float], buffer_bytes: int) -> None:
        self._shards, self._speeds, self._buffer_bytes = shards, np.array(speeds), buffer_bytes
        self._groups = shards.groups("train", speeds)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (F,) of each feature of unaltered speech, from the index."""
        mean, deviation = (
            torch.tensor(self._shards.index[name], dtype=torch.float64) for name in ("mean", "deviation")
        )
        return mean.float(), deviation.float()

    def to(self, device: torch.device) -> None:
        """Do nothing: batches are read from shards at each pass."""

    def epoch(self, size: int, generator: np.random.Generator, rank: Rank = ALONE) -> Pass:
        """Steps of one epoch (`TrainingPart.epoch`). Segments that fill no whole step are left out."""
        groups = self._groups
        track = generator.integers(len(self._speeds), size=len(groups.shard))
        order = np.lexsort([groups.number, generator.permutation(groups.shard.max() + 1)[groups.shard]])
        segments = groups.segments[np.arange(len(track)), track][order]
        shares = [shared(segments, Rank(number, rank.of)) for number in range(rank.of)]
        held = np.array([segments[share].sum() for share in shares])
        refuse_idle(min(size, int(held.min()) * rank.of), rank)
        sizes = np.array([size // rank.of + (number < size % rank.of) for number in range(rank.of)])
        count = max(1, int((held // sizes).min()))
        sizes = np.minimum(sizes, held)
        share = order[shares[rank.number]]
        draws = np.random.default_rng([*generator.integers(1 << 32, size=2), rank.number])
        utterances = self._shards.read("train", groups.at(share), self._speeds[track[share]])
        steps = self._steps(utterances, int(sizes[rank.number]), int(sizes.sum()), count, draws)
        return Pass(count, steps, draws=rank.number)

    def _steps(
        self, groups: Utterances, size: int, segments: int, count: int, draws: np.random.Generator
    ) -> Iterator[Step]:
        drawn = shuffled(groups, self._shards.segment.frames, self._buffer_bytes, draws)
        for _ in range(count):
            parts, labels = zip(*(next(drawn) for _ in range(size)), strict=True)
            yield Step(batch_of(parts, labels, range(size)), slice(None), segments)
        drawn.close()
        groups.close()


class StreamedScoring:
    """A `ScoredPart` that is read from shards. Labels alone are held in memory."""

    def __init__(self, shards: Shards, part: str) -> None:
        self._shards, self._part = shards, part
        self._groups = shards.groups(part, (1.0,))

    @cached_property
    def labels(self) -> Numbers:
        """Class number of each utterance (P,)."""
        labels = []
        for shard in range(self._groups.shard.max() + 1):
            location = self._shards.location.child(f"{self._part}-{shard:05d}.parquet")
            with plain_read_errors(location), open_file(location) as file:
                labels.append(parquet.read_table(file, columns=["label"])["label"].to_numpy())
        return np.concatenate(labels).astype(np.int64)

    def to(self, device: torch.device) -> None:
        """Do nothing: batches are read from shards at each pass."""

    def batches(self, size: int, *, rank: Rank = ALONE) -> Iterator[Batch]:
        """Batches of a process' share of all segments (`ScoredPart.batches`)."""
        share = shared(self._groups.segments[:, 0], rank)
        positions = np.arange(len(self._groups.shard))[share]
        utterance = int(self._groups.utterances[: share.start].sum())
        parts: list[NDArray[np.float32]] = []
        owners: list[int] = []
        for group in self._shards.read(self._part, self._groups.at(positions), np.ones(len(positions))):
            for utterance_cut in group:
                for start in utterance_cut.cut.starts:
                    parts.append(utterance_cut.cut.frames[start : start + self._shards.segment.frames])
                    owners.append(utterance)
                    if len(parts) == size:
                        yield batch_of(parts, self.labels[owners], owners)
                        parts, owners = [], []
                utterance += 1
        if parts:
            yield batch_of(parts, self.labels[owners], owners)


def shared(sizes: Numbers, rank: Rank) -> slice:
    """A process' share of a row of items, by their sizes (N,): each is in one, and they are as equal as can be."""
    middles = np.cumsum(sizes) - sizes / 2
    edges = [int(np.searchsorted(middles, sizes.sum() * part / rank.of)) for part in (rank.number, rank.number + 1)]
    return slice(*edges)


class _Waiting:
    """An utterance in the buffer, and how many of its segments are still to be drawn."""

    def __init__(self, utterance: LabeledCut) -> None:
        self.frames, self.label, self.left = utterance.cut.frames, utterance.label, len(utterance.cut.starts)


def shuffled(
    groups: Iterable[list[LabeledCut]], length: int, limit: int, draws: np.random.Generator
) -> Generator[tuple[NDArray[np.float32], int], None, None]:
    """Segments and their labels, drawn at random from a buffer.

    Args:
        groups: Utterances that fill the buffer.
        length: Frames of a segment.
        limit: Bytes of the buffer's utterances before the last group; an utterance counts until its last segment is
            drawn.
        draws: Generator of the order.
    """
    waiting: list[tuple[_Waiting, int]] = []
    held = 0
    for group in groups:
        for utterance in group:
            item = _Waiting(utterance)
            waiting.extend((item, int(start)) for start in utterance.cut.starts)
            held += item.frames.nbytes
        while held > limit and waiting:
            item, start = _drawn(waiting, draws)
            held -= 0 if item.left else item.frames.nbytes
            yield item.frames[start : start + length], item.label
    while waiting:
        item, start = _drawn(waiting, draws)
        yield item.frames[start : start + length], item.label


def _drawn(waiting: list[tuple[_Waiting, int]], draws: np.random.Generator) -> tuple[_Waiting, int]:
    """Remove a random item; the last one takes its place."""
    place = int(draws.integers(len(waiting)))
    waiting[place], waiting[-1] = waiting[-1], waiting[place]
    item, start = waiting.pop()
    item.left -= 1
    return item, start


def batch_of(parts: Sequence[NDArray[np.float32]], labels: Sequence[int] | Numbers, owners: Sequence[int]) -> Batch:
    """Segments (m_i, F) of labels (B,) and utterances (B,) as a batch."""
    features, lengths = padded(parts)
    whole = int(lengths.min()) == features.shape[1]
    return Batch(
        features,
        None if whole else torch.from_numpy(lengths),
        torch.from_numpy(np.asarray(labels, dtype=np.int64)),
        torch.from_numpy(np.asarray(owners, dtype=np.int64)),
    )
