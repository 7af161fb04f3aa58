"""Corpora are read as their owners lay them out."""

from collections import Counter
from pathlib import Path

import pytest

from emofocus.corpora import CORPORA, read_corpus
from emofocus.errors import CorpusError

EXAMPLES = {
    "ravdess": [f"Actor_{a:02}/03-01-{e:02}-01-01-01-{a:02}.wav" for a in (1, 2) for e in range(1, 9)],
    "emodb": [f"wav/{speaker}a01{letter}a.wav" for speaker in ("03", "08") for letter in "NFTWAEL"],
}


def plant(root: Path, files: list[str]) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_reads_its_owners_layout(name: str, tmp_path: Path) -> None:
    corpus = read_corpus(name, plant(tmp_path, EXAMPLES[name]))
    assert [item.file for item in corpus.utterances] == sorted(EXAMPLES[name])
    assert {item.emotion for item in corpus.utterances} == set(corpus.classes)
    assert {item.gender for item in corpus.utterances} == {"female", "male"}
    assert all(path.exists() for path in corpus.paths())
    assert [corpus.classes[label] for label in corpus.labels()] == [item.emotion for item in corpus.utterances]


@pytest.mark.parametrize("name", CORPORA)
def test_flac_copies_are_read_like_wav(name: str, tmp_path: Path) -> None:
    files = [file.replace(".wav", ".flac") for file in EXAMPLES[name]]
    assert len(read_corpus(name, plant(tmp_path, files)).utterances) == len(files)


@pytest.mark.parametrize("name", CORPORA)
def test_a_folder_that_is_not_the_corpus_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        read_corpus(name, tmp_path / "nowhere")
    plant(tmp_path, ["music/song.wav", "03-02-01-01-01-01-01.wav"])
    with pytest.raises(CorpusError, match="none of its 2 audio files is named like"):
        read_corpus(name, tmp_path)


def test_two_copies_of_a_corpus_under_one_root_are_refused(tmp_path: Path) -> None:
    plant(tmp_path / "a", EXAMPLES["ravdess"])
    plant(tmp_path / "b", EXAMPLES["ravdess"])
    with pytest.raises(CorpusError, match="16 utterances are there twice"):
        read_corpus("ravdess", tmp_path)


def test_an_unknown_corpus_is_refused_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"unknown corpus 'iemocap4' \(valid: ravdess, emodb\)"):
        read_corpus("iemocap4", tmp_path)


def test_ravdess_songs_and_stray_files_are_not_speech(tmp_path: Path) -> None:
    plant(
        tmp_path,
        [*EXAMPLES["ravdess"], "Actor_01/03-02-01-01-01-01-01.wav", "Actor_01/._03-01-01-01-01-01-01.wav"],
    )
    assert len(read_corpus("ravdess", tmp_path).utterances) == 16


def test_the_whole_of_ravdess(ravdess: Path) -> None:
    corpus = read_corpus("ravdess", ravdess)
    counts = Counter(item.emotion for item in corpus.utterances)
    assert counts == {label: 96 if label == "neutral" else 192 for label in corpus.classes}
    assert len({item.speaker for item in corpus.utterances}) == 24
    assert len(corpus.utterances) == CORPORA["ravdess"].expected


def test_the_whole_of_emodb(data: Path) -> None:
    corpus = read_corpus("emodb", data / "emodb")
    counts = Counter(item.emotion for item in corpus.utterances)
    expected = {
        "angry": 127,
        "bored": 81,
        "neutral": 79,
        "happy": 71,
        "fearful": 69,
        "sad": 62,
        "disgust": 46,
    }
    assert counts == expected
    assert len({item.speaker for item in corpus.utterances}) == 10
    assert len(corpus.utterances) == CORPORA["emodb"].expected
