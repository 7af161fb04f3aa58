"""Utterances → features (once, in a cache) → segments → batches."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofocus import audio
from emofocus.config import FeatureSettings, SegmentSettings, to_plain
from emofocus.corpora import Corpus
from emofocus.errors import ConfigError
from emofocus.features import FrontEnd
from emofocus.progress import track
from emofocus.segments import active_segments

MAP_SIZE = 1 << 38
"""Address space of the cache (256 GiB); the file grows only with what is in it."""

COMMIT_EVERY = 64
"""Utterances computed between two transactions: what an interruption can cost."""


@dataclass(frozen=True)
class Speech:
    """Features of one utterance: frames (n, F) and their level (n,) in dB full scale."""

    frames: NDArray[np.float32]
    level: NDArray[np.float32]


class FeatureCache:
    """Features on disk, keyed by the audio's content and the feature settings, in one memory-mapped LMDB file.

    Transactions make it safe to interrupt, and to fill from several processes at once.
    """

    def __init__(self, folder: Path | None = None) -> None:
        import lmdb

        self.folder = folder or default_cache_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._environment = lmdb.open(str(self.folder), map_size=MAP_SIZE, max_readers=512)
        except lmdb.Error as error:
            raise ConfigError(f"{self.folder}: this feature cache cannot be opened ({error})") from error

    def missing(self, keys: Sequence[str]) -> list[int]:
        """Positions of the keys that are not in the cache."""
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            return [position for position, key in enumerate(keys) if not cursor.set_key(key.encode())]

    def write(self, items: Sequence[tuple[str, Speech]]) -> None:
        """Add features, all or none of them."""
        with self._environment.begin(write=True) as transaction:
            for key, speech in items:
                table = np.concatenate([speech.level[:, None], speech.frames], axis=1)  # (n, 1 + F)
                header = np.array(table.shape, dtype="<i8").tobytes()
                transaction.put(key.encode(), header + table.astype("<f4").tobytes())

    def read(self, key: str) -> Speech:
        """Copy one utterance's features out of the map (KeyError when they are not there)."""
        with self._environment.begin(buffers=True) as transaction:
            value = transaction.get(key.encode())
            if value is None:
                raise KeyError(key)
            shape = np.frombuffer(value[:16], dtype="<i8")
            table = np.frombuffer(value[16:], dtype="<f4").reshape(shape)
            return Speech(frames=table[:, 1:].copy(), level=table[:, 0].copy())

    def close(self) -> None:
        """Release the file."""
        self._environment.close()


def default_cache_folder() -> Path:
    """``$EMOFOCUS_CACHE``, or ``emofocus`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("EMOFOCUS_CACHE") or Path(home) / "emofocus") / "features"


def cache_key(path: Path, settings: FeatureSettings) -> str:
    """Name of a file's features: a hash of its bytes and of the settings."""
    content = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return f"{content}/{hashlib.blake2b(json.dumps(to_plain(settings)).encode(), digest_size=8).hexdigest()}"


def compute_features(corpus: Corpus, settings: FeatureSettings, cache: FeatureCache) -> list[str]:
    """Fill the cache with a corpus' features.

    Returns:
        The utterances' keys in the cache, in their order.

    Raises:
        AudioError: A file cannot be read; what was computed before it stays in the cache.
    """
    paths = corpus.paths()
    keys = [cache_key(path, settings) for path in paths]
    front_end = FrontEnd(settings).eval()
    todo = cache.missing(keys)
    for start in track(range(0, len(todo), COMMIT_EVERY), "features", unit="batch"):
        done: list[tuple[str, Speech]] = []
        try:
            done.extend((keys[i], _features_of(paths[i], front_end)) for i in todo[start : start + COMMIT_EVERY])
        finally:  # a file that cannot be read, or Ctrl-C, costs no other work
            cache.write(done)
    return keys


@torch.inference_mode()
def _features_of(path: Path, front_end: FrontEnd) -> Speech:
    waveform = torch.from_numpy(audio.load(path))[None]
    frames, level = front_end(waveform)
    return Speech(frames[0].numpy(), level[0].numpy())


class Batch(NamedTuple):
    """Segments (B, m, F), their true lengths (B,) or None when all are m, labels (B,), utterance numbers (B,)."""

    features: Tensor
    lengths: Tensor | None
    labels: Tensor
    utterances: Tensor


class SegmentDataset:
    """The segments of some utterances that hold speech; each inherits its utterance's label.

    Attributes:
        labels: Class number of each utterance (U,).
        segments: Utterance number and first frame of each segment (S, 2).
    """

    def __init__(self, speech: Sequence[Speech], labels: Sequence[int], settings: SegmentSettings) -> None:
        self.speech = speech
        self.settings = settings
        self.labels = np.asarray(labels, dtype=np.int64)
        starts = [np.flatnonzero(active_segments(item.level, settings)) * settings.hop for item in speech]
        owners = np.repeat(np.arange(len(speech)), [len(item) for item in starts])
        self.segments = np.stack([owners, np.concatenate(starts)], axis=1)

    def __len__(self) -> int:
        """Number of segments."""
        return len(self.segments)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (F,) of each feature over all segments' frames."""
        frames = np.concatenate([self._segment(*segment) for segment in self.segments])
        mean = frames.mean(axis=0, dtype=np.float64)
        deviation = frames.std(axis=0, dtype=np.float64)
        return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()

    def batch(self, numbers: NDArray[np.int64]) -> Batch:
        """Glue segments together; those of utterances shorter than a segment are padded with zeros."""
        chosen = self.segments[numbers]
        parts = [self._segment(*segment) for segment in chosen]
        features = np.zeros((len(parts), self.settings.frames, parts[0].shape[1]), np.float32)
        for row, part in zip(features, parts, strict=True):
            row[: len(part)] = part
        lengths = torch.tensor([len(part) for part in parts])
        owners = chosen[:, 0]
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
        return self.speech[utterance].frames[start : start + self.settings.frames]
