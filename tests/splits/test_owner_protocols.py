"""Owners' own parts become folds, one for each test part."""

from pathlib import Path

import numpy as np
import pytest

from emofocus.corpora import Corpus, Utterance, read_corpus
from emofocus.corpora.manifest import write_manifest
from emofocus.errors import SplitError
from emofocus.splits.audit import audit
from emofocus.splits.protocols import PROTOCOLS, make_folds
from helpers.trees import FILES, TREES, plant

CLASSES = ("happy", "sad")


def corpus_of(*speakers_and_parts: tuple[str, str]) -> Corpus:
    """Two utterances of each speaker in a part, one of each class."""
    rows = [
        Utterance(f"{speaker}-{part}-{emotion}.wav", emotion, speaker, partition=part)
        for speaker, part in speakers_and_parts
        for emotion in CLASSES
    ]
    return Corpus.of("made", Path(), CLASSES, rows)


def test_msp_podcast_has_a_fold_for_each_test_part_with_the_owners_training_and_development_parts(
    tmp_path: Path,
) -> None:
    corpus = read_corpus("msp-podcast", TREES["msp-podcast"](tmp_path))
    folds = make_folds(corpus, "owner", seed=0)
    parts = corpus.table["partition"]
    found = [{name: set(parts.gather(part)) for name, part in fold.parts().items()} for fold in folds]
    assert found == [{"train": {"train"}, "valid": {"valid"}, "test": {test}} for test in ("test1", "test2")]
    used = np.unique(np.concatenate([part for fold in folds for part in fold.parts().values()]))
    assert len(used) == len(corpus)
    assert audit(corpus.table, folds).passed


def test_emozionalmente_has_its_owners_fold(tmp_path: Path) -> None:
    corpus = read_corpus("emozionalmente", TREES["emozionalmente"](tmp_path))
    (fold,) = make_folds(corpus, "owner", seed=0)
    speakers = [len(set(corpus.table["speaker"].gather(part))) for part in fold.parts().values()]
    assert speakers == [274, 69, 88]


@pytest.mark.parametrize("name", ["esd", "meld"])
def test_parts_that_share_speakers_need_the_protocol_that_says_so(name: str, tmp_path: Path) -> None:
    if name == "esd":
        plant(tmp_path, [file for file in FILES["esd"]() if file.startswith("0011/")])
    else:
        TREES["meld"](tmp_path)
    corpus = read_corpus(name, tmp_path)
    with pytest.raises(SplitError, match=rf"the owner's parts of {name} share \d speakers, .* --protocol owner-shared"):
        make_folds(corpus, "owner", seed=0)
    folds = make_folds(corpus, "owner-shared", seed=0)
    assert len(folds) == 1
    assert folds.speakers_shared
    assert "SHARED" in PROTOCOLS["owner-shared"].note
    found = audit(corpus.table, folds)
    assert {item.kind for item in found.offences if item.fails} == {"speaker"}


def test_a_manifest_keeps_the_parts_under_the_names_of_other_projects(tmp_path: Path) -> None:
    corpus = corpus_of(("a", "Train"), ("b", "dev"), ("c", "Test1"), ("d", "test2"))
    write_manifest(corpus.table, tmp_path / "m.csv")
    for file in corpus.table["file"]:
        (tmp_path / file).touch()
    again = read_corpus(str(tmp_path / "m.csv"))
    assert again.table["partition"].to_list() == corpus.table["partition"].to_list()
    tested = [set(again.table["speaker"].gather(fold.test)) for fold in make_folds(again, "owner", seed=0)]
    assert tested == [{"c"}, {"d"}]


def test_test_parts_may_share_speakers_with_each_other_and_unknown_speakers_are_passed_by() -> None:
    corpus = corpus_of(("", "train"), ("a", "train"), ("b", "valid"), ("c", "test1"), ("c", "test2"), ("", "test2"))
    assert len(make_folds(corpus, "owner", seed=0)) == 2


@pytest.mark.parametrize(
    ("parts", "count", "message"),
    [
        ((("a", "train"), ("b", "")), None, "needs the owner's own part of every utterance, which made does not tell "),
        (
            (("a", "train"), ("b", "valid"), ("c", "fold3")),
            None,
            r"made: 'fold3' is no part of a split \(valid: train,",
        ),
        ((("a", "train"), ("b", "valid")), None, r"none of its owner's parts is a test part \(train, valid\)"),
        ((("a", "train"), ("b", "test")), None, "fold 0 of made has an empty valid part"),
        ((("a", "train"), ("b", "valid"), ("c", "test")), 5, "has a fold for each of 1 test parts, not 5"),
        ((("a", "train"), ("b", "valid"), ("a", "test")), None, "share 1 speakers, for example 'a'"),
    ],
)
def test_what_an_owners_parts_do_not_allow_is_refused_with_the_reason(
    parts: tuple[tuple[str, str], ...], count: int | None, message: str
) -> None:
    with pytest.raises(SplitError, match=message):
        make_folds(corpus_of(*parts), "owner", 0, count)
