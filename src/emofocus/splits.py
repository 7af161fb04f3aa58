"""Folds by protocol.

The order of everything comes from a hash of seed and name, so folds are the same on every machine and with every
version of every library.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from emofocus.corpora import Corpus, Utterance
from emofocus.errors import SplitError, one_of

Item = TypeVar("Item")


@dataclass(frozen=True)
class Fold:
    """Utterance numbers (positions in the corpus) of the three parts of one fold."""

    train: tuple[int, ...]
    valid: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class Protocol:
    """A way of dealing a corpus into groups; fold k tests group k and validates on group k + 1.

    Attributes:
        note: What a reader of a number made with it must know.
        groups: Corpus, number of groups, seed → group of each utterance.
    """

    note: str
    speakers_shared: bool
    groups: Callable[[Corpus, int, int], list[int]]


FOLDS = {"ravdess": 5, "iemocap": 10}
"""Folds of the paper's protocol; other corpora take five."""


def make_folds(corpus: Corpus, protocol: str, seed: int, count: int | None = None) -> list[Fold]:
    """Deal a corpus into folds.

    Args:
        corpus: What to deal.
        protocol: A name in `PROTOCOLS`.
        seed: Other seeds deal otherwise.
        count: Number of folds, the corpus' usual one by default.

    Raises:
        SplitError: An unknown protocol, fewer than three folds, or more than there are speakers.
    """
    if protocol not in PROTOCOLS:
        raise SplitError(f"unknown protocol {protocol!r} ({one_of(PROTOCOLS)})")
    count = count or FOLDS.get(corpus.name, 5)
    if count < 3:
        raise SplitError(f"{count} folds cannot give a training, a validation and a test part; at least 3 can")
    groups = PROTOCOLS[protocol].groups(corpus, count, seed)
    folds = [_fold(groups, test, (test + 1) % count) for test in range(count)]
    for number, fold in enumerate(folds):
        _check(corpus, PROTOCOLS[protocol], number, fold)
    return folds


def _fold(groups: list[int], test: int, valid: int) -> Fold:
    def members(chosen: Callable[[int], bool]) -> tuple[int, ...]:
        return tuple(index for index, group in enumerate(groups) if chosen(group))

    return Fold(
        train=members(lambda group: group not in (test, valid)),
        valid=members(lambda group: group == valid),
        test=members(lambda group: group == test),
    )


def _check(corpus: Corpus, protocol: Protocol, number: int, fold: Fold) -> None:
    parts = {"train": fold.train, "valid": fold.valid, "test": fold.test}
    empty = [name for name, part in parts.items() if not part]
    if empty:
        raise SplitError(f"fold {number} of {corpus.name} has an empty {empty[0]} part")
    missing = set(corpus.classes) - {corpus.utterances[index].emotion for index in fold.train}
    if missing:
        raise SplitError(f"fold {number} of {corpus.name} trains without {', '.join(sorted(missing))}")
    if protocol.speakers_shared:
        return
    heard = {name: {corpus.utterances[index].speaker for index in part} for name, part in parts.items()}
    shared = (heard["train"] & heard["valid"]) | (heard["train"] & heard["test"]) | (heard["valid"] & heard["test"])
    if shared:
        raise SplitError(f"fold {number} of {corpus.name} leaks speakers {', '.join(sorted(shared))}")


def _by_utterance(corpus: Corpus, count: int, seed: int) -> list[int]:
    """Stratified: each class is dealt in turn, going on where the class before it stopped."""
    dealt = [
        index
        for emotion in corpus.classes
        for index in _shuffled(
            (i for i, item in enumerate(corpus.utterances) if item.emotion == emotion),
            seed,
            lambda i: PurePosixPath(corpus.utterances[i].file).stem,
        )
    ]
    groups = [0] * len(corpus.utterances)
    for position, index in enumerate(dealt):
        groups[index] = position % count
    return groups


def _by_speaker(corpus: Corpus, count: int, seed: int) -> list[int]:
    """Whole speakers, women and men dealt in turn."""
    members: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in corpus.utterances:
        members[utterance.speaker].append(utterance)
    if len(members) < count:
        raise SplitError(
            f"{corpus.name} has {len(members)} speakers; {count} speaker-disjoint folds need at least {count}"
        )
    genders = sorted({item.gender for item in corpus.utterances})
    dealt = [
        speaker
        for gender in genders
        for speaker in _shuffled((s for s in members if members[s][0].gender == gender), seed, str)
    ]
    group = {speaker: position % count for position, speaker in enumerate(dealt)}
    return [group[utterance.speaker] for utterance in corpus.utterances]


PROTOCOLS: dict[str, Protocol] = {
    "speaker": Protocol("no speaker is in two of train, validation and test", False, _by_speaker),
    "random": Protocol(
        "random over utterances: speakers are SHARED by train, validation and test, so numbers are optimistic",
        True,
        _by_utterance,
    ),
}


def _shuffled(items: Iterable[Item], seed: int, name: Callable[[Item], str]) -> list[Item]:
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed}/{name(item)}".encode()).digest())
