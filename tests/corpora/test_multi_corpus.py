"""Several corpora are read as one: classes harmonized, files and speakers apart."""

from pathlib import Path

import numpy as np
import pytest

from emofocus.corpora import read_corpora
from emofocus.corpora.multi_corpus import describe, entries
from emofocus.errors import CorpusError
from helpers.several import plant_corpora

LABELS = {
    "first": ("calm", "neutral", "happy", "sad", "angry"),
    "second": ("neutral", "happy", "sad", "angry", "fear", "surprised"),
    "tess": ("neutral", "happy", "sad", "angry"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant_corpora(tmp_path_factory.mktemp("several"), LABELS)


@pytest.fixture(scope="module")
def names(root: Path) -> tuple[str, ...]:
    """Two corpora by name, and one, which is always kept, by its manifest."""
    return "first", "second", str(root / "tess" / "manifest.csv")


def test_labels_become_the_harmonized_classes(root: Path, names: tuple[str, ...]) -> None:
    corpus = read_corpora(names, (str(root),))
    assert corpus.name == "first+second+tess"
    assert corpus.members == ("first", "second", "tess")
    assert corpus.kept == ("tess",)
    assert corpus.classes == ("neutral", "happy", "sad", "angry", "fearful", "surprised")
    counts = dict(corpus.table.filter(corpus.table["corpus"] == "first")["emotion"].value_counts().iter_rows())
    assert counts == {"neutral": 16, "happy": 8, "sad": 8, "angry": 8}, "calm is neutral"
    assert len(corpus) == 40 + 48 + 32


def test_four_classes_leave_the_others_out_and_count_them(root: Path, names: tuple[str, ...]) -> None:
    corpus = read_corpora(names, (str(root),), "four")
    assert corpus.classes == ("neutral", "happy", "sad", "angry")
    assert corpus.left_out == {"second/fear": 8, "second/surprised": 8}


def test_speakers_and_files_of_different_corpora_are_different(root: Path, names: tuple[str, ...]) -> None:
    corpus = read_corpora(names, (str(root),))
    assert corpus.table["speaker"].n_unique() == 12
    assert corpus.table["key"].n_unique() == len(corpus)
    for index in (0, 50, len(corpus) - 1):
        assert corpus.path(index).is_file()
        assert corpus.path(index).relative_to(root).as_posix() == corpus.table["file"][index]
    assert len(corpus.waveform(0)) == 12_000


def test_the_harmonization_and_what_each_corpus_lacks_is_told(root: Path, names: tuple[str, ...]) -> None:
    told = describe(read_corpora(names, (str(root),)))
    assert told[0] == "class neutral: labels neutral, calm"
    assert told[-3:] == [
        "first: 40 utterances, 4 speakers: neutral 16, happy 8, sad 8, angry 8; lacks fearful, surprised (masked in "
        "the loss)",
        "second: 48 utterances, 4 speakers: neutral 8, happy 8, sad 8, angry 8, fearful 8, surprised 8",
        "tess: 32 utterances, 4 speakers: neutral 8, happy 8, sad 8, angry 8; lacks fearful, surprised; only tested",
    ]


def test_classes_of_an_utterance_are_those_of_its_corpus(root: Path, names: tuple[str, ...]) -> None:
    corpus = read_corpora(names, (str(root),))
    labelled = corpus.labelled()
    own = corpus.table["corpus"].to_numpy()
    assert labelled[own == "second"].all()
    np.testing.assert_array_equal(labelled[own == "first"], np.tile([True] * 4 + [False] * 2, (40, 1)))
    assert labelled[np.arange(len(corpus)), corpus.labels()].all()


def test_cells_are_numbered_by_combination(root: Path, names: tuple[str, ...]) -> None:
    corpus = read_corpora(names, (str(root),))
    cells = corpus.cells(("corpus", "emotion", "gender"))
    assert np.bincount(cells).tolist() == sorted(np.bincount(cells).tolist(), reverse=False) or len(set(cells)) == 28
    assert len(set(cells)) == 2 * (4 + 6 + 4)


def test_entries_name_the_corpora_of_a_result(root: Path, names: tuple[str, ...]) -> None:
    held = entries(read_corpora(names, (str(root),)))
    assert list(held) == ["first", "second", "tess"]
    assert held["tess"] == {
        "utterances": 32,
        "speakers": 4,
        "classes": ["neutral", "happy", "sad", "angry"],
        "only_tested": True,
    }


def test_each_corpus_may_have_a_root_of_its_own(root: Path) -> None:
    roots = (f"first={root / 'first'}", f"second={root / 'second'}")
    assert read_corpora(("first", "second"), roots).members == ("first", "second")
    mixed = read_corpora(("first", "second"), (str(root), f"second={root / 'first'}"))
    assert mixed.path(len(mixed) - 1).is_relative_to(root / "first")


def test_one_corpus_is_read_as_ever(root: Path) -> None:
    corpus = read_corpora(("first",), (str(root / "first"),))
    assert corpus.name == "first"
    assert corpus.members == ()
    assert corpus.classes == ("angry", "calm", "happy", "neutral", "sad")
    assert corpus.labelled().all()


def test_kept_corpora_are_named_by_the_user_too(root: Path) -> None:
    assert read_corpora(("first", "second"), (str(root),), keep=("second",)).kept == ("second",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ("first", "first")}, "two corpora are called 'first'"),
        ({"labels": "six"}, r"--labels 'six' is no set of classes for several corpora \(valid: seven, four\)"),
        ({"keep": ("third",)}, r"--keep third: no such corpus is read \(valid: first, second\)"),
        ({"roots": ("a", "b")}, r"--root b: of several folders, each is given as NAME=FOLDER \(valid: first, second\)"),
        ({"names": ("first", "third")}, "unknown corpus 'third'"),
    ],
)
def test_mistakes_are_named(root: Path, arguments: dict[str, tuple[str, ...]], message: str) -> None:
    values = {"names": ("first", "second"), "roots": (str(root),)} | arguments
    with pytest.raises(CorpusError, match=message):
        read_corpora(**values)
