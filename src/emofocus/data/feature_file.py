"""A corpus' features in one file, so that training needs neither its audio nor anything that decodes it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from emofocus.audio.fingerprint import AudioFingerprint
from emofocus.config import EmbeddingSettings, FeatureSettings, Recipe, parse, to_plain
from emofocus.corpora import Corpus
from emofocus.corpora.corpus import SCHEMA
from emofocus.data.feature_store import Speech, SpeechSource, refuse_copies
from emofocus.errors import ConfigError, CorpusError, one_of
from emofocus.models.checkpoint import load_tensors, save_tensors
from emofocus.utils.file_formats import suffix_of
from emofocus.utils.provenance import REMEDY, content_hash, refuse_other_work

FORMAT = "emofocus features/1"

SUFFIX = ".safetensors"

TEXTS = ("format", "content")
"""Metadata that is not JSON."""


class HeldSpeech(Sequence[Speech]):
    """Features of a corpus' utterances in memory.

    Args:
        frames: All utterances' frames, one after the other (N, F).
        level: Their levels (N,).
        edges: Where the level of each utterance begins, and where that of the last one ends (U + 1,).
        rows: The same of frames, which differ where segments stand apart.
        longest: Frames of the longest utterance whose segments do not stand apart.
    """

    def __init__(
        self,
        frames: NDArray[np.float32],
        level: NDArray[np.float32],
        edges: NDArray[np.int64],
        rows: NDArray[np.int64],
        longest: int = sys.maxsize,
    ) -> None:
        self._frames, self._level, self._edges, self._rows, self._longest = frames, level, edges, rows, longest

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self._edges) - 1

    def __getitem__(self, index: int) -> Speech:  # type: ignore[override]
        """One utterance's features, not copied."""
        rows, place = (slice(int(edges[index]), int(edges[index + 1])) for edges in (self._rows, self._edges))
        level = self._level[place]
        return Speech(self._frames[rows], level, apart=len(level) > self._longest)


class FeaturesFile:
    """A file of features, as `write_features` writes it.

    Args:
        path: Path of the file.

    Attributes:
        corpus: The corpus, whose root is not known.
        embedding: Settings of the embedding with which each frame ends, if it has one.

    Raises:
        CorpusError: The file is missing, damaged or not a file of features.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._tensors, metadata = load_tensors(path)
        except Exception as error:
            raise CorpusError(f"{path}: no file of features ({error})") from error
        if metadata.get("format") != FORMAT:
            raise CorpusError(f"{path}: no file of features that this version reads ({one_of([FORMAT])})")
        self.path = path
        head = json.loads(metadata["corpus"])
        held = head.pop("table")
        table = pl.DataFrame({name: held.get(name, [""] * len(held["file"])) for name in SCHEMA}, schema=SCHEMA)
        lists = {name: tuple(head[name]) for name in ("classes", "kept") if name in head}
        self.corpus = Corpus(**head | lists | {"root": Path(), "table": table})
        self._settings = parse(FeatureSettings, json.loads(metadata["features"]), str(path))
        self._segment: list[int] | None = json.loads(metadata.get("segment", "null"))
        embedding = json.loads(metadata.get("embedding", "null"))
        self.embedding = parse(EmbeddingSettings, embedding, str(path)) if embedding else None
        self._speeds = tuple(json.loads(metadata["speeds"]))
        self._content = metadata.get("content")
        self._hashes: list[str] = json.loads(metadata.get("files", "[]"))

    def content(self) -> str:
        """See `SpeechSource`; that of the recordings, as it was when the file was written, and their precision."""
        if self._content is None:  # written by an older version
            return content_hash(self.path)
        half = self._tensors["1.frames"].dtype == torch.float16
        return f"{self._content} in half precision" if half else self._content

    def __reduce__(self) -> tuple[type["FeaturesFile"], tuple[Path]]:
        """Another process opens the same file."""
        return FeaturesFile, (self.path,)

    def speech(self, recipe: Recipe, passing: bool = False) -> list[Sequence[Speech]]:
        """Features as they are, then at the recipe's further speeds.

        Raises:
            ConfigError: The recipe asks for other features, segments or speeds than those in the file.
        """
        refuse_copies(recipe)
        if recipe.features != self._settings:
            raise ConfigError(f"{self.path} holds other features than the recipe asks for: {to_plain(self._settings)}")
        if self._segment is not None and self._segment != _heard(recipe):
            frames, hop = self._segment
            raise ConfigError(
                f"{self.path} holds features of segments of {frames} frames every {hop}, unlike the recipe"
            )
        missing = [speed for speed in recipe.speeds if speed not in self._speeds]
        if missing:
            raise ConfigError(f"{self.path} lacks speed {missing[0]} of the recipe ({one_of(self._speeds)})")
        return [self._held(1.0), *map(self._held, recipe.speeds)]

    def fingerprints(self) -> list[AudioFingerprint]:
        """Fingerprint of each utterance."""
        digests, edges = self._tensors["digests"].numpy(), self._tensors["prints.edges"].numpy()
        prints = self._tensors["prints"].numpy().view(np.uint32)
        return [
            AudioFingerprint(bytes(digest).hex(), prints[start:end])
            for digest, start, end in zip(digests, edges[:-1], edges[1:], strict=True)
        ]

    def file_hashes(self) -> list[str]:
        """Hash of the file of each utterance (`SpeechSource.file_hashes`), as it was when this file was written."""
        return self._hashes

    def _held(self, speed: float) -> HeldSpeech:
        frames, level, scale, offset = (
            self._tensors[f"{speed:g}.{name}"].float().numpy() for name in ("frames", "level", "scale", "offset")
        )
        edges = self._tensors[f"{speed:g}.edges"]
        rows = self._tensors.get(f"{speed:g}.rows", edges)
        longest = self._segment[0] if self._segment else sys.maxsize
        return HeldSpeech(frames * scale + offset, level, edges.numpy(), rows.numpy(), longest)


def write_features(path: Path, source: SpeechSource, recipe: Recipe, half: bool = False) -> bool:
    """Write a corpus' features, atomically.

    Args:
        path: File to write, with the suffix `SUFFIX`.
        source: Source of the features.
        recipe: Recipe that says which features, and at which speeds.
        half: Store the frames in float16, each feature at zero mean and unit variance: half the size, and errors of
            about a thousandth of a standard deviation.

    Returns:
        Whether it was written; a file of the same features stays.

    Raises:
        ConfigError: The path has another suffix, holds other features, or is another kind of file, or the recipe asks
            for altered copies.
    """
    suffix_of(path, (SUFFIX,))
    refuse_copies(recipe)
    head = _metadata(source, recipe, half)
    if path.exists():
        _refuse_other_features(path, head)
        return False
    fingerprints, speeds = source.fingerprints(), (1.0, *recipe.speeds)
    tensors: dict[str, Tensor] = {}
    for speed, part in zip(speeds, source.speech(recipe), strict=True):
        tensors |= {f"{speed:g}.{name}": value for name, value in _packed(part, half).items()}
    prints = np.concatenate([np.zeros(0, np.uint32), *(fingerprint.prints for fingerprint in fingerprints)])
    tensors["prints"] = torch.from_numpy(prints.view(np.int32))
    tensors["prints.edges"] = _edges([len(fingerprint.prints) for fingerprint in fingerprints])
    digests = b"".join(bytes.fromhex(fingerprint.digest) for fingerprint in fingerprints)
    tensors["digests"] = torch.frombuffer(bytearray(digests), dtype=torch.uint8).view(len(fingerprints), -1)
    save_tensors(path, tensors, head)
    return True


def _metadata(source: SpeechSource, recipe: Recipe, half: bool) -> dict[str, str]:
    """Metadata of a file of features, which differ between files of different features."""
    corpus = source.corpus
    head = {
        "name": corpus.name,
        "classes": list(corpus.classes),
        "license": corpus.license,
        "left_out": dict(corpus.left_out),
        "table": corpus.table.select(_columns(corpus)).to_dict(as_series=False),
    } | ({"kept": list(corpus.kept)} if corpus.members else {})
    metadata = {"format": FORMAT, "corpus": json.dumps(head), "speeds": json.dumps((1.0, *recipe.speeds))}
    metadata["features"] = json.dumps(to_plain(recipe.features))
    if recipe.features.pretrained:  # an encoder hears each segment of a longer utterance by itself
        metadata["segment"] = json.dumps(_heard(recipe))
    metadata["content"], metadata["half"] = source.content(), json.dumps(half)
    if corpus.members:
        metadata["files"] = json.dumps(source.file_hashes())
    if source.embedding:
        metadata["embedding"] = json.dumps(to_plain(source.embedding))
    return metadata


def _heard(recipe: Recipe) -> list[int]:
    """Frames of a segment, and from one to the next."""
    return [recipe.segment.frames, recipe.segment.hop]


def _columns(corpus: Corpus) -> list[str]:
    """Columns of the table in a file; files of one corpus have no column for its name."""
    return [name for name in SCHEMA if name != "corpus" or corpus.members]


def _refuse_other_features(path: Path, metadata: dict[str, str]) -> None:
    """Refuse to replace a file that holds anything but these features.

    Raises:
        ConfigError: The file holds other features or no features.
    """
    try:
        with safe_open(path, framework="pt") as file:
            written = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path} is there already, and is no file of features; {REMEDY}") from error
    if "half" not in written:
        raise ConfigError(f"{path} is there already, and nobody knows of which recordings; {REMEDY}")
    refuse_other_work(path, _parsed(written), _parsed(metadata))


def _parsed(metadata: dict[str, str]) -> dict[str, object]:
    return {name: value if name in TEXTS else json.loads(value) for name, value in metadata.items()}


def _packed(speech: Sequence[Speech], half: bool) -> dict[str, Tensor]:
    items = list(speech)
    frames = torch.from_numpy(np.concatenate([item.frames for item in items])).float()  # (N, F)
    scale, offset = torch.ones(frames.shape[1]), torch.zeros(frames.shape[1])
    if half:
        scale, offset = frames.std(dim=0).clamp(min=1e-5), frames.mean(dim=0)
        frames = ((frames - offset) / scale).half()
    level = torch.from_numpy(np.concatenate([item.level for item in items]))
    edges = _edges([len(item.level) for item in items])
    tensors = {"frames": frames, "level": level, "scale": scale, "offset": offset, "edges": edges}
    if any(item.apart for item in items):
        tensors["rows"] = _edges([len(item.frames) for item in items])
    return tensors


def _edges(lengths: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.cumsum([0, *lengths]))
