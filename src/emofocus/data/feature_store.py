"""Features of utterances, computed once and kept in the cache."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from emofocus import audio
from emofocus.audio.conditions import Others, altered
from emofocus.audio.fingerprint import AudioFingerprint, fingerprint_of
from emofocus.config import EmbeddingSettings, FeatureSettings, Recipe, SegmentSettings, to_plain
from emofocus.corpora import Corpus
from emofocus.data.cache import Cache
from emofocus.errors import AudioError, ConfigError
from emofocus.features.front_end import FrontEnd
from emofocus.segments import active_segments, segment_count
from emofocus.utils.progress import track

Entries = Callable[[int, audio.Waveform], list[tuple[str, bytes]]]
"""An utterance's position and samples → what is kept of it, by key."""

COMMIT_EVERY = 64
"""Utterances computed between two transactions, which is the most that an interruption can lose."""


@dataclass(frozen=True)
class Speech:
    """Features of one utterance.

    Attributes:
        frames: Features (n, F), in float16 if an encoder made them; of segments that stand apart (S · m, F).
        level: Level of each frame (n,), in dB full scale.
        apart: Whether segments stand one behind the other: an encoder hears each by itself, so that overlapping ones
            share no frames.
    """

    frames: NDArray[np.floating[Any]]
    level: NDArray[np.float32]
    apart: bool = False

    def active_starts(self, settings: SegmentSettings) -> NDArray[np.int32]:
        """Row of `frames` at which each active segment begins (S,)."""
        step = settings.frames if self.apart else settings.hop
        return (np.flatnonzero(active_segments(self.level, settings)) * step).astype(np.int32)


class SpeechStore(Sequence[Speech]):
    """Features of a corpus' utterances, read from the cache when they are looked at.

    Args:
        corpus: Corpus of the utterances.
        settings: Settings of the features.
        cache: Cache of the features.
        speed: Factor by which the speech is played faster and higher.
        contents: The utterances' `content_keys`, if they are known.
        passing: Compute missing features at each access and do not cache them, for corpora larger than the disk.
        copy: Name in `emofocus.audio.conditions.COPIES` of an alteration of the speech.
        segment: Segments that a pretrained encoder hears one by one in longer utterances, as recognition does; None
            for pieces as long as it can take.
    """

    def __init__(
        self,
        corpus: Corpus,
        settings: FeatureSettings,
        cache: Cache,
        speed: float = 1.0,
        contents: Sequence[str] | None = None,
        passing: bool = False,
        copy: str | None = None,
        segment: SegmentSettings | None = None,
    ) -> None:
        self._corpus, self._cache, self._speed, self._passing, self._copy = corpus, cache, speed, passing, copy
        self._front_end, self._half = FrontEnd(settings).eval(), settings.pretrained
        self._contents = content_keys(corpus, cache) if contents is None else contents
        variant = hashlib.blake2b(json.dumps(to_plain(settings)).encode(), digest_size=8).hexdigest()
        self._variant = variant if speed == 1.0 else f"{variant}/speed {speed:g}"
        self._variant += f"/copy {copy}" if copy else ""
        self._segment = segment if settings.pretrained else None

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self._contents)

    def __getitem__(self, index: int) -> Speech:  # type: ignore[override]
        """One utterance's features; computed again if another process needed the cache's room."""
        value = self._kept(index)
        if value is None and self._passing:
            value = self._computed(index, self._corpus.waveform(index))[-1][1]
        if value is None:
            self._compute([index])
            value = self._kept(index)
        assert value is not None
        return _unpacked(value, self._half, self._stands_apart(_shape_of(value)[0]))

    def _kept(self, index: int) -> bytes | None:
        """Entry of an utterance: that of its segments, where they stand apart."""
        value = self._cache.read(self._key(index))
        if value is None:
            return None
        frames, size = _shape_of(value)
        if self._stands_apart(frames):
            return self._cache.read(self._key_of_segments(index))
        return value if size else None  # of longer segments, only the level may be there

    def _stands_apart(self, frames: int) -> bool:
        """Whether the segments of an utterance of so many frames do."""
        return self._segment is not None and frames > self._segment.frames

    def _key_of_segments(self, index: int) -> str:
        assert self._segment is not None
        return f"{self._key(index)}/segments {self._segment.frames} {self._segment.hop}"

    def fill(self, only: NDArray[np.bool_] | None = None) -> None:
        """Compute the features that are not in the cache.

        Args:
            only: Whether each utterance is needed (U,); all are by default.

        Raises:
            AudioError: A file cannot be read; what was computed before it stays in the cache.
        """
        needed = np.arange(len(self)) if only is None else np.flatnonzero(only)
        missing = self._cache.missing([self._key(int(index)) for index in needed])
        todo = needed[missing].tolist()
        title = "features" if self._speed == 1.0 else f"features at speed {self._speed:g}"
        title += f", {self._copy}" if self._copy else ""
        for start in track(range(0, len(todo), COMMIT_EVERY), title, unit="batch"):
            self._compute(todo[start : start + COMMIT_EVERY])

    def _compute(self, todo: Sequence[int]) -> None:
        keep(self._corpus, todo, self._cache, self._entries)

    def _entries(self, index: int, waveform: audio.Waveform) -> list[tuple[str, bytes]]:
        features = self._computed(index, waveform)
        if self._speed != 1.0 or self._copy:
            return features
        return [(_sound_key(self._contents[index]), _packed_fingerprint(fingerprint_of(waveform))), *features]

    def _key(self, index: int) -> str:
        return f"{self._contents[index]}/{self._variant}"

    def _computed(self, index: int, waveform: audio.Waveform) -> list[tuple[str, bytes]]:
        """Entry of an utterance; if its segments stand apart, one of its level alone, and theirs."""
        if self._copy:
            waveform = altered(waveform, self._copy, self._contents[index], self._others(index))
        waveform = faster(waveform, self._speed)
        if not self._stands_apart(1 + len(waveform) // self._front_end.settings.hop):
            return [(self._key(index), _packed(waveform, self._front_end))]
        apart = _packed(waveform, self._front_end, self._segment)
        return [(self._key(index), _level_alone(apart)), (self._key_of_segments(index), apart)]

    def _others(self, index: int) -> Others:
        """Other utterances of the speaker of one: no other speaker is heard, who may be in another part of a fold."""
        speaker = self._corpus.table["speaker"]
        same = (speaker == speaker[index]).arg_true().to_list()
        return Others(self._corpus.waveform, [other for other in same if other != index])


def fingerprints_of(corpus: Corpus, cache: Cache) -> list[AudioFingerprint]:
    """Fingerprint of each utterance, through the cache.

    Raises:
        AudioError: A file cannot be read; what was computed before it stays in the cache.
    """
    contents = content_keys(corpus, cache)
    keys = [_sound_key(content) for content in contents]
    todo = cache.missing(keys)
    for start in track(range(0, len(todo), COMMIT_EVERY), "listening", unit="batch"):
        batch = todo[start : start + COMMIT_EVERY]
        keep(
            corpus, batch, cache, lambda index, waveform: [(keys[index], _packed_fingerprint(fingerprint_of(waveform)))]
        )
    values = [cache.read(key) or b"" for key in keys]
    return [AudioFingerprint(value[:16].hex(), np.frombuffer(value[16:], dtype="<u4")) for value in values]


def keep(corpus: Corpus, todo: Sequence[int], cache: Cache, entries: Entries) -> None:
    """Decode some utterances and write what is made of them into the cache."""
    done: list[tuple[str, bytes]] = []
    try:
        for index in todo:
            done += entries(index, corpus.waveform(index))
    finally:  # a file that cannot be read, or Ctrl-C, costs no other work
        cache.write(done)


def _sound_key(content: str) -> str:
    return f"{content}/sound"


def _packed_fingerprint(fingerprint: AudioFingerprint) -> bytes:
    return bytes.fromhex(fingerprint.digest) + fingerprint.prints.astype("<u4").tobytes()


class SpeechSource(Protocol):
    """Source of a corpus' features: the cache, or a file."""

    @property
    def embedding(self) -> EmbeddingSettings | None:
        """Settings of the embedding with which each frame ends, if it has one."""

    @property
    def corpus(self) -> Corpus:
        """The corpus."""

    def content(self) -> str:
        """Hash of the recordings, which changes when one is replaced."""

    def speech(self, recipe: Recipe, passing: bool = False) -> list[Sequence[Speech]]:
        """Features of all utterances: unaltered, then at the recipe's speeds, then of its copies.

        All are computed and cached first; with ``passing``, each is computed at each access and not cached.
        """

    def fingerprints(self) -> list[AudioFingerprint]:
        """Fingerprint of each utterance, for the audit."""

    def file_hashes(self) -> list[str]:
        """BLAKE2b-128 of the file of each utterance (U,), in hexadecimal digits; for several corpora."""


class CachedSpeech:
    """Features of a corpus by way of the cache, computed from its audio where they are missing."""

    def __init__(self, corpus: Corpus, cache: Cache) -> None:
        self.corpus, self._cache = corpus, cache
        self.embedding: EmbeddingSettings | None = None

    def of(self, corpus: Corpus) -> "CachedSpeech":
        """Features of a part of the corpus."""
        return CachedSpeech(corpus, self._cache)

    def content(self) -> str:
        """Hash of the files' bytes and of the utterances' times (`SpeechSource.content`).

        Raises:
            AudioError: A file cannot be read.
        """
        return hash_of(content_keys(self.corpus, self._cache))

    def speech(self, recipe: Recipe, passing: bool = False) -> list[Sequence[Speech]]:
        """Features of all utterances (`SpeechSource.speech`).

        Alterations of speech that is only tested are not computed.

        Raises:
            AudioError: A file cannot be read; what was computed before it stays in the cache.
        """
        contents = content_keys(self.corpus, self._cache)
        stores = [
            SpeechStore(self.corpus, recipe.features, self._cache, speed, contents, passing, copy, recipe.segment)
            for speed, copy in [*((speed, None) for speed in (1.0, *recipe.speeds)), *((1.0, c) for c in recipe.copies)]
        ]
        if not passing:
            stores[0].fill()
            trained = ~self.corpus.table["corpus"].is_in(self.corpus.kept).to_numpy()
            for store in stores[1:]:
                store.fill(trained)
        return list(stores)

    def fingerprints(self) -> list[AudioFingerprint]:
        """Fingerprint of each utterance, for the audit."""
        return fingerprints_of(self.corpus, self._cache)

    def file_hashes(self) -> list[str]:
        """Hash of the file of each utterance (`SpeechSource.file_hashes`).

        Raises:
            AudioError: A file cannot be read.
        """
        return [key.partition("@")[0] for key in content_keys(self.corpus, self._cache)]


def hash_of(parts: Iterable[str]) -> str:
    """16 hexadecimal digits that tell some texts, in their order, from others."""
    return hashlib.blake2b("\0".join(parts).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def faster(waveform: audio.Waveform, speed: float) -> audio.Waveform:
    """Play samples (T,) faster: pitch and formants rise, as with a smaller speaker → (T / speed,)."""
    if speed == 1.0:
        return waveform
    import soxr

    return cast(audio.Waveform, soxr.resample(waveform, speed * audio.SAMPLING_RATE, audio.SAMPLING_RATE, quality="HQ"))


def refuse_copies(recipe: Recipe) -> None:
    """Refuse copies where features are stored for training elsewhere.

    Raises:
        ConfigError: The recipe asks for some.
    """
    if recipe.copies:
        listed = ", ".join(recipe.copies)
        raise ConfigError(f"copies ({listed}) are made for training with --corpus alone; leave them out of the recipe")


@torch.inference_mode()
def _packed(waveform: audio.Waveform, front_end: FrontEnd, segment: SegmentSettings | None = None) -> bytes:
    """Shape, then a table of level and features in float32; of an encoder's features, level and table in float16.

    The shape is that of the utterance (n, F), also where segments stand apart and the table has other rows.
    """
    samples = torch.from_numpy(waveform)[None]
    if segment is None:
        frames, level = front_end(samples)
    else:
        count = segment_count(1 + len(waveform) // front_end.settings.hop, segment)
        frames, level = front_end.apart(samples, range(0, count * segment.hop, segment.hop), segment.frames)
    if front_end.settings.pretrained:
        head = np.array([level.shape[1], frames.shape[2]], dtype="<i8").tobytes()
        return b"".join([head, level[0].numpy().astype("<f4").tobytes(), frames[0].numpy().astype("<f2").tobytes()])
    table = torch.cat([level[0, :, None], frames[0]], dim=1).numpy()  # (n, 1 + F)
    return np.array(table.shape, dtype="<i8").tobytes() + table.astype("<f4").tobytes()


def _shape_of(value: bytes) -> tuple[int, int]:
    """Shape of a packed utterance (n, F)."""
    frames, size = np.frombuffer(value, dtype="<i8", count=2).tolist()
    return frames, size


def _level_alone(value: bytes) -> bytes:
    """A packed utterance of an encoder's features (n, F), without them: (n, 0)."""
    frames, _ = _shape_of(value)
    return np.array([frames, 0], dtype="<i8").tobytes() + value[16 : 16 + 4 * frames]


def _unpacked(value: bytes, half: bool, apart: bool) -> Speech:
    shape = _shape_of(value)
    if half:
        level = np.frombuffer(value, dtype="<f4", offset=16, count=shape[0])
        frames = np.frombuffer(value, dtype="<f2", offset=16 + level.nbytes).reshape(-1, shape[1])
        return Speech(frames=frames, level=level, apart=apart)
    table = np.frombuffer(value, dtype="<f4", offset=16).reshape(shape)  # (n, 1 + F)
    return Speech(frames=table[:, 1:], level=table[:, 0])


def content_keys(corpus: Corpus, cache: Cache) -> list[str]:
    """Name of each utterance's audio: a hash of its file's bytes, and its times if it has some.

    The bytes are hashed again only when a file's size or time of change differs from last time.
    """
    hashes: dict[str, str] = {}
    fresh: dict[str, bytes] = {}
    try:
        for file in corpus.table["file"].unique(maintain_order=True):
            hashes[file] = _content_hash(corpus.path_of(file), cache, fresh)
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
