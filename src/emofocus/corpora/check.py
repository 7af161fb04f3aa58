"""What a corpus on disk really holds, beside what it should: counts, files, formats, durations, copies."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import polars as pl

from emofocus.corpora.audio_check import Sound, listen
from emofocus.corpora.corpus import Reader, Utterance, audio_files, differences

SILENCE_DB = -60.0
"""An utterance without a sample above this level (dB of full scale) counts as silent: the softest utterance of RAVDESS
peaks at -47 dB, and what stays below -60 dB is the noise of a quiet room, or nothing."""

SHOWN = 5
"""Names that a sentence lists before it says how many more there are."""


class Count(msgspec.Struct, frozen=True):
    """How many there are, and how many there should be where that is known."""

    found: int
    expected: int | None = None

    @property
    def right(self) -> bool:
        """Whether nothing speaks against it."""
        return self.expected in (None, self.found)


class Speaker(msgspec.Struct, frozen=True):
    """One speaker's share."""

    gender: str
    utterances: int
    labels: dict[str, int]


class Counts(msgspec.Struct, frozen=True):
    """What a table says, before anything is decoded.

    Attributes:
        utterances: All of them.
        speakers: Number of speakers.
        labels: Utterances of each of the owner's labels.
        sessions: Utterances of each session and class.
        genders: Utterances of each gender.
        by_speaker: Each speaker's share.
        missing: Keys of utterances that the whole corpus has and the table has not.
    """

    utterances: Count
    speakers: Count
    labels: dict[str, Count]
    sessions: dict[str, dict[str, Count]]
    genders: dict[str, int]
    by_speaker: dict[str, Speaker]
    missing: list[str]


class Durations(msgspec.Struct, frozen=True):
    """Lengths of the utterances in seconds; the shortest and the longest with their keys."""

    total: float
    shortest: float
    median: float
    longest: float
    shortest_key: str
    longest_key: str


class Copies(msgspec.Struct, frozen=True):
    """Utterances whose decoded samples and rate are equal, bit by bit.

    Attributes:
        keys: The utterances.
        labels: How they are labeled; more than one label is a contradiction.
        known: Whether the corpus' reader says of them that they are copies.
    """

    keys: list[str]
    labels: list[str]
    known: bool


class Report(msgspec.Struct, frozen=True):
    """What `inspect` finds; every path is below the corpus' root.

    Attributes:
        corpus: Name.
        problems: One sentence for each thing that is wrong; empty when all is right.
        counts: Utterances, speakers, labels, sessions, beside the expected ones.
        extra: Audio files that are none of the corpus' own.
        damaged: Files that cannot be decoded, and why.
        rates: Files of each sampling rate.
        channels: Files of each number of channels.
        formats: Files of each format and encoding.
        durations: Lengths; None when nothing could be decoded.
        silent: Keys of utterances without a sample above `SILENCE_DB`.
        clipped: Keys of clipped utterances, and the share of their samples that are cut off; worst first.
        copies: Groups of equal utterances.
        seconds: Length of each utterance.
    """

    corpus: str
    problems: list[str]
    counts: Counts
    extra: list[str]
    damaged: dict[str, str]
    rates: dict[int, int]
    channels: dict[int, int]
    formats: dict[str, int]
    durations: Durations | None
    silent: list[str]
    clipped: dict[str, float]
    copies: list[Copies]
    seconds: dict[str, float]

    @property
    def verdict(self) -> str:
        """One line: whether all is right."""
        if self.problems:
            return f"{self.corpus} is NOT right: {some(self.problems, 2, '; ')}"
        hours = self.durations.total / 3600 if self.durations else 0.0
        utterances, speakers = self.counts.utterances.found, self.counts.speakers.found
        return f"{self.corpus} is right: {utterances} utterances, {speakers} speakers, {hours:.2f} h"


def inspect(table: pl.DataFrame, root: Path, name: str, reader: Reader | None = None) -> Report:
    """Count and decode everything.

    Args:
        table: One row an utterance, columns as in `emofocus.corpora.corpus.SCHEMA`; what `Reader.read` returned.
        root: Folder that the files are below.
        name: What the corpus is called.
        reader: The corpus' reader, which knows what the whole corpus holds; without it, as for a manifest, nothing
            can be missing or too much.
    """
    counts = count(table, reader)
    files = listen(table, root)
    sounds = {sound.key: sound for file in files for sound in file.sounds}
    damaged = {file.name: file.reason for file in files if file.reason}
    copies = _copies(table, sounds)
    return Report(
        corpus=name,
        problems=[*(differences(table, reader) if reader else []), *_problems(counts.missing, damaged, copies)],
        counts=counts,
        extra=_extra(table, root) if reader else [],
        damaged=damaged,
        rates=_tally(file.rate for file in files if file.rate),
        channels=_tally(file.channels for file in files if file.channels),
        formats=_tally(file.format for file in files if file.format),
        durations=_durations(sounds.values()),
        silent=[key for key, sound in sounds.items() if sound.peak <= 10 ** (SILENCE_DB / 20)],
        clipped=_clipped(sounds.values()),
        copies=copies,
        seconds={key: round(sound.seconds, 4) for key, sound in sounds.items()},
    )


def some(names: Sequence[str], shown: int = SHOWN, between: str = ", ") -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return between.join(names[:shown]) + more


# Counting: from the table alone.


def count(table: pl.DataFrame, reader: Reader | None = None) -> Counts:
    """Count a table's utterances, beside those of the whole corpus."""
    expected = reader.expected if reader else None
    return Counts(
        utterances=Count(len(table), expected.utterances if expected else None),
        speakers=Count(table["speaker"].n_unique(), expected.speakers if expected else None),
        labels=_beside(_tally(table["emotion"]), expected.labels if expected else None),
        sessions=_sessions(table, reader),
        genders=_tally(table["gender"].replace("", "not known")),
        by_speaker=_speakers(table),
        missing=sorted(set(expected.keys()) - set(table["key"])) if expected else [],
    )


def _beside(found: Mapping[str, int], expected: Mapping[str, int] | None) -> dict[str, Count]:
    """Counts of each label: the expected ones first, in their order."""
    if expected is None:
        return {label: Count(n) for label, n in found.items()}
    return {label: Count(found.get(label, 0), expected.get(label, 0)) for label in {**expected, **found}}


def _sessions(table: pl.DataFrame, reader: Reader | None) -> dict[str, dict[str, Count]]:
    expected = reader.expected.sessions if reader else {}
    if reader:
        table = table.filter(table["emotion"].is_in(list(reader.labels)))
        table = table.with_columns(emotion=table["emotion"].replace(dict(reader.labels)))
    found = {str(name): _tally(part["emotion"]) for (name,), part in table.group_by("session") if name}
    names = sorted({**expected, **found})
    return {name: _beside(found.get(name, {}), expected.get(name, {}) if expected else None) for name in names}


def _speakers(table: pl.DataFrame) -> dict[str, Speaker]:
    parts = {str(name[0]): part for name, part in table.sort("speaker").group_by("speaker", maintain_order=True)}
    return {name: Speaker(part["gender"][0], len(part), _tally(part["emotion"])) for name, part in parts.items()}


def _tally(values: Iterable[Any]) -> dict[Any, int]:
    return dict(sorted(Counter(values).items()))


def _extra(table: pl.DataFrame, root: Path) -> list[str]:
    own = set(table["file"])
    return [path.as_posix() for path in audio_files(root) if path.as_posix() not in own]


# What the sounds say.


def _durations(sounds: Iterable[Sound]) -> Durations | None:
    ordered = sorted(sounds, key=lambda sound: sound.seconds)
    if not ordered:
        return None
    lengths = [round(sound.seconds, 4) for sound in ordered]
    first, last = ordered[0], ordered[-1]
    return Durations(round(sum(lengths), 4), lengths[0], median(lengths), lengths[-1], first.key, last.key)


def _clipped(sounds: Iterable[Sound]) -> dict[str, float]:
    shares = {sound.key: sound.cut_off / sound.samples for sound in sounds if sound.cut_off}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _copies(table: pl.DataFrame, sounds: Mapping[str, Sound]) -> list[Copies]:
    """Groups of equal utterances, in the order of the table."""
    groups: dict[tuple[int, bytes], list[Utterance]] = {}
    for key in table["key"]:
        if key in sounds:
            sound = sounds[key]
            groups.setdefault((sound.rate, sound.digest.digest()), []).append(sound.utterance)
    return [_group(rows) for rows in groups.values() if len(rows) > 1]


def _group(rows: Sequence[Utterance]) -> Copies:
    keys = [row.key for row in rows]
    undeclared = sum(row.source not in keys for row in rows)  # all but the one that the others come from
    return Copies(keys, sorted({row.emotion for row in rows}), known=undeclared <= 1)


def _problems(missing: Sequence[str], damaged: Mapping[str, str], copies: Iterable[Copies]) -> Iterator[str]:
    if missing:
        yield f"utterances missing: {len(missing)} ({some(missing)})"
    if damaged:
        yield f"files that cannot be decoded: {len(damaged)} ({some(list(damaged))})"
    unknown = [" = ".join(group.keys) for group in copies if not group.known]
    if unknown:
        yield f"groups of utterances with equal audio: {len(unknown)} ({some(unknown)})"
