"""Owners' labels become classes by an explicit map, and what it leaves out is counted."""

from pathlib import Path

import polars as pl
import pytest

from emofocus.corpora import CORPORA, read_corpus
from emofocus.corpora.labels import FOUR, apply_labels, classes_of, label_map, presets_of, presets_of_labels
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


# Labels of a manifest


def manifest(folder: Path, **counts: int) -> Path:
    """A manifest with some utterances of each label, and its files."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    rows = [f"{number}.wav,{label},s{number % 4}" for number, label in enumerate(labels)]
    for number in range(len(labels)):
        (folder / f"{number}.wav").touch()
    path = folder / "mine.csv"
    path.write_text("\n".join(["file,emotion,speaker", *rows]))
    return path


def test_a_misspelt_label_is_no_class_and_is_listed_loudly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = read_corpus(str(manifest(tmp_path, happy=9, sad=8, hapy=5, wut=3)))
    assert (corpus.classes, corpus.left_out) == (("happy", "sad"), {"hapy": 5, "wut": 3})
    assert capsys.readouterr().err.splitlines() == [
        "mine: classes: happy 9, sad 8",
        "mine: LEFT OUT, because no class takes their label: hapy 5 (did you mean happy?), wut 3",
        "mine: --labels says what is meant: all, four, or such as 'happy=hap,exc sad=sad'",
    ]


def test_labels_that_are_no_known_emotion_are_classes_if_they_are_frequent_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = read_corpus(str(manifest(tmp_path, wut=8, freude=8, neutral=8, freudee=2)))
    assert corpus.classes == ("freude", "neutral", "wut")
    assert capsys.readouterr().err.splitlines()[:3] == [
        "mine: classes: freude 8, neutral 8, wut 8",
        "mine: LEFT OUT, because no class takes their label: freudee 2 (did you mean freude?)",
        "mine: classes, although no such emotion is known: freude 8, wut 8",
    ]


def test_the_label_map_is_printed_where_it_is_given_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(manifest(tmp_path, Wut=4, wut=3, joy=3, fun=1, xxx=2))
    corpus = read_corpus(path, labels="angry=wut,Wut happy=joy,fun")
    assert corpus.classes == ("angry", "happy")
    assert capsys.readouterr().err.splitlines() == [
        "mine: classes: angry = wut 3 + Wut 4, happy = joy 3 + fun 1",
        "mine: LEFT OUT, because no class takes their label: xxx 2",
    ]
    with pytest.raises(CorpusError, match=r"mine.csv has no label 'joyy' \(did you mean joy\?\) \(valid: Wut, "):
        read_corpus(path, labels="happy=joyy")


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"Wut": 10, "wut ": 3, "happy": 9}, {"Wut": "Wut", "wut ": "Wut", "happy": "happy"}),
        ({"01": 8, "02": 8, "03": 8}, {"01": "01", "02": "02", "03": "03"}),
        ({"happy": 30, "sad": 30, "fear": 2}, {"fear": "fear", "happy": "happy", "sad": "sad"}),
        ({"happy": 30, "gut": 2}, {"gut": "gut", "happy": "happy"}),
        ({"happy": 1}, {"happy": "happy"}),
    ],
)
def test_classes_of_a_manifest_without_a_word(counts: dict[str, int], expected: dict[str, str]) -> None:
    assert presets_of_labels(counts)["default"] == expected


def test_presets_of_a_manifest() -> None:
    presets = presets_of_labels({"anger": 9, "Joy": 8, "happiness": 8, "boredom": 9, "wut": 1})
    assert set(presets["all"]) == {"anger", "Joy", "happiness", "boredom", "wut"}
    assert presets["four"] == {"anger": "angry", "Joy": "happy", "happiness": "happy"}
