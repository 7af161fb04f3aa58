"""Utterances → features (once, in a cache) → segments → batches."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofocus import audio
from emofocus.cache import Cache
from emofocus.config import FeatureSettings, SegmentSettings, to_plain
from emofocus.corpora import Corpus
from emofocus.duplicates import Sound, sound_of
from emofocus.errors import AudioError
from emofocus.features import FrontEnd
from emofocus.progress import track
from emofocus.segments import active_segments

COMMIT_EVERY = 64
"""Utterances computed between two transactions: what an interruption can cost."""

NUMBERS_AT_ONCE = 1 << 24
"""Feature values held at a time while statistics are taken."""


@dataclass(frozen=True)
class Speech:
    """Features of one utterance: frames (n, F) and their level (n,) in dB full scale."""

    frames: NDArray[np.float32]
    level: NDArray[np.float32]


class SpeechStore(Sequence[Speech]):
    """Features of a corpus' utterances, read from the cache when they are looked at.

    Args:
        corpus: Whose utterances.
        settings: Which features.
        cache: Where they are kept.
    """

    def __init__(self, corpus: Corpus, settings: FeatureSettings, cache: Cache) -> None:
        self._corpus, self._cache = corpus, cache
        self._front_end = FrontEnd(settings).eval()
        self._contents = content_keys(corpus, cache)
        variant = hashlib.blake2b(json.dumps(to_plain(settings)).encode(), digest_size=8).hexdigest()
        self._keys = [f"{content}/{variant}" for content in self._contents]

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self._keys)

    def __getitem__(self, index: int) -> Speech:  # type: ignore[override]
        """One utterance's features; computed again if another process needed the cache's room."""
        value = self._cache.read(self._keys[index])
        if value is None:
            self._compute([index])
            value = self._cache.read(self._keys[index])
        assert value is not None
        shape = np.frombuffer(value, dtype="<i8", count=2)
        table = np.frombuffer(value, dtype="<f4", offset=16).reshape(shape)  # (n, 1 + F)
        return Speech(frames=table[:, 1:], level=table[:, 0])

    def fill(self) -> None:
        """Compute what is not in the cache.

        Raises:
            AudioError: A file cannot be read; what was computed before it stays in the cache.
        """
        todo = self._cache.missing(self._keys)
        for start in track(range(0, len(todo), COMMIT_EVERY), "features", unit="batch"):
            self._compute(todo[start : start + COMMIT_EVERY])

    def _compute(self, todo: Sequence[int]) -> None:
        done: list[tuple[str, bytes]] = []
        try:
            for index in todo:
                item = self._corpus.utterances[index]
                waveform = audio.load(self._corpus.path(index), item.start, item.end)
                done.append((self._keys[index], _packed(waveform, self._front_end)))
                done.append((_sound_key(self._contents[index]), _packed_sound(sound_of(waveform))))
        finally:  # a file that cannot be read, or Ctrl-C, costs no other work
            self._cache.write(done)


def sounds_of(corpus: Corpus, cache: Cache) -> list[Sound]:
    """What each utterance sounds like, for comparison with others; through the cache.

    Raises:
        AudioError: A file cannot be read; what was computed before it stays in the cache.
    """
    contents = content_keys(corpus, cache)
    keys = [_sound_key(content) for content in contents]
    todo = cache.missing(keys)
    for start in track(range(0, len(todo), COMMIT_EVERY), "listening", unit="batch"):
        done: list[tuple[str, bytes]] = []
        try:
            for index in todo[start : start + COMMIT_EVERY]:
                item = corpus.utterances[index]
                sound = sound_of(audio.load(corpus.path(index), item.start, item.end))
                done.append((keys[index], _packed_sound(sound)))
        finally:
            cache.write(done)
    values = [cache.read(key) or b"" for key in keys]
    return [Sound(value[:16].hex(), np.frombuffer(value[16:], dtype="<u4")) for value in values]


def _sound_key(content: str) -> str:
    return f"{content}/sound"


def _packed_sound(sound: Sound) -> bytes:
    return bytes.fromhex(sound.digest) + sound.prints.astype("<u4").tobytes()


@torch.inference_mode()
def _packed(waveform: audio.Waveform, front_end: FrontEnd) -> bytes:
    frames, level = front_end(torch.from_numpy(waveform)[None])
    table = torch.cat([level[0, :, None], frames[0]], dim=1).numpy()  # (n, 1 + F)
    return np.array(table.shape, dtype="<i8").tobytes() + table.astype("<f4").tobytes()


def content_keys(corpus: Corpus, cache: Cache) -> list[str]:
    """Name of each utterance's audio: a hash of its file's bytes, and its times if it has some.

    The bytes are hashed again only when a file's size or time of change differs from last time.
    """
    hashes: dict[str, str] = {}
    fresh: dict[str, bytes] = {}
    try:
        for file in corpus.table["file"].unique(maintain_order=True):
            hashes[file] = _content_hash(corpus.root / file, cache, fresh)
    finally:
        cache.write(list(fresh.items()))
    rows = corpus.table.select("file", "start", "end").iter_rows()
    return [
        hashes[file] if start is None and end is None else f"{hashes[file]}@{start}-{end}" for file, start, end in rows
    ]


def _content_hash(path: Path, cache: Cache, fresh: dict[str, bytes]) -> str:
    """Hash of a file's bytes; one that the cache does not know yet is added to ``fresh``."""
    try:
        state = path.stat()
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror}") from error
    stamp = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}".encode(errors="surrogateescape")
    key = f"file/{hashlib.blake2b(stamp, digest_size=16).hexdigest()}"
    known = cache.read(key)
    if known is None:
        with path.open("rb") as file:
            known = fresh[key] = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    return known.hex()


class Batch(NamedTuple):
    """Segments (B, m, F), their true lengths (B,) or None when all are m, labels (B,), utterance numbers (B,)."""

    features: Tensor
    lengths: Tensor | None
    labels: Tensor
    utterances: Tensor


class SegmentDataset:
    """The segments of some utterances that hold speech; each inherits its utterance's label.

    Args:
        speech: Features of the whole corpus.
        labels: Class number of each utterance of the corpus (U,).
        settings: Length and hop of segments.
        chosen: Positions of the utterances in this part (P,); all by default.

    Attributes:
        labels: Class number of each utterance of this part (P,).
        segments: Utterance number within this part, and first frame, of each segment (S, 2).
    """

    def __init__(
        self,
        speech: Sequence[Speech],
        labels: Sequence[int] | NDArray[np.int64],
        settings: SegmentSettings,
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        self.speech = speech
        self.settings = settings
        self.chosen = np.arange(len(speech)) if chosen is None else chosen
        self.labels = np.asarray(labels, dtype=np.int64)[self.chosen]
        starts = [np.flatnonzero(active_segments(speech[i].level, settings)) * settings.hop for i in self.chosen]
        owners = np.repeat(np.arange(len(self.chosen)), [len(item) for item in starts])
        self.segments = np.stack([owners, np.concatenate(starts)], axis=1).astype(np.int32)

    def __len__(self) -> int:
        """Number of segments."""
        return len(self.segments)

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

    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        """Glue segments together; those of utterances shorter than a segment are padded with zeros."""
        chosen = self.segments[numbers]
        parts = [self._segment(*segment) for segment in chosen]
        features = np.zeros((len(parts), self.settings.frames, parts[0].shape[1]), np.float32)
        for row, part in zip(features, parts, strict=True):
            row[: len(part)] = part
        lengths = torch.tensor([len(part) for part in parts])
        owners = chosen[:, 0].astype(np.int64)
        return Batch(
            torch.from_numpy(features),
            None if int(lengths.min()) == self.settings.frames else lengths,
            torch.from_numpy(self.labels[owners]),
            torch.from_numpy(owners),
        )

    def batches(self, size: int, order: NDArray[np.int64] | None = None) -> Iterator[Batch]:
        """All segments once, in their own order or a given one."""
        order = np.arange(len(self)) if order is None else order
        for start in range(0, len(order), size):
            yield self.batch(order[start : start + size])

    def _segment(self, utterance: int, start: int) -> NDArray[np.float32]:
        return self.speech[int(self.chosen[utterance])].frames[start : start + self.settings.frames]
