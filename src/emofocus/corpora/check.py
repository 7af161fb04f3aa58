"""Check of a corpus on disk against its owner's counts: utterances, files, formats, durations, copies."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import polars as pl

from emofocus.corpora.audio_check import UtteranceAudio, decode_files
from emofocus.corpora.corpus import Reader, Utterance, audio_files, differences

SILENCE_DB = -60.0
"""Level in dB full scale below which an utterance counts as silent.

The softest utterance of RAVDESS peaks at -47 dB; noise of a quiet room stays below -60 dB.
"""

SHOWN = 5
"""Names that a sentence lists at most."""


class Count(msgspec.Struct, frozen=True):
    """A number, and the expected number where it is known."""

    found: int
    expected: int | None = None

    @property
    def right(self) -> bool:
        """Whether the number is as expected, or nothing is expected."""
        return self.expected in (None, self.found)


class Speaker(msgspec.Struct, frozen=True):
    """Gender of a speaker, and number of utterances in all and by label."""

    gender: str
    utterances: int
    labels: dict[str, int]


class Counts(msgspec.Struct, frozen=True):
    """Numbers of utterances in a table, counted without decoding.

    Attributes:
        utterances: Number of utterances.
        speakers: Number of speakers.
        labels: Utterances of each of the owner's labels.
        sessions: Utterances of each session and class.
        genders: Utterances of each gender.
        by_speaker: Utterances of each speaker.
        missing: Keys of expected utterances that the table lacks.
    """

    utterances: Count
    speakers: Count
    labels: dict[str, Count]
    sessions: dict[str, dict[str, Count]]
    genders: dict[str, int]
    by_speaker: dict[str, Speaker]
    missing: list[str]


class Durations(msgspec.Struct, frozen=True):
    """Durations of the utterances in seconds, with the keys of the shortest and the longest."""

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
        labels: Their labels; more than one is a contradiction.
        known: Whether the reader of the corpus declares them as copies.
    """

    keys: list[str]
    labels: list[str]
    known: bool


class Report(msgspec.Struct, frozen=True):
    """Result of `inspect`; every path is relative to the root of the corpus.

    Attributes:
        corpus: Name of the corpus.
        problems: One sentence per problem.
        counts: Utterances, speakers, labels and sessions, with the expected numbers.
        extra: Audio files that do not belong to the corpus.
        damaged: File that cannot be decoded → reason.
        rates: Sampling rate in Hz → number of files.
        channels: Number of channels → number of files.
        formats: Format and encoding → number of files.
        durations: Durations; None if nothing could be decoded.
        silent: Keys of utterances without a sample above `SILENCE_DB`.
        clipped: Key of a clipped utterance → share of its samples that are cut off; worst first.
        copies: Groups of equal utterances.
        seconds: Key of an utterance → duration in seconds.
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
        """One line that says whether the corpus is right."""
        if self.problems:
            return f"{self.corpus} is NOT right: {some(self.problems, 2, '; ')}"
        hours = self.durations.total / 3600 if self.durations else 0.0
        utterances, speakers = self.counts.utterances.found, self.counts.speakers.found
        return f"{self.corpus} is right: {utterances} utterances, {speakers} speakers, {hours:.2f} h"


def inspect(table: pl.DataFrame, root: Path, name: str, reader: Reader | None = None) -> Report:
    """Count utterances and decode all files.

    Args:
        table: One row per utterance, columns as in `emofocus.corpora.corpus.SCHEMA`; the result of `Reader.read`.
        root: Folder of the files.
        name: Name of the corpus.
        reader: Reader of the corpus, which knows the expected numbers; None for a manifest.
    """
    counts = count(table, reader)
    files = decode_files(table, root)
    decoded = {item.key: item for file in files for item in file.utterances}
    damaged = {file.name: file.reason for file in files if file.reason}
    copies = _copies(table, decoded)
    return Report(
        corpus=name,
        problems=[*(differences(table, reader) if reader else []), *_problems(counts.missing, damaged, copies)],
        counts=counts,
        extra=_extra(table, root) if reader else [],
        damaged=damaged,
        rates=_tally(file.rate for file in files if file.rate),
        channels=_tally(file.channels for file in files if file.channels),
        formats=_tally(file.format for file in files if file.format),
        durations=_durations(decoded.values()),
        silent=[key for key, item in decoded.items() if item.peak <= 10 ** (SILENCE_DB / 20)],
        clipped=_clipped(decoded.values()),
        copies=copies,
        seconds={key: round(item.seconds, 4) for key, item in decoded.items()},
    )


def some(names: Sequence[str], shown: int = SHOWN, between: str = ", ") -> str:
    """First few names, and the number of the others."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return between.join(names[:shown]) + more


# Counts from the table


def count(table: pl.DataFrame, reader: Reader | None = None) -> Counts:
    """Count the utterances of a table and compare them with the expected numbers."""
    expected = reader.expected if reader else None
    return Counts(
        utterances=Count(len(table), expected.utterances if expected else None),
        speakers=Count(len(set(table["speaker"]) - {""}), expected.speakers if expected else None),
        labels=_compared(_tally(table["emotion"]), expected.labels if expected else None),
        sessions=_sessions(table, reader),
        genders=_tally(table["gender"].replace("", "not known")),
        by_speaker=_speakers(table),
        missing=sorted(set(expected.keys()) - set(table["key"])) if expected else [],
    )


def _compared(numbers: Mapping[str, int], expected: Mapping[str, int | None] | None) -> dict[str, Count]:
    """Counts of each label; expected labels come first in their order."""
    if expected is None:
        return {label: Count(n) for label, n in numbers.items()}
    return {label: Count(numbers.get(label, 0), expected.get(label, 0)) for label in {**expected, **numbers}}


def _sessions(table: pl.DataFrame, reader: Reader | None) -> dict[str, dict[str, Count]]:
    expected = reader.expected.sessions if reader else {}
    if reader:
        table = table.filter(table["emotion"].is_in(list(reader.labels)))
        table = table.with_columns(emotion=table["emotion"].replace(dict(reader.labels)))
    present = {str(name): _tally(part["emotion"]) for (name,), part in table.group_by("session") if name}
    names = sorted({**expected, **present})
    return {name: _compared(present.get(name, {}), expected.get(name, {}) if expected else None) for name in names}


def _speakers(table: pl.DataFrame) -> dict[str, Speaker]:
    parts = {str(name[0]): part for name, part in table.sort("speaker").group_by("speaker", maintain_order=True)}
    return {name: Speaker(part["gender"][0], len(part), _tally(part["emotion"])) for name, part in parts.items()}


def _tally(values: Iterable[Any]) -> dict[Any, int]:
    return dict(sorted(Counter(values).items()))


def _extra(table: pl.DataFrame, root: Path) -> list[str]:
    listed = set(table["file"])
    files = audio_files(root, lambda _: None)  # whatever cannot be read was named when the corpus was read
    return [path.as_posix() for path in files if path.as_posix() not in listed]


# Findings from the audio


def _durations(decoded: Iterable[UtteranceAudio]) -> Durations | None:
    ordered = sorted(decoded, key=lambda item: item.seconds)
    if not ordered:
        return None
    lengths = [round(item.seconds, 4) for item in ordered]
    first, last = ordered[0], ordered[-1]
    return Durations(round(sum(lengths), 4), lengths[0], median(lengths), lengths[-1], first.key, last.key)


def _clipped(decoded: Iterable[UtteranceAudio]) -> dict[str, float]:
    shares = {item.key: item.cut_off / item.samples for item in decoded if item.cut_off}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _copies(table: pl.DataFrame, decoded: Mapping[str, UtteranceAudio]) -> list[Copies]:
    """Groups of equal utterances, in the order of the table."""
    groups: dict[tuple[int, bytes], list[Utterance]] = {}
    for key in table["key"]:
        if key in decoded:
            item = decoded[key]
            groups.setdefault((item.rate, item.digest.digest()), []).append(item.utterance)
    return [_group(rows) for rows in groups.values() if len(rows) > 1]


def _group(rows: Sequence[Utterance]) -> Copies:
    keys = [row.key for row in rows]
    undeclared = sum(row.source not in keys for row in rows)  # all but the original
    return Copies(keys, sorted({row.emotion for row in rows}), known=undeclared <= 1)


def _problems(missing: Sequence[str], damaged: Mapping[str, str], copies: Iterable[Copies]) -> Iterator[str]:
    if missing:
        yield f"utterances missing: {len(missing)} ({some(missing)})"
    if damaged:
        yield f"files that cannot be decoded: {len(damaged)} ({some(list(damaged))})"
    unknown = [" = ".join(group.keys) for group in copies if not group.known]
    if unknown:
        yield f"groups of utterances with equal audio: {len(unknown)} ({some(unknown)})"
