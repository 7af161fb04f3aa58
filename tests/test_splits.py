"""Folds do what their protocol says, the same everywhere."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofocus.corpora import CORPORA, Corpus, Utterance
from emofocus.errors import SplitError
from emofocus.splits import PROTOCOLS, Fold, make_folds

CLASSES = ("neutral", "happy", "sad")


def corpus_of(speakers: int, each: int, classes: tuple[str, ...] = CLASSES) -> Corpus:
    utterances = tuple(
        Utterance(f"{s:02}/{c}-{n}-{s:02}.wav", c, f"{s:02}", "male" if s % 2 else "female")
        for s in range(speakers)
        for c in classes
        for n in range(each)
    )
    return Corpus("made", Path(), classes, utterances, "none")


def ravdess_like() -> Corpus:
    reader = CORPORA["ravdess"]
    files = [
        Path(f"Actor_{a:02}/03-01-{e:02}-{i:02}-{s:02}-{r:02}-{a:02}.wav")
        for a in range(1, 25)
        for e in range(1, 9)
        for i in ((1,) if e == 1 else (1, 2))
        for s in (1, 2)
        for r in (1, 2)
    ]
    return Corpus("ravdess", Path(), reader.classes, tuple(map(reader.parse, files)), "none")


def check_partition(corpus: Corpus, folds: list[Fold]) -> None:
    everything = set(range(len(corpus.utterances)))
    for fold in folds:
        parts = [set(fold.train), set(fold.valid), set(fold.test)]
        assert set.union(*parts) == everything
        assert sum(map(len, parts)) == len(everything)
    tested = [index for fold in folds for index in fold.test]
    assert sorted(tested) == sorted(everything)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(speakers=st.integers(5, 14), each=st.integers(2, 6), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_each_utterance_is_tested_once_and_parts_never_overlap(
    protocol: str, speakers: int, each: int, seed: int
) -> None:
    corpus = corpus_of(speakers, each)
    check_partition(corpus, make_folds(corpus, protocol, seed))


@given(speakers=st.integers(5, 30), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_speaker_folds_share_no_speaker(speakers: int, seed: int) -> None:
    corpus = corpus_of(speakers, 2)
    for fold in make_folds(corpus, "speaker", seed):
        heard = [{corpus.utterances[i].speaker for i in part} for part in (fold.train, fold.valid, fold.test)]
        assert not heard[0] & heard[1]
        assert not heard[0] & heard[2]
        assert not heard[1] & heard[2]


def test_ravdess_by_speaker_balances_women_and_men() -> None:
    corpus = ravdess_like()
    assert len(corpus.utterances) == 1440
    for fold in make_folds(corpus, "speaker", seed=0):
        actors = {corpus.utterances[i].speaker for i in fold.test}
        women = {actor for actor in actors if int(actor) % 2 == 0}
        assert len(actors) in (4, 5)
        assert abs(2 * len(women) - len(actors)) <= 1


def test_random_folds_of_ravdess_are_stratified_three_to_one_to_one() -> None:
    corpus = ravdess_like()
    for fold in make_folds(corpus, "random", seed=0):
        assert (len(fold.train), len(fold.valid), len(fold.test)) == (864, 288, 288)
        for label in corpus.classes:
            count = sum(corpus.utterances[i].emotion == label for i in fold.test)
            assert count in ((19, 20) if label == "neutral" else (38, 39))


@pytest.mark.parametrize(("protocol", "digest"), [("speaker", "a94045"), ("random", "96fe75")])
def test_folds_are_the_same_on_every_machine(protocol: str, digest: str) -> None:
    folds = make_folds(ravdess_like(), protocol, seed=0)
    assert hashlib.sha256(repr(folds).encode()).hexdigest()[:6] == digest


def test_seeds_deal_differently() -> None:
    corpus = ravdess_like()
    for protocol in PROTOCOLS:
        assert make_folds(corpus, protocol, 0) != make_folds(corpus, protocol, 1)


def test_wav_and_flac_copies_get_the_same_folds() -> None:
    wav = ravdess_like()
    renamed = tuple(
        Utterance("copy/" + u.file.replace(".wav", ".flac"), u.emotion, u.speaker, u.gender) for u in wav.utterances
    )
    flac = Corpus("ravdess", Path(), wav.classes, renamed, "none")
    for protocol in PROTOCOLS:
        assert make_folds(wav, protocol, 0) == make_folds(flac, protocol, 0)


def test_impossible_requests_are_refused_with_the_reason() -> None:
    with pytest.raises(SplitError, match=r"unknown protocol 'loso' \(valid: speaker, random\)"):
        make_folds(corpus_of(6, 2), "loso", 0)
    with pytest.raises(SplitError, match="made has 2 speakers; 5 speaker-disjoint folds need at least 5"):
        make_folds(corpus_of(2, 20), "speaker", 0)
    with pytest.raises(SplitError, match="2 folds cannot give"):
        make_folds(corpus_of(6, 2), "random", 0, count=2)
    with pytest.raises(SplitError, match="fold 0 of made trains without"):
        make_folds(corpus_of(1, 1), "random", 0)
