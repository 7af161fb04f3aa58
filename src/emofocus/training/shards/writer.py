"""Writes the training and validation part of an audited fold as shards, one shard's features in memory at a time."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from emofocus.config import to_plain
from emofocus.data.feature_store import Speech, SpeechSource, refuse_copies
from emofocus.errors import ConfigError
from emofocus.training.experiment import Experiment, refuse_leaks
from emofocus.training.shards.format import (
    FORMAT,
    GROUP,
    GROUPS,
    INDEX,
    PARTS,
    Cut,
    ShardSummary,
    packed,
    schema_of,
    summary_of,
)
from emofocus.utils.progress import track
from emofocus.utils.provenance import PROVENANCE, REMEDY, Record, refuse_other_work
from emofocus.utils.storage import Location, list_files, read_file, write_file
from emofocus.version import __version__

Moments = tuple[int, NDArray[np.float64], NDArray[np.float64]]
"""Frames, their mean (F,), and the sum of their squared distances from it (F,)."""


def write_shards(
    experiment: Experiment,
    number: int,
    source: SpeechSource,
    location: Location,
    half: bool = False,
    listen: bool = True,
    size: int = 256,
) -> dict[str, Any]:
    """Write the training and validation part of a fold; the same call continues after an interruption.

    Each shard is written atomically, in a random order that the seed decides; the index is written last.

    Args:
        experiment: Corpus, folds, and the recipe whose features, speeds and segments are written.
        number: Number of the fold.
        source: Source of the features, which are not cached.
        location: Folder of the shards.
        half: Store frames in float16: half the size.
        listen: Audit fingerprints of utterances, too, which takes about a kilobyte of memory for each.
        size: Utterances of a shard.

    Returns:
        The index.

    Raises:
        SplitError: The folds leak.
        ConfigError: ``location`` holds other shards, or cannot be written to, or the recipe asks for copies.
        CorpusError: ``location`` holds a damaged shard.
    """
    refuse_copies(experiment.recipe)
    if experiment.corpus.members:
        raise ConfigError("shards hold one corpus: name one --corpus, or train on several without shards")
    audited = refuse_leaks(experiment, source.fingerprints() if listen else None)
    head = _head(experiment, number, half, size) | {"audit": audited.counts(), "not_looked_at": list(audited.unseen)}
    identity = hashlib.sha256(json.dumps(head).encode()).hexdigest()[:16]
    writer = _Writer(experiment, source.speech(experiment.recipe, passing=True), location, half, identity)
    parts = {name: positions for name, positions in experiment.folds[number].parts().items() if name in PARTS}
    chosen = {
        f"{name}-{shard:05d}.parquet": positions
        for name, part in parts.items()
        for shard, positions in enumerate(_cut(part, size, experiment.seed))
    }
    present = {Path(file.path).name for file in list_files(location, deep=False)}
    _begin(location, present, head | {"recordings": source.content(), "version": __version__})
    summaries = {}
    for name in track(list(chosen), "shards", unit="shard"):
        summaries[name] = _finished(location, name, identity) if name in present else writer.shard(name, chosen[name])
    write_file(location.child(GROUPS), _groups(summaries, experiment.recipe.speeds))
    index = head | {"version": __version__, **_totals(summaries)}
    write_file(location.child(INDEX), json.dumps(index, indent=1).encode())
    return index


def _head(experiment: Experiment, number: int, half: bool, size: int) -> dict[str, Any]:
    """Part of the index that identifies the content of the shards."""
    corpus, recipe, folds = experiment.corpus, experiment.recipe, experiment.folds
    protocol = {"name": folds.protocol, "note": folds.note, "digest": folds.digest(corpus), "fold": number}
    protocol["test"] = len(folds[number].test)
    return {
        "format": FORMAT,
        "corpus": corpus.name,
        "classes": list(corpus.classes),
        "license": corpus.license,
        "left_out": dict(corpus.left_out),
        "protocol": protocol,
        "seed": experiment.seed,
        "features": to_plain(recipe.features),
        "segment": to_plain(recipe.segment),
        "embedding": None if recipe.embedding is None else to_plain(recipe.embedding),
        "speeds": [1.0, *recipe.speeds],
        "half": half,
        "utterances_of_a_shard": size,
    }


def _cut(part: NDArray[np.int64], size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Random positions of each shard, because neighbors of a corpus share speakers."""
    order = np.random.default_rng([seed, len(part)]).permutation(part)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _begin(location: Location, present: set[str], record: Record) -> None:
    """Write the record of the shards, or compare it with the one in the folder.

    Raises:
        ConfigError: The records differ, or the folder holds shards without a record.
    """
    if PROVENANCE in present:
        refuse_other_work(location.name, json.loads(read_file(location.child(PROVENANCE))), record)
    elif any(name.endswith(".parquet") for name in present):
        raise ConfigError(f"{location.name} holds shards, and nobody knows how they were made; {REMEDY}")
    else:
        write_file(location.child(PROVENANCE), json.dumps(dict(record), indent=1).encode())


def _finished(location: Location, name: str, identity: str) -> ShardSummary:
    """Summary of a shard that was written before.

    Raises:
        ConfigError: The shard belongs to another run.
    """
    summary = summary_of(location.child(name))
    if summary.identity != identity:
        raise ConfigError(f"{location.name} holds another run's {name}; {REMEDY}")
    return summary


@dataclass(frozen=True)
class _Writer:
    experiment: Experiment
    speech: Sequence[Sequence[Speech]]
    location: Location
    half: bool
    identity: str

    def shard(self, name: str, positions: NDArray[np.int64]) -> ShardSummary:
        """Write one shard, and return the summary of its footer."""
        rows, segments, moments = [], [], None
        for position in positions:
            cuts = [self._cut(track[int(position)]) for track in self.speech]
            rows.append(self._row(int(position), cuts))
            segments.append([1, *(len(cut.starts) for cut in cuts)])
            moments = combined_moments(moments, moments_of(cuts[0], self.experiment.recipe.segment.frames))
        groups = np.add.reduceat(np.array(segments), np.arange(0, len(rows), GROUP))  # (G, 1 + speeds)
        count, mean, squares = moments or (0, np.zeros(0), np.zeros(0))
        summary = ShardSummary(self.identity, groups.tolist(), (count, mean.tolist(), squares.tolist()))
        table = pa.Table.from_pylist(rows, schema_of((1.0, *self.experiment.recipe.speeds), summary))
        file = pa.BufferOutputStream()
        # Neither helps with noise-like numbers, and statistics would copy whole utterances into the footer.
        parquet.write_table(
            table, file, row_group_size=GROUP, compression="none", use_dictionary=False, write_statistics=False
        )
        write_file(self.location.child(name), file.getvalue())
        return summary

    def _cut(self, speech: Speech) -> Cut:
        starts = speech.active_starts(self.experiment.recipe.segment)
        return Cut(np.asarray(speech.frames, np.float32), starts.astype("<i4"))

    def _row(self, position: int, cuts: Sequence[Cut]) -> dict[str, Any]:
        row: dict[str, Any] = {"key": self.experiment.corpus.table["key"][position]}
        row["label"] = self.experiment.corpus.classes.index(self.experiment.corpus.table["emotion"][position])
        for speed, cut in zip((1.0, *self.experiment.recipe.speeds), cuts, strict=True):
            row[f"frames {speed:g}"] = packed(cut.frames, self.half)
            row[f"starts {speed:g}"] = cut.starts.tobytes()
        return row


def moments_of(cut: Cut, length: int) -> Moments:
    """Moments of the frames of an utterance's segments; a frame in three segments counts three times."""
    size = len(cut.frames)
    edges = np.bincount(cut.starts, minlength=size + 1) - np.bincount(
        np.minimum(cut.starts + length, size), minlength=size + 1
    )
    weights = np.cumsum(edges)[:size].astype(np.float64)
    frames = cut.frames.astype(np.float64)
    mean = weights @ frames / weights.sum()
    return int(weights.sum()), mean, weights @ (frames - mean) ** 2


def combined_moments(one: Moments | None, other: Moments) -> Moments:
    """Moments of two sets of frames (Chan, Golub and LeVeque 1979): no digit is lost, however many there are."""
    if one is None:
        return other
    count, apart = one[0] + other[0], other[1] - one[1]
    return (
        count,
        one[1] + apart * other[0] / count,
        one[2] + other[2] + apart**2 * one[0] * other[0] / count,
    )


def _groups(summaries: Mapping[str, ShardSummary], speeds: Sequence[float]) -> pa.Buffer:
    """The table of all row groups."""
    parts, shards, numbers, sizes = [], [], [], []
    for name, summary in summaries.items():
        part, _, shard = name.removesuffix(".parquet").partition("-")
        for number, group in enumerate(summary.groups):
            parts.append(part)
            shards.append(int(shard))
            numbers.append(number)
            sizes.append(group)
    columns = {"part": pa.array(parts, pa.string()).dictionary_encode(), "shard": shards, "group": numbers}
    names = ["utterances", *(f"segments {speed:g}" for speed in (1.0, *speeds))]
    columns |= dict(zip(names, np.array(sizes, np.int32).T, strict=True))
    file = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def _totals(summaries: Mapping[str, ShardSummary]) -> dict[str, Any]:
    """Size of each part, and statistics of the training part alone."""
    parts: dict[str, dict[str, int]] = {}
    moments: Moments | None = None
    for name, summary in summaries.items():
        part = name.partition("-")[0]
        utterances, segments = np.sum(summary.groups, axis=0)[:2].tolist()
        totals = parts.setdefault(part, {"shards": 0, "utterances": 0, "segments": 0})
        parts[part] = {
            "shards": totals["shards"] + 1,
            "utterances": totals["utterances"] + utterances,
            "segments": totals["segments"] + segments,
        }
        if part == "train":
            count, mean, squares = summary.moments
            moments = combined_moments(moments, (count, np.array(mean), np.array(squares)))
    assert moments is not None
    deviation = np.sqrt(moments[2] / moments[0])
    return {"parts": parts, "mean": moments[1].tolist(), "deviation": deviation.tolist()}
