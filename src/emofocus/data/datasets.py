"""Segments of utterances' features, and batches of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofocus.config import SegmentSettings
from emofocus.data.feature_store import Speech
from emofocus.errors import ConfigError

RESIDENT_BYTES = 4 << 30
"""Most bytes of a part's features that are held in memory; batches of larger parts are read from the cache."""

NUMBERS_AT_ONCE = 1 << 24
"""Feature values held at a time while statistics are taken."""


class Batch(NamedTuple):
    """Segments (B, m, F), their true lengths (B,) or None when all are m, labels (B,), utterance numbers (B,).

    m is the longest segment's, at most a full segment's: whole utterances are not padded beyond each other.

    ``labelled`` (B, C) tells whether the corpus of each segment has utterances of each class; None if all have.
    """

    features: Tensor
    lengths: Tensor | None
    labels: Tensor
    utterances: Tensor
    labelled: Tensor | None = None


class Rank(NamedTuple):
    """Number of a process among those that train together.

    Attributes:
        number: Number of the process, from 0.
        of: Number of processes.
    """

    number: int = 0
    of: int = 1


ALONE = Rank()


class Step(NamedTuple):
    """One step of training in one process.

    Attributes:
        batch: Segments that the process alters and mixes.
        learned: Rows of the batch from which the process learns.
        segments: Number of segments from which all processes together learn.
    """

    batch: Batch
    learned: slice
    segments: int


@dataclass(frozen=True)
class Pass:
    """One pass over a training part.

    Attributes:
        count: Number of steps, the same in all processes.
        steps: The steps, each made when it is asked for.
        draws: Number of the sequence of random numbers that alters the segments: processes that see the same segments
            alter them alike.
    """

    count: int
    steps: Iterator[Step]
    draws: int


class TrainingPart(Protocol):
    """A training part, from memory or from shards."""

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (F,) of each feature over all segments' frames."""

    def to(self, device: torch.device) -> None:
        """Keep the features on a device, where that is possible."""

    def epoch(self, size: int, generator: np.random.Generator, rank: Rank = ALONE) -> Pass:
        """All segments once in an order that the generator decides, ``size`` in a step of all processes.

        Raises:
            ConfigError: Some process would have no segment in a step.
        """


class ScoredPart(Protocol):
    """A validation or test part."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class number of each utterance (P,)."""

    def to(self, device: torch.device) -> None:
        """Keep the features on a device, where that is possible."""

    def batches(self, size: int, *, rank: Rank = ALONE) -> Iterator[Batch]:
        """A process' share of all segments, in any order; shares are as equal as they can be."""


class SegmentDataset:
    """The segments of some utterances that hold speech; each inherits its utterance's label.

    Args:
        speech: Features of the whole corpus.
        labels: Class number of each utterance of the corpus (U,).
        settings: Length and hop of segments.
        chosen: Positions of the utterances in this part (P,); all by default.
        variants: Altered versions of ``speech``, for training: an epoch takes each utterance from one of them or from
            ``speech``, as `draw` decides.
        labelled: Whether the corpus of each utterance has utterances of each class (U, C); None if all have.
        cells: Number of a cell for each utterance (U,). An epoch then draws as many segments as there are, with
            replacement, and all cells alike; without cells it takes each segment once.

    Attributes:
        labels: Class number of each utterance of this part (P,).
        segments: Utterance number within this part, and first row of `Speech.frames`, of each segment (S, 2).
        track_of: Version that each utterance is taken from (P,): 0 for ``speech``, k for the k-th of the variants.
    """

    def __init__(
        self,
        speech: Sequence[Speech],
        labels: Sequence[int] | NDArray[np.int64],
        settings: SegmentSettings,
        chosen: NDArray[np.int64] | None = None,
        variants: Sequence[Sequence[Speech]] = (),
        labelled: NDArray[np.bool_] | None = None,
        cells: NDArray[np.int64] | None = None,
    ) -> None:
        self.speech = speech
        self.settings = settings
        self.chosen = np.arange(len(speech)) if chosen is None else chosen
        self.labels = np.asarray(labels, dtype=np.int64)[self.chosen]
        self._labelled = None if labelled is None or labelled.all() else torch.from_numpy(labelled[self.chosen])
        self._cells = None if cells is None else cells[self.chosen]
        self._tracks = (speech, *variants)
        self._starts = [[track[int(i)].active_starts(settings) for i in self.chosen] for track in self._tracks]
        self._table = _FrameTable.of(self._tracks, self.chosen)
        self._use(np.zeros(len(self.chosen), dtype=np.int64))

    def __len__(self) -> int:
        """Number of segments."""
        return len(self.segments)

    def draw(self, generator: np.random.Generator) -> None:
        """Take each utterance from one of the variants, or as it is."""
        if len(self._tracks) > 1:
            self._use(generator.integers(len(self._tracks), size=len(self.chosen)))

    def to(self, device: torch.device) -> None:
        """Keep the features on a device, if they are held in memory."""
        if self._table is not None:
            self._table.frames = self._table.frames.to(device)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (F,) of each feature over all segments' frames."""
        count, total, squares = 0, 0.0, 0.0
        shift = self._segment(*self.segments[0])[0].astype(np.float64)  # near the mean, so that squares stay small
        size = max(1, NUMBERS_AT_ONCE // (self.settings.frames * len(shift)))
        for start in range(0, len(self), size):
            chosen = self.segments[start : start + size]
            frames = np.concatenate([self._segment(*segment) for segment in chosen]) - shift  # (frames, F)
            count += len(frames)
            total = total + frames.sum(axis=0)
            squares = squares + (frames**2).sum(axis=0)
        mean = total / count
        deviation = np.sqrt(squares / count - mean**2)
        return torch.from_numpy(mean + shift).float(), torch.from_numpy(deviation).float()

    @property
    def tracks(self) -> int:
        """Number of versions of the speech."""
        return len(self._tracks)

    def frame_counts(self) -> NDArray[np.int64]:
        """Number of frames of each version of each utterance (tracks, P)."""
        return np.array([[len(track[int(i)].level) for i in self.chosen] for track in self._tracks])

    def segments_of(self, track: int, utterance: int) -> list[NDArray[np.float32]]:
        """Segments (m, F) with speech of one version of an utterance of this part."""
        frames = self._tracks[track][int(self.chosen[utterance])].frames
        starts = self._starts[track][utterance]
        return [np.asarray(frames[start : start + self.settings.frames], np.float32) for start in starts]

    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        """Glue segments together; those of utterances shorter than a segment are padded with zeros."""
        chosen = self.segments[numbers]
        features, lengths = self._gather(chosen) if self._table else self._read(chosen)
        owners = chosen[:, 0].astype(np.int64)
        return Batch(
            features,
            None if int(lengths.min()) == features.shape[1] else torch.from_numpy(lengths),
            torch.from_numpy(self.labels[owners]),
            torch.from_numpy(owners),
            None if self._labelled is None else self._labelled[owners],
        )

    def epoch(self, size: int, generator: np.random.Generator, rank: Rank = ALONE) -> Pass:
        """All segments once, in steps (`TrainingPart.epoch`). The rest behind the last full step is left out.

        With cells, as many segments are drawn with replacement, those of each cell as often as those of any other.

        Every process sees all segments of a step and alters them alike, so that a step is the same for any number of
        processes, down to the pairs of mixup. From memory that is cheap.
        """
        self.draw(generator)
        order = self._order(generator)
        starts = range(0, max(1, len(self) // size) * size, size)  # one smaller step if there is no full one
        refuse_idle(min(size, len(self)), rank)
        learned = slice(rank.number, None, rank.of)
        chosen = (order[start : start + size] for start in starts)
        return Pass(len(starts), (Step(self.batch(numbers), learned, len(numbers)) for numbers in chosen), draws=0)

    def _order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Numbers of an epoch's segments (S,)."""
        if self._cells is None:
            return generator.permutation(len(self))
        cell = self._cells[self.segments[:, 0]]
        shares = 1.0 / np.bincount(cell)[cell]
        return generator.choice(len(self), size=len(self), p=shares / shares.sum())

    def batches(self, size: int, order: NDArray[np.int64] | None = None, rank: Rank = ALONE) -> Iterator[Batch]:
        """A process' share of all segments, in their own order or a given one."""
        order = np.arange(len(self)) if order is None else order
        order = order[rank.number :: rank.of]
        for start in range(0, len(order), size):
            yield self.batch(order[start : start + size])

    def _use(self, track_of: NDArray[np.int64]) -> None:
        """Cut utterance u from track ``track_of[u]``."""
        starts = [self._starts[track][u] for u, track in enumerate(track_of)]
        owners = np.repeat(np.arange(len(starts)), [len(item) for item in starts])
        self.track_of = track_of
        self.segments = np.stack([owners, np.concatenate(starts)], axis=1).astype(np.int32)

    def _gather(self, chosen: NDArray[np.int32]) -> tuple[Tensor, NDArray[np.int64]]:
        """Segments (B, 2) → features (B, m, F) and lengths (B,), from memory."""
        assert self._table is not None
        begins, ends = self._table.span(self.track_of[chosen[:, 0]], chosen[:, 0])
        first = begins + chosen[:, 1]
        lengths = np.minimum(ends - first, self.settings.frames)
        frames = self._table.frames
        longest = int(lengths.max())
        offsets = torch.arange(longest, device=frames.device)
        index = torch.from_numpy(first).to(frames.device, non_blocking=True)[:, None] + offsets  # (B, m)
        features = frames[index.clamp(max=len(frames) - 1)].float()  # (B, m, F)
        if int(lengths.min()) < longest:
            features[offsets >= torch.from_numpy(lengths).to(frames.device)[:, None]] = 0.0
        return features, lengths

    def _read(self, chosen: NDArray[np.int32]) -> tuple[Tensor, NDArray[np.int64]]:
        """The same for a corpus that is larger than memory."""
        return padded([self._segment(*segment) for segment in chosen])

    def _segment(self, utterance: int, start: int) -> NDArray[np.float32]:
        speech = self._tracks[self.track_of[utterance]][int(self.chosen[utterance])]
        return np.asarray(speech.frames[start : start + self.settings.frames], np.float32)


def padded(parts: Sequence[NDArray[np.float32]]) -> tuple[Tensor, NDArray[np.int64]]:
    """Segments (m_i, F), padded with zeros to the longest → features (B, m, F) and lengths (B,)."""
    lengths = np.array([len(part) for part in parts])
    features = np.zeros((len(parts), lengths.max(), parts[0].shape[1]), np.float32)
    for row, part in zip(features, parts, strict=True):
        row[: len(part)] = part
    return torch.from_numpy(features), lengths


def refuse_idle(segments: int, rank: Rank) -> None:
    """Refuse steps in which some process has nothing to learn from.

    Raises:
        ConfigError: Fewer segments than processes.
    """
    if segments < rank.of:
        raise ConfigError(
            f"{segments} segments in a step are too few for {rank.of} processes; at least one each is needed"
        )


class _FrameTable:
    """All frames of a part in memory, so that a batch is one look-up.

    Attributes:
        frames: All tracks' utterances, one after the other (N, F), in the precision that they are kept in.
    """

    def __init__(self, frames: Tensor, edges: NDArray[np.int64], utterances: int) -> None:
        self.frames = frames
        self._edges, self._utterances = edges, utterances

    @classmethod
    def of(cls, tracks: Sequence[Sequence[Speech]], chosen: NDArray[np.int64]) -> "_FrameTable | None":
        """Copy the frames, unless they are more than `RESIDENT_BYTES`."""
        parts: list[NDArray[np.floating[Any]]] = []
        size = 0
        for version in tracks:
            for index in chosen:
                parts.append(version[int(index)].frames)
                size += parts[-1].nbytes
                if size > RESIDENT_BYTES:
                    return None
        edges = np.cumsum([0, *(len(part) for part in parts)])
        return cls(torch.from_numpy(np.concatenate(parts)), edges, len(chosen))

    def span(self, track: NDArray[np.int64], utterance: NDArray[np.int32]) -> tuple[Any, Any]:
        """First frame, and the one behind the last, of utterances (B,) of tracks (B,)."""
        position = track * self._utterances + utterance
        return self._edges[position], self._edges[position + 1]
