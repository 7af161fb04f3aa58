"""Folds do what their protocol says, the same everywhere."""

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofocus.corpora import CORPORA, Corpus, Utterance, read_corpus
from emofocus.corpora.readers import emodb
from emofocus.corpora.readers.ravdess import parse
from emofocus.errors import SplitError
from emofocus.evaluation.results import ADAPTED
from emofocus.splits.audit import audit
from emofocus.splits.emobox import EMODB_TEST
from emofocus.splits.folds import Folds, locate
from emofocus.splits.protocols import ACTORS5_TEST, ACTORS5_VALID, EMOBOX6_TEST, PROTOCOLS, make_folds
from helpers.paths import RESULTS
from helpers.properties import cases

CLASSES = ("neutral", "happy", "sad")
OF_SEVERAL = ("loco", "unseen")
"""Protocols of several corpora (`test_multi_corpus_protocols.py`)."""

OF_OWNERS = ("owner", "owner-shared")
"""Protocols of corpora that their owners divide (`test_owner_protocols.py`)."""

SHARED = ("random", "random10", "emobox5")

PAIR = ("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")


def corpus_of(speakers: int, each: int, classes: tuple[str, ...] = CLASSES) -> Corpus:
    utterances = [
        Utterance(
            f"{s:02}/{c}-{n}-{s:02}.wav", c, f"{s:02}", gender="male" if s % 2 else "female", text=f"text {n % 2}"
        )
        for s in range(speakers)
        for c in classes
        for n in range(each)
    ]
    return Corpus.of("made", Path(), classes, utterances)


def ravdess_like(suffix: str = ".wav") -> Corpus:
    reader = CORPORA["ravdess"]
    files = [PurePosixPath(f"Actor_{key[-2:]}/{key}{suffix}") for key in reader.expected.keys()]  # noqa: SIM118
    return Corpus.of("ravdess", Path(), tuple(reader.labels), [parse(file, "01") for file in files])


def emodb_like(names: Iterable[str] = frozenset().union(*EMODB_TEST)) -> Corpus:
    """EmoDB, or some utterances by name."""
    rows = [emodb.parse(PurePosixPath(f"wav/{name}.wav")) for name in sorted(names)]
    return Corpus.of("emodb", Path(), tuple(CORPORA["emodb"].labels), [row for row in rows if row])


def iemocap_like() -> Corpus:
    """Five sessions of two speakers each."""
    rows = [
        Utterance(f"{s}{g}{c}{n}.wav", c, f"{s}{g}", session=f"{s}", gender={"F": "female", "M": "male"}[g])
        for s in range(1, 6)
        for g in "FM"
        for c in CLASSES
        for n in range(3)
    ]
    return Corpus.of("iemocap", Path(), CLASSES, rows)


def speakers_of(corpus: Corpus, part: np.ndarray) -> set[str]:
    return set(corpus.table["speaker"].gather(part))


@pytest.mark.parametrize("protocol", ["speaker", "random"])
@given(speakers=st.integers(5, 14), each=st.integers(2, 6), seed=st.integers(0, 99))
@cases(20, 300)
def test_each_utterance_is_tested_once_and_parts_never_overlap(
    protocol: str, speakers: int, each: int, seed: int
) -> None:
    corpus = corpus_of(speakers, each)
    folds = make_folds(corpus, protocol, seed)
    for fold in folds:
        everything = np.concatenate(list(fold.parts().values()))
        assert sorted(everything) == list(range(len(corpus)))
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(corpus)))


@pytest.mark.parametrize("protocol", ["speaker", "content"])
@given(speakers=st.integers(3, 30), seed=st.integers(0, 99))
@cases(30, 300)
def test_speaker_folds_share_no_speaker(protocol: str, speakers: int, seed: int) -> None:
    corpus = corpus_of(speakers, 2)
    for fold in make_folds(corpus, protocol, seed):
        heard = [speakers_of(corpus, part) for part in fold.parts().values()]
        assert not heard[0] & heard[1]
        assert not heard[0] & heard[2]
        assert not heard[1] & heard[2]


@pytest.mark.parametrize(
    "protocol", [name for name in PROTOCOLS if name not in (*OF_SEVERAL, *OF_OWNERS, "session", *SHARED)]
)
def test_every_protocol_of_ravdess_passes_its_audit(protocol: str) -> None:
    corpus = ravdess_like()
    found = audit(corpus.table, make_folds(corpus, protocol, seed=0))
    assert found.passed, found.summary()


def test_random_folds_fail_their_audit_for_speakers_alone() -> None:
    corpus = ravdess_like()
    found = audit(corpus.table, make_folds(corpus, "random", seed=0))
    assert {item.kind for item in found.offences if item.fails} == {"speaker"}


@pytest.mark.parametrize("seed", range(20))
def test_random_folds_never_separate_the_two_equal_files_of_ravdess(seed: int) -> None:
    corpus = ravdess_like()
    pair = locate(PAIR, corpus, "the test")
    for fold in make_folds(corpus, "random", seed):
        assert sorted(np.isin(pair, part).sum() for part in fold.parts().values()) == [0, 0, 2]


def test_ravdess_by_speaker_balances_women_and_men() -> None:
    corpus = ravdess_like()
    for fold in make_folds(corpus, "speaker", seed=0):
        actors = speakers_of(corpus, fold.test)
        women = {actor for actor in actors if int(actor) % 2 == 0}
        assert len(actors) in (4, 5)
        assert abs(2 * len(women) - len(actors)) <= 1


def test_random_folds_of_ravdess_are_stratified_three_to_one_to_one() -> None:
    corpus = ravdess_like()
    for fold in make_folds(corpus, "random", seed=0):
        assert [len(part) for part in fold.parts().values()] == pytest.approx([864, 288, 288], abs=1)
        counts = np.bincount(corpus.labels()[fold.test])
        assert counts[0] in (19, 20)
        assert set(counts[1:]) <= {37, 38, 39, 40}  # the pair of equal files goes together


def test_random_folds_of_iemocap_are_ten_and_random10_deals_ten_of_any_corpus() -> None:
    assert len(make_folds(iemocap_like(), "random", seed=0)) == 10
    corpus = ravdess_like()
    folds = make_folds(corpus, "random10", seed=0)
    assert [[len(part) for part in fold.parts().values()] for fold in folds] == [
        pytest.approx([1152, 144, 144], abs=3)
    ] * 10
    assert folds.speakers_shared


def test_actors5_and_emobox6_have_the_published_test_actors() -> None:
    corpus = ravdess_like()
    for protocol, lists in (("actors5", ACTORS5_TEST), ("emobox6", EMOBOX6_TEST)):
        folds = make_folds(corpus, protocol, seed=0)
        assert [{int(a) for a in speakers_of(corpus, fold.test)} for fold in folds] == [set(actors) for actors in lists]
        assert sorted(actor for actors in lists for actor in actors) == list(range(1, 25))
    folds = make_folds(corpus, "actors5", seed=0)
    assert [{int(a) for a in speakers_of(corpus, fold.valid)} for fold in folds] == [set(a) for a in ACTORS5_VALID]


def test_emobox6_validates_on_a_man_and_a_woman_whom_training_and_test_do_not_hear() -> None:
    corpus = ravdess_like()
    for fold in make_folds(corpus, "emobox6", seed=0):
        actors = speakers_of(corpus, fold.valid)
        assert sorted(int(actor) % 2 for actor in actors) == [0, 1]
        assert not actors & (speakers_of(corpus, fold.train) | speakers_of(corpus, fold.test))


def test_emobox5_tests_each_utterance_of_emodb_once() -> None:
    corpus = emodb_like()
    assert dict(corpus.table["emotion"].value_counts().iter_rows()) == emodb.COUNTS
    folds = make_folds(corpus, "emobox5", seed=0)
    assert folds.speakers_shared
    assert "speaker-DEPENDENT" in folds.note
    for fold, names in zip(folds, EMODB_TEST, strict=True):
        assert set(corpus.table["key"].gather(fold.test)) == names
        assert [len(part) for part in fold.parts().values()] == [342, 86, 107]
        assert sorted(np.concatenate(list(fold.parts().values()))) == list(range(535))
        learned, validated = (np.bincount(corpus.labels()[part]) for part in (fold.train, fold.valid))
        assert np.abs(validated - (learned + validated) / 5).max() < 1  # each class in proportion
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(535))
    assert make_folds(corpus, "emobox5", seed=1).digest(corpus) == folds.digest(corpus)
    assert {item.kind for item in audit(corpus.table, folds).offences if item.fails} == {"speaker"}


def test_content_tests_the_other_sentence() -> None:
    corpus = ravdess_like()
    texts = corpus.table["text"]
    folds = make_folds(corpus, "content", seed=0)
    for fold in folds:
        said = [set(texts.gather(part)) for part in fold.parts().values()]
        assert said[0] == said[1]
        assert len(said[0] | said[2]) == 2
        assert not said[0] & said[2]
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(1440))


def test_sessions_are_tested_in_their_order_and_never_shared() -> None:
    corpus = iemocap_like()
    folds = make_folds(corpus, "session", seed=0)
    assert [set(corpus.table["session"].gather(fold.test)) for fold in folds] == [{str(k)} for k in range(1, 6)]
    assert audit(corpus.table, folds).passed


def test_by_speaker_whoever_shares_a_session_stays_together() -> None:
    corpus = iemocap_like()
    folds = make_folds(corpus, "speaker", seed=0)
    assert len(folds) == 5
    assert audit(corpus.table, folds).passed


def test_a_class_that_few_speakers_have_still_reaches_every_part() -> None:
    """As disgust in EmoDB: dealing the speakers by chance alone leaves it out of some part, so others are tried."""
    rows = [Utterance(f"{s}{c}.wav", c, f"{s:02}") for s in range(10) for c in CLASSES if c != "sad" or s < 5]
    corpus = Corpus.of("made", Path(), CLASSES, rows)
    assert audit(corpus.table, make_folds(corpus, "speaker", seed=0)).passed


@pytest.mark.parametrize(
    ("protocol", "digest"),
    [
        ("speaker", "bdc56186ea0b2246"),
        ("random", "005e33c22cb1b472"),
        ("actors5", "400a9b2af9c4b23d"),
        ("emobox6", "a195b153d0af40f1"),
        ("content", "64cb8211adf591c4"),
    ],
)
def test_folds_are_the_same_on_every_machine(protocol: str, digest: str) -> None:
    corpus = ravdess_like()
    assert make_folds(corpus, protocol, seed=0).digest(corpus) == digest


@pytest.mark.parametrize(
    "path", sorted(RESULTS.rglob("folds.json")), ids=lambda path: "/".join(path.relative_to(RESULTS).parts[:-1])
)
def test_committed_folds_are_those_that_are_dealt_today(path: Path) -> None:
    values = json.loads(path.read_text())
    named = {"ravdess": ravdess_like, "emodb": emodb_like}
    if values["corpus"] not in named:
        pytest.skip("its names are not known here")
    corpus, (_, protocol) = named[values["corpus"]](), path.relative_to(RESULTS).parts[:2]
    dealt = make_folds(corpus, protocol.partition(ADAPTED)[0], values.get("seed", 0))
    for fold, names in zip(dealt, values["folds"], strict=True):
        for part, positions in fold.parts().items():
            assert set(locate(names[part], corpus, str(path))) == set(positions), (path, part)


def test_seeds_deal_differently() -> None:
    corpus = ravdess_like()
    for protocol in ("speaker", "random", "content"):
        assert len({make_folds(corpus, protocol, seed).digest(corpus) for seed in range(3)}) == 3


def test_wav_and_flac_copies_get_the_same_folds() -> None:
    wav, flac = ravdess_like(), ravdess_like(".flac")
    for protocol in PROTOCOLS:
        if protocol not in (*OF_SEVERAL, *OF_OWNERS, "session", "emobox5"):
            assert make_folds(wav, protocol, 0).digest(wav) == make_folds(flac, protocol, 0).digest(flac)


@pytest.mark.parametrize(
    ("corpus", "protocol", "count", "message"),
    [
        (corpus_of(6, 2), "loso", None, r"unknown protocol 'loso' \(valid: speaker, random, random10, session"),
        (corpus_of(2, 20), "speaker", None, "made has 2 speakers: three disjoint parts .* cannot exist"),
        (corpus_of(4, 20), "speaker", 6, "made has 4 speakers; 6 disjoint folds need at least 6"),
        (corpus_of(6, 2), "random", 2, "2 folds cannot give"),
        (corpus_of(1, 1), "random", None, "made has 3 recordings; 5 disjoint folds need at least 5"),
        (corpus_of(6, 2), "loco", None, "protocol loco needs several corpora: --corpus NAME --corpus NAME"),
        (corpus_of(6, 2), "unseen", None, "protocol unseen needs several corpora"),
        (corpus_of(6, 2), "session", None, "does not tell the session of every utterance"),
        (corpus_of(6, 2), "actors5", None, "protocol actors5 lists the actors of ravdess; made has others"),
        (ravdess_like(), "actors5", 4, "protocol actors5 has 5 folds, not 4"),
        (ravdess_like(), "emobox5", None, "protocol emobox5 lists the utterances of emodb; ravdess has others"),
        (emodb_like(), "emobox5", 6, "protocol emobox5 has 5 folds, not 6"),
        (emodb_like(["03a01Fa", "03a01Fc"]), "emobox5", None, "does not list 1 utterances of emodb: 03a01Fc"),
        (iemocap_like(), "content", None, "needs the text of every utterance"),
        (Corpus.of("m", Path(), ("a",), [Utterance("x.wav", "a", "")]), "speaker", None, "the speaker of 1 utterances"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_impossible_requests_are_refused_with_the_reason(
    corpus: Corpus, protocol: str, count: int | None, message: str
) -> None:
    with pytest.raises(SplitError, match=message):
        make_folds(corpus, protocol, 0, count)


def test_tess_by_speaker_is_refused() -> None:
    rows = [Utterance(f"{s}_{w}_{c}.wav", c, s) for s in ("OAF", "YAF") for w in ("back", "bar") for c in CLASSES]
    with pytest.raises(SplitError, match="tess has 2 speakers: three disjoint parts"):
        make_folds(Corpus.of("tess", Path(), CLASSES, rows), "speaker", 0)


@pytest.mark.parametrize("name", ["ravdess", "emodb"])
def test_every_protocol_that_the_real_corpora_allow_passes_or_is_random(name: str, data: Path) -> None:
    corpus = read_corpus(name, data / name)
    for protocol in PROTOCOLS:
        try:
            folds: Folds = make_folds(corpus, protocol, seed=0)
        except SplitError:
            others = {"emodb": ("actors5", "emobox6"), "ravdess": ("emobox5",)}[name]
            assert protocol in (*OF_SEVERAL, *OF_OWNERS, "session", *others)
            continue
        assert audit(corpus.table, folds).passed == (not PROTOCOLS[protocol].speakers_shared)


def test_segments_and_copies_of_one_recording_are_dealt_together() -> None:
    rows = [Utterance(f"{n}.wav", c, f"{n % 4}") for n in range(20) for c in CLASSES[n % 3 : n % 3 + 1]]
    rows += [Utterance(f"copies/{n}_noise.wav", row.emotion, row.speaker) for n, row in enumerate(rows)]
    rows += [
        Utterance("long.wav", CLASSES[n % 3], "9", start=float(n), end=n + 1.0) for n in range(9)
    ]  # nine cuts of one file
    corpus = Corpus.of("made", Path(), CLASSES, rows)
    found = audit(corpus.table.with_columns(speaker=pl.lit("")), make_folds(corpus, "random", 0))
    assert not [item for item in found.offences if item.kind == "recording"]


def test_a_class_that_a_fold_would_train_without_is_named_with_what_to_do() -> None:
    rows = [
        Utterance(f"{speaker}-{label}-{take}.wav", label, speaker)
        for speaker in ("anna", "ben", "carla")
        for label in (CLASSES if speaker == "anna" else CLASSES[:2])
        for take in range(4)
    ]
    with pytest.raises(SplitError, match=r"trains without sad: all of its 4 .* random shares .* --labels without sad"):
        make_folds(Corpus.of("made", Path(), CLASSES, rows), "speaker", 0)
