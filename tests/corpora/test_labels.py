"""Owners' labels become classes by an explicit map, and what it leaves out is counted."""

from pathlib import Path

import polars as pl
import pytest

from emofocus.corpora import CORPORA, read_corpus
from emofocus.corpora.labels import FOUR, apply_labels, classes_of, label_map, presets_of
from emofocus.errors import CorpusError
from helpers.trees import TREES

PRESETS = presets_of(CORPORA["iemocap"])


def table_of(*labels: str) -> pl.DataFrame:
    return pl.DataFrame({"emotion": labels, "key": [str(number) for number in range(len(labels))]})


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_has_its_usual_classes_and_the_four_common_ones(name: str) -> None:
    presets = presets_of(CORPORA[name])
    assert presets["default"] == CORPORA[name].labels
    assert classes_of(presets["four"]) == FOUR


@pytest.mark.parametrize("name", CORPORA)
def test_every_preset_takes_labels_that_the_owner_uses(name: str) -> None:
    for labels in presets_of(CORPORA[name]).values():
        assert set(labels) <= set(CORPORA[name].expected.labels)


def test_without_a_word_the_usual_classes_are_meant() -> None:
    assert label_map(None, PRESETS) == label_map("default", PRESETS) == CORPORA["iemocap"].labels


def test_a_map_is_spelled_as_classes_with_the_labels_they_take() -> None:
    labels = label_map("happy=hap,exc sad=sad", PRESETS)
    assert labels == {"hap": "happy", "exc": "happy", "sad": "sad"}
    assert classes_of(labels) == ("happy", "sad")


@pytest.mark.parametrize("text", ["fice", "happy", "happy=", "=hap", "happy=hap sad"])
def test_what_is_neither_preset_nor_map_is_refused_and_the_presets_are_listed(text: str) -> None:
    message = r"no preset \(valid: default, four, happy-only, excited-only, five, all\) and not of the form happy=hap"
    with pytest.raises(CorpusError, match=message):
        label_map(text, PRESETS)


def test_a_label_given_to_two_classes_is_refused() -> None:
    with pytest.raises(CorpusError, match="the label 'exc' is given to both 'happy' and 'excited'"):
        label_map("happy=hap,exc excited=exc", PRESETS)


def test_a_label_that_the_corpus_does_not_have_is_refused(tmp_path: Path) -> None:
    TREES["emodb"](tmp_path)
    with pytest.raises(CorpusError, match=r"emodb has no label 'hap' \(valid: neutral, happy, sad, "):
        read_corpus("emodb", tmp_path, labels="happy=hap sad=sad")


def test_labels_become_classes_and_the_others_are_counted_from_the_most_frequent() -> None:
    table = table_of("hap", "exc", "xxx", "fru", "xxx", "sad")
    kept, left_out = apply_labels(table, {"hap": "happy", "exc": "happy", "sad": "sad"})
    assert kept["emotion"].to_list() == ["happy", "happy", "sad"]
    assert kept["key"].to_list() == ["0", "1", "5"]
    assert list(left_out.items()) == [("xxx", 2), ("fru", 1)]


def test_a_map_that_takes_nothing_that_is_there_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"no utterance has a label that a class takes: hap, exc \(valid: xxx\)"):
        apply_labels(table_of("xxx"), {"hap": "happy", "exc": "happy"})


def test_a_class_of_the_map_without_utterances_stays_a_class(tmp_path: Path) -> None:
    TREES["ravdess"](tmp_path)
    corpus = read_corpus("ravdess", tmp_path, only=["speaker=01"], labels="calm=calm angry=angry")
    assert corpus.classes == ("calm", "angry")
    assert corpus.left_out == {"neutral": 4} | dict.fromkeys(("happy", "sad", "fearful", "disgust", "surprised"), 8)


def test_the_four_common_classes_of_any_corpus_go_together(tmp_path: Path) -> None:
    sizes = {"urdu": 400, "savee": 300, "emovo": 336}
    for name, size in sizes.items():
        corpus = read_corpus(name, TREES[name](tmp_path / name), labels="four")
        assert (corpus.classes, len(corpus)) == (FOUR, size)
