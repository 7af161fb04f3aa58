"""Protocols: rules that divide a corpus into folds.

Every order comes from a hash of seed and name, so folds are the same on every machine and with every version of every
library.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from emofocus.corpora import Corpus
from emofocus.corpora.manifest import SPLITS
from emofocus.errors import SplitError, one_of
from emofocus.splits.emobox import EMODB_TEST
from emofocus.splits.folds import Fold, Folds, Positions, refuse_kept
from emofocus.splits.kept_recordings import are_examples
from emofocus.splits.recordings import recordings

Groups = NDArray[np.int64]
"""Group of each utterance (U,)."""

USUAL_FOLDS = {"ravdess": 5, "iemocap": 10}
"""Number of folds of the protocol `random`, as in the paper; five for other corpora."""

VALIDATION_GROUPS = 5
"""Groups of speakers in a training part, one of which becomes the validation part."""

ATTEMPTS = 200
"""Attempts to find folds of which every part holds every class."""

ACTORS5_TEST = ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22))
ACTORS5_VALID = ((3, 6), (10, 11), (8, 17), (1, 14), (2, 5))
EMOBOX6_TEST = ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22))
# EmoBox has no validation part. Ours is a man and a woman of the test actors of the next fold or the one after.
EMOBOX6_VALID = ((4, 9), (8, 19), (3, 24), (2, 15), (6, 13), (1, 20))


@dataclass(frozen=True)
class Protocol:
    """A rule that divides a corpus into folds.

    Attributes:
        note: Remark that belongs beside every figure measured with it.
        speakers_shared: Whether the parts share speakers on purpose.
        deal: Corpus, number of folds (None for the usual one), seed → folds.
    """

    note: str
    speakers_shared: bool
    deal: Callable[[Corpus, int | None, int], list[Fold]]


def make_folds(corpus: Corpus, protocol: str, seed: int, count: int | None = None) -> Folds:
    """Divide a corpus into folds.

    Args:
        corpus: Corpus to divide.
        protocol: Name in `PROTOCOLS`.
        seed: Seed of the order, where the protocol does not fix the folds.
        count: Number of folds, or of speaker groups for ``content``; the usual number by default.

    Raises:
        SplitError: The protocol is unknown or does not fit the corpus; the message says why.
    """
    if protocol not in PROTOCOLS:
        raise SplitError(f"unknown protocol {protocol!r} ({one_of(PROTOCOLS)})")
    if count is not None and count < 3:
        raise SplitError(f"{count} folds cannot give a training, a validation and a test part; at least 3 can")
    rule = PROTOCOLS[protocol]
    folds = rule.deal(corpus, count, seed)
    refuse_kept(corpus, folds)
    labels = corpus.labels()
    for number, fold in enumerate(folds):
        _check(corpus, labels, number, fold)
    return Folds(protocol, rule.note, rule.speakers_shared, seed, tuple(folds))


def _check(corpus: Corpus, labels: NDArray[np.int64], number: int, fold: Fold) -> None:
    for name, part in fold.parts().items():
        if not len(part):
            raise SplitError(f"fold {number} of {corpus.name} has an empty {name} part")
    missing = sorted(set(range(len(corpus.classes))) - set(np.unique(labels[fold.train]).tolist()))
    if missing:
        lacked = corpus.classes[missing[0]]
        raise SplitError(
            f"fold {number} of {corpus.name} trains without {lacked}: all of its {int((labels == missing[0]).sum())} "
            f"utterances are in other parts. --protocol random shares speakers among the parts, and --labels without "
            f"{lacked} leaves it out"
        )


def rotate(groups: Groups, count: int) -> list[Fold]:
    """Folds of which number k tests group k, validates on group k + 1 and trains on the others."""
    return [
        Fold(
            train=np.flatnonzero((groups != test) & (groups != (test + 1) % count)),
            valid=np.flatnonzero(groups == (test + 1) % count),
            test=np.flatnonzero(groups == test),
        )
        for test in range(count)
    ]


def _random(corpus: Corpus, count: int | None, seed: int) -> list[Fold]:
    """Stratified folds over utterances: classes are dealt one after the other in turn.

    Copies and cuts of one recording stay together, because even a split that shares speakers must not test on its
    training audio.
    """
    count = count or USUAL_FOLDS.get(corpus.name, 5)
    _need(corpus, "recordings", len(corpus), count)
    table = corpus.table.select("key", "emotion", recording=recordings(corpus.table))
    firsts = table.unique("recording", keep="first", maintain_order=True)
    by_class = dict(firsts.group_by("emotion", maintain_order=True).agg("recording").iter_rows())
    dealt = [name for emotion in corpus.classes for name in _shuffled(by_class.get(emotion, []), seed)]
    group = pl.DataFrame({"recording": dealt, "group": np.arange(len(dealt)) % count})
    groups = table.join(group, on="recording", how="left", maintain_order="left")["group"]
    return rotate(groups.to_numpy(), count)


def speaker_groups(corpus: Corpus, count: int, seed: object) -> Groups:
    """Group whole speakers, together with all speakers of their sessions, women and men in turn.

    Groupings are tried in a fixed order until each group holds every class; if none does, the first is taken.

    Returns:
        Group of each utterance (U,).
    """
    units, numbers = np.unique(speaker_units(corpus), return_inverse=True)
    _need(corpus, "groups of speakers who share no session" if corpus.has("session") else "speakers", len(units), count)
    genders = _genders(corpus, numbers, len(units))
    holds = np.zeros((len(units), len(corpus.classes)), dtype=bool)
    holds[numbers, corpus.labels()] = True
    first: Groups | None = None
    for attempt in range(ATTEMPTS):
        group = _deal_units(units, genders, count, f"{seed}" if attempt == 0 else f"{seed}/{attempt}")
        first = group if first is None else first
        if all(holds[group == k].any(axis=0).all() for k in range(count)):
            return group[numbers]
    assert first is not None
    return first[numbers]


def _deal_units(units: NDArray[np.str_], genders: list[str], count: int, seed: str) -> Groups:
    """Group of each unit of speakers (N,)."""
    position = {str(unit): index for index, unit in enumerate(units)}
    dealt = [
        name
        for gender in sorted(set(genders))
        for name in _shuffled([str(u) for u, g in zip(units, genders, strict=True) if g == gender], seed)
    ]
    group = np.zeros(len(units), dtype=np.int64)
    for turn, name in enumerate(dealt):
        group[position[name]] = turn % count
    return group


def _genders(corpus: Corpus, numbers: Groups, units: int) -> list[str]:
    """Gender of each unit of speakers, joined by ``+`` where it holds several."""
    pairs = corpus.table.select("gender", unit=pl.Series(numbers)).unique()
    by_unit: list[set[str]] = [set() for _ in range(units)]
    for gender, unit in pairs.iter_rows():
        by_unit[unit].add(gender)
    return ["+".join(sorted(genders)) for genders in by_unit]


def speaker_units(corpus: Corpus) -> NDArray[np.str_]:
    """Unit of each utterance (U,): a speaker, with all speakers of shared sessions. A unit stays in one part.

    Raises:
        SplitError: The speaker of some utterances is unknown.
    """
    unknown = int((corpus.table["speaker"] == "").sum())
    if unknown:
        raise SplitError(f"{corpus.name}: the speaker of {unknown} utterances is not known, so none can be kept apart")
    speakers, speaker = np.unique(corpus.table["speaker"].to_numpy().astype(str), return_inverse=True)
    sessions, session = np.unique(corpus.table["session"].to_numpy().astype(str), return_inverse=True)
    known = sessions[session] != ""
    size = len(speakers) + len(sessions)
    ties = coo_array((np.ones(known.sum()), (speaker[known], len(speakers) + session[known])), shape=(size, size))
    tied = connected_components(ties, directed=False)[1][: len(speakers)]
    # A unit is named after its first speaker, so that units are speakers where there are no sessions.
    first = np.unique(tied, return_index=True)[1]
    names: NDArray[np.str_] = speakers[first][np.searchsorted(np.unique(tied), tied)][speaker]
    return names


def _speaker(corpus: Corpus, count: int | None, seed: int) -> list[Fold]:
    count = count or max(3, min(5, len(np.unique(speaker_units(corpus)))))
    return rotate(speaker_groups(corpus, count, seed), count)


def _session(corpus: Corpus, count: int | None, seed: int) -> list[Fold]:
    """Folds of which number k tests session k and validates on the next, so that no speaker is in two parts."""
    sessions = corpus.table["session"]
    if not corpus.has("session"):
        raise SplitError(f"{corpus.name} does not tell the session of every utterance; protocol speaker needs none")
    units = speaker_units(corpus)
    tied = pl.DataFrame({"unit": units, "session": sessions}).unique().sort("session")
    names = tied.unique("unit", keep="first", maintain_order=True)["unit"].to_list()
    _need(corpus, "sessions that share no speaker", len(names), count or 3)
    group = {name: position % (count or len(names)) for position, name in enumerate(names)}
    return rotate(pl.Series(units).replace_strict(group, return_dtype=pl.Int64).to_numpy(), count or len(names))


def _actors(
    name: str, tests: Sequence[Sequence[int]], valids: Sequence[Sequence[int]]
) -> Callable[[Corpus, int | None, int], list[Fold]]:
    """Folds from published lists of RAVDESS' actors."""

    def deal(corpus: Corpus, count: int | None, seed: int) -> list[Fold]:
        if not corpus.name.startswith("ravdess"):
            raise SplitError(f"protocol {name} lists the actors of ravdess; {corpus.name} has others")
        if count not in (None, len(tests)):
            raise SplitError(f"protocol {name} has {len(tests)} folds, not {count}")
        actors = corpus.table["speaker"].cast(pl.Int64).to_numpy()
        return [
            Fold(
                train=np.flatnonzero(~np.isin(actors, [*test, *valid])),
                valid=np.flatnonzero(np.isin(actors, valid)),
                test=np.flatnonzero(np.isin(actors, test)),
            )
            for test, valid in zip(tests, valids, strict=True)
        ]

    return deal


def _utterances(corpus: Corpus, count: int | None, seed: int) -> list[Fold]:
    """EmoBox' folds of EmoDB; a fifth of each training part, of each class in proportion, validates."""
    if not corpus.name.startswith("emodb"):
        raise SplitError(f"protocol emobox5 lists the utterances of emodb; {corpus.name} has others")
    if count not in (None, len(EMODB_TEST)):
        raise SplitError(f"protocol emobox5 has {len(EMODB_TEST)} folds, not {count}")
    keys = corpus.table["key"]
    unlisted = keys.filter(~keys.is_in([name for names in EMODB_TEST for name in names]))
    if len(unlisted):
        raise SplitError(f"protocol emobox5 does not list {len(unlisted)} utterances of {corpus.name}: {unlisted[0]} …")
    folds = []
    for number, names in enumerate(EMODB_TEST):
        test = keys.is_in(list(names)).to_numpy()
        train = corpus.table.filter(~test)
        dealt = [key for emotion in corpus.classes for key in _keys_of(train, emotion, number)]
        valid = keys.is_in(dealt[::VALIDATION_GROUPS]).to_numpy()
        folds.append(Fold(np.flatnonzero(~test & ~valid), np.flatnonzero(valid), np.flatnonzero(test)))
    return folds


def _keys_of(table: pl.DataFrame, emotion: str, seed: object) -> list[str]:
    """Shuffled keys of a class."""
    return _shuffled(table.filter(pl.col("emotion") == emotion)["key"], seed)


def _content(corpus: Corpus, count: int | None, seed: int) -> list[Fold]:
    """Folds that test other sentences and other speakers than they train on.

    Validation has other speakers with the training sentences. Each half of the sentences is tested once with each group
    of speakers, so that there are twice as many folds as groups. Halves and groups are tried in a fixed order until
    every part holds every class.
    """
    texts = corpus.table["text"].unique().sort().to_list()
    if len(texts) < 2 or "" in texts:
        raise SplitError(f"protocol content needs the text of every utterance, which {corpus.name} does not tell")
    if 2 * len(texts) > len(corpus):
        raise SplitError(f"{corpus.name} has {len(texts)} texts in {len(corpus)} utterances: few are said twice")
    count = count or max(3, min(5, len(np.unique(speaker_units(corpus)))))
    first: list[Fold] | None = None
    for attempt in range(ATTEMPTS):
        halves = _shuffled(texts, f"{seed}/{attempt}") if attempt else texts
        second = corpus.table["text"].is_in(halves[1::2]).to_numpy()
        groups = speaker_groups(corpus, count, f"{seed}/{attempt}" if attempt else seed)
        folds = _across(groups, count, second)
        first = first or folds
        if _complete(corpus, folds):
            return folds
    return first or []


def _across(groups: Groups, count: int, second: NDArray[np.bool_]) -> list[Fold]:
    """Folds that test one half of the sentences and train and validate on the other."""
    return [
        Fold(fold.train[~tested[fold.train]], fold.valid[~tested[fold.valid]], fold.test[tested[fold.test]])
        for tested in (second, ~second)
        for fold in rotate(groups, count)
    ]


def _complete(corpus: Corpus, folds: list[Fold]) -> bool:
    """Whether every part of every fold holds every class."""
    labels = corpus.labels()
    return all(len(np.unique(labels[part])) == len(corpus.classes) for fold in folds for part in fold.parts().values())


def _loco(corpus: Corpus, count: int | None, seed: int) -> list[Fold]:
    """Folds of which number k tests corpus k, and trains on all others."""
    names = _members(corpus, "loco", count)
    if corpus.kept:
        raise SplitError(f"protocol loco trains on each corpus in turn, and {corpus.kept[0]} is kept for testing")
    column = corpus.table["corpus"].to_numpy()
    return [_validated(corpus, column != name, column == name, seed) for name in names]


def _unseen(corpus: Corpus, count: int | None, seed: int) -> list[Fold]:
    """One fold that tests the corpora that are only tested, and trains on all others but the clips of `examples/`."""
    names = _members(corpus, "unseen", count)
    if not corpus.kept or len(corpus.kept) == len(names):
        listed = one_of(names) if corpus.kept else "--keep NAME"
        raise SplitError(f"protocol unseen needs corpora to train on, and others that are only tested ({listed})")
    kept = corpus.table["corpus"].is_in(corpus.kept).to_numpy()
    fold, heard = _validated(corpus, ~kept, kept, seed), ~are_examples(corpus.table["file"])
    return [Fold(fold.train[heard[fold.train]], fold.valid[heard[fold.valid]], fold.test)]


def _owner(protocol: str, shared: bool) -> Callable[[Corpus, int | None, int], list[Fold]]:
    """Folds of the owner's own parts: one for each test part, with the same training and validation parts."""

    def deal(corpus: Corpus, count: int | None, seed: int) -> list[Fold]:
        part = _parts_of_the_owner(corpus, protocol)
        tests = sorted(name for name in set(part) if name.startswith("test"))
        if count not in (None, len(tests)):
            raise SplitError(f"protocol {protocol} has a fold for each of {len(tests)} test parts, not {count}")
        if not shared:
            _refuse_shared_speakers(corpus, part)
        train, valid = np.flatnonzero(part == "train"), np.flatnonzero(part == "valid")
        return [Fold(train, valid, np.flatnonzero(part == name)) for name in tests]

    return deal


def _parts_of_the_owner(corpus: Corpus, protocol: str) -> NDArray[np.str_]:
    """Part of each utterance (U,): train, valid, test, or a test with a number."""
    names = corpus.table["partition"].str.to_lowercase().str.strip_chars()
    untold = int((names == "").sum())
    if untold:
        raise SplitError(
            f"protocol {protocol} needs the owner's own part of every utterance, which {corpus.name} does not tell "
            f"for {untold} of {len(corpus)}"
        )
    known = {name: SPLITS.get(name, name if re.fullmatch(r"test\d+", name) else "") for name in names.unique()}
    strange = sorted(name for name, part in known.items() if not part)
    if strange:
        raise SplitError(f"{corpus.name}: {strange[0]!r} is no part of a split ({one_of((*SPLITS, 'test1'))})")
    if not any(part.startswith("test") for part in known.values()):
        raise SplitError(f"{corpus.name}: none of its owner's parts is a test part ({', '.join(sorted(known))})")
    return names.replace_strict(known).to_numpy().astype(str)


def _refuse_shared_speakers(corpus: Corpus, part: NDArray[np.str_]) -> None:
    """Refuse parts of which two share a speaker, unless both are test parts; unknown speakers are passed by."""
    part = np.where(np.char.startswith(part, "test"), "test", part)
    table = corpus.table.select("speaker", part=pl.Series(part)).filter(pl.col("speaker") != "").unique()
    shared = table.filter(pl.col("speaker").is_duplicated())["speaker"].unique().sort()
    if len(shared):
        raise SplitError(
            f"the owner's parts of {corpus.name} share {len(shared)} speakers, for example {shared[0]!r}: "
            "--protocol owner-shared takes them all the same, and its figures are optimistic"
        )


def _members(corpus: Corpus, protocol: str, count: int | None) -> tuple[str, ...]:
    """Names of several corpora."""
    names = corpus.members
    if len(names) < 2:
        raise SplitError(f"protocol {protocol} needs several corpora: --corpus NAME --corpus NAME")
    if count is not None:
        raise SplitError(f"protocol {protocol} has as many folds as its corpora say, not {count}")
    return names


def _validated(corpus: Corpus, trained: NDArray[np.bool_], tested: NDArray[np.bool_], seed: int) -> Fold:
    """A fold that validates on some whole speakers of each training corpus."""
    column = corpus.table["corpus"].to_numpy()
    valid = np.zeros(len(corpus), dtype=bool)
    for name in corpus.members:
        positions = np.flatnonzero(trained & (column == name))
        if len(positions):
            valid[positions[_some_speakers(part_of(corpus, positions), seed)]] = True
    return Fold(np.flatnonzero(trained & ~valid), np.flatnonzero(valid), np.flatnonzero(tested))


def _some_speakers(corpus: Corpus, seed: int) -> NDArray[np.bool_]:
    """Whether the speaker of each utterance (U,) is one of those that validate; none is, if there is but one."""
    speakers = len(np.unique(speaker_units(corpus)))
    if speakers < 2:
        return np.zeros(len(corpus), dtype=bool)
    return np.asarray(speaker_groups(corpus, min(VALIDATION_GROUPS, speakers), seed) == 0)


def part_of(corpus: Corpus, positions: Positions) -> Corpus:
    """Some utterances of a corpus, with the classes that they have."""
    table = corpus.table[positions]
    present = set(table["emotion"])
    classes = tuple(name for name in corpus.classes if name in present)
    return Corpus(corpus.name, corpus.root, classes, table, corpus.license)


def _need(corpus: Corpus, unit: str, present: int, count: int) -> None:
    if present < count:
        reason = f"{corpus.name} has {present} {unit}"
        if count <= 3:
            raise SplitError(f"{reason}: three disjoint parts (train, validation, test) cannot exist")
        raise SplitError(f"{reason}; {count} disjoint folds need at least {count}")


def _shuffled(names: Iterable[str], seed: object) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())


PROTOCOLS: dict[str, Protocol] = {
    "speaker": Protocol("no speaker is in two of train, validation and test", False, _speaker),
    "random": Protocol(
        "random over utterances: speakers are SHARED by train, validation and test, so numbers are optimistic",
        True,
        _random,
    ),
    "random10": Protocol(
        "random over utterances, in ten folds: speakers are SHARED by all parts, so numbers are optimistic",
        True,
        lambda corpus, count, seed: _random(corpus, count or 10, seed),
    ),
    "session": Protocol("tests one session, validates on another; no speaker is in two parts", False, _session),
    "actors5": Protocol(
        "five lists of test actors (as ResLSTM-SA has them); no speaker is in two parts",
        False,
        _actors("actors5", ACTORS5_TEST, ACTORS5_VALID),
    ),
    "emobox6": Protocol(
        "EmoBox' six lists of test actors, with a validation part of ours; no speaker is in two parts",
        False,
        _actors("emobox6", EMOBOX6_TEST, EMOBOX6_VALID),
    ),
    "emobox5": Protocol(
        "EmoBox' five lists of test utterances of EmoDB, with a validation part of ours; speaker-DEPENDENT: train, "
        "validation and test SHARE speakers, so numbers are optimistic",
        True,
        _utterances,
    ),
    "loco": Protocol(
        "tests one corpus, trains on the others and validates on some of their speakers; no speaker is in two parts",
        False,
        _loco,
    ),
    "unseen": Protocol(
        "tests corpora that are only tested, trains on the others and validates on some of their speakers; no speaker "
        "is in two parts",
        False,
        _unseen,
    ),
    "owner": Protocol(
        "the owner's own training, validation and test parts, a fold for each test part; no known speaker is in two of "
        "the three",
        False,
        _owner("owner", shared=False),
    ),
    "owner-shared": Protocol(
        "the owner's own training, validation and test parts, a fold for each test part; speakers are SHARED by the "
        "parts, so numbers are optimistic",
        True,
        _owner("owner-shared", shared=True),
    ),
    "content": Protocol(
        "tests other sentences and other speakers than train; validation has the training sentences", False, _content
    ),
}
