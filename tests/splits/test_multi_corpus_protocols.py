"""Folds of several corpora: no speaker in two parts, validation inside the training corpora, kept ones only tested."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from emofocus.corpora import Corpus, Utterance
from emofocus.corpora.multi_corpus import joined
from emofocus.errors import SplitError
from emofocus.splits.audit import audit
from emofocus.splits.folds import Fold, write_folds
from emofocus.splits.formats import read_folds
from emofocus.splits.protocols import make_folds

FOUR = ("neutral", "happy", "sad", "angry")


def made(name: str, classes: Iterable[str], speakers: int = 6) -> Corpus:
    rows = [
        Utterance(f"{speaker}-{label}-{take}.wav", label, f"{speaker}", gender="female" if speaker % 2 else "male")
        for speaker in range(speakers)
        for label in classes
        for take in range(3)
    ]
    return Corpus.of(name, Path(), tuple(classes), rows)


@pytest.fixture
def training() -> Corpus:
    """Three corpora, of which one lacks a class."""
    return joined([made("first", (*FOUR, "fear")), made("second", FOUR), made("third", (*FOUR, "fear"), speakers=10)])


@pytest.fixture
def with_kept() -> Corpus:
    """Two corpora to train on, and two that are only tested."""
    return joined(
        [made("first", (*FOUR, "fear")), made("tess", FOUR, 2), made("second", (*FOUR, "fear")), made("ased", FOUR)]
    )


def corpora_in(corpus: Corpus, positions: object) -> set[str]:
    return set(corpus.table["corpus"].gather(positions))


def speakers_in(corpus: Corpus, positions: object) -> set[str]:
    return set(corpus.table["speaker"].gather(positions))


def test_loco_leaves_each_corpus_out_once(training: Corpus) -> None:
    folds = make_folds(training, "loco", seed=0)
    assert [corpora_in(training, fold.test) for fold in folds] == [{"first"}, {"second"}, {"third"}]
    for fold in folds:
        rest = {"first", "second", "third"} - corpora_in(training, fold.test)
        assert corpora_in(training, fold.train) == corpora_in(training, fold.valid) == rest
        assert sum(len(part) for part in fold.parts().values()) == len(training)


def test_unseen_tests_the_kept_corpora_alone(with_kept: Corpus) -> None:
    (fold,) = make_folds(with_kept, "unseen", seed=0)
    assert corpora_in(with_kept, fold.test) == {"tess", "ased"}
    assert corpora_in(with_kept, fold.train) == corpora_in(with_kept, fold.valid) == {"first", "second"}


@pytest.mark.parametrize("protocol", ["loco", "unseen"])
@pytest.mark.parametrize("seed", range(3))
def test_no_speaker_is_in_two_parts_and_the_audit_passes(
    protocol: str, seed: int, training: Corpus, with_kept: Corpus
) -> None:
    corpus = training if protocol == "loco" else with_kept
    folds = make_folds(corpus, protocol, seed)
    for fold in folds:
        train, valid, test = (speakers_in(corpus, part) for part in fold.parts().values())
        assert not train & valid
        assert not (train | valid) & test
    found = audit(corpus.table, folds)
    assert found.passed, found.summary()


def test_a_class_that_a_corpus_has_and_its_part_lacks_fails_the_audit(training: Corpus) -> None:
    fold = make_folds(training, "loco", seed=0)[0]
    without = training.table["emotion"].gather(fold.test) != "fearful"
    spoiled = replace(fold, test=fold.test[without.to_numpy()], train=[*fold.train, *fold.test[~without.to_numpy()]])
    found = audit(training.table, [Fold.of(**spoiled.parts())])
    assert "fearful absent from test" in {offence.value for offence in found.offences if offence.fails}


@pytest.mark.parametrize("protocol", ["loco", "speaker", "random"])
def test_nothing_is_trained_on_a_kept_corpus(protocol: str, with_kept: Corpus) -> None:
    with pytest.raises(SplitError, match="tess"):
        make_folds(with_kept, protocol, seed=0)


def test_folds_of_a_file_do_not_train_on_a_kept_corpus(with_kept: Corpus, tmp_path: Path) -> None:
    free = replace(with_kept, kept=())
    write_folds(make_folds(free, "loco", seed=0), free, tmp_path / "folds.json")
    with pytest.raises(SplitError, match="tess is kept for testing: nothing is trained on it or chosen by it"):
        read_folds(tmp_path / "folds.json", with_kept, None, seed=0)


@pytest.mark.parametrize(
    ("names", "protocol", "message"),
    [
        (("first", "second"), "unseen", "protocol unseen needs corpora to train on, and others that are only tested"),
        (("tess", "ased"), "unseen", "protocol unseen needs corpora to train on"),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused(names: tuple[str, ...], protocol: str, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        make_folds(joined([made(name, FOUR) for name in names]), protocol, seed=0)


def test_a_fold_that_would_train_without_a_class_is_refused() -> None:
    corpus = joined([made("first", (*FOUR, "fear")), made("second", FOUR)])
    with pytest.raises(SplitError, match="trains without fearful"):
        make_folds(corpus, "loco", seed=0)
