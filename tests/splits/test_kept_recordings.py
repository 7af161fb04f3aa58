"""No part that trains or validates holds a kept recording, whatever it is called and wherever it lies."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from emofocus.corpora import CORPORA, Corpus, Utterance, read_corpora
from emofocus.corpora.multi_corpus import KEPT, joined
from emofocus.data.cache import Cache
from emofocus.data.feature_store import CachedSpeech
from emofocus.errors import SplitError
from emofocus.splits import kept_recordings
from emofocus.splits.kept_recordings import DIGITS, FILE_NAMES, kept_hashes, refuse_kept_recordings
from emofocus.splits.protocols import make_folds
from helpers.several import plant_corpora
from helpers.trees import FILES

FOUR = ("neutral", "happy", "sad", "angry")
LABELS = {"first": FOUR, "second": FOUR, "ased": FOUR}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant_corpora(tmp_path_factory.mktemp("several"), LABELS)


def hashes_of(corpus: Corpus, cache: Path) -> list[str]:
    return CachedSpeech(corpus, Cache(cache)).file_hashes()


def test_hashes_are_those_of_the_files(root: Path, tmp_path: Path) -> None:
    corpus = read_corpora(("first", "second"), (str(root),))
    expected = hashlib.blake2b(corpus.path(3).read_bytes(), digest_size=16).hexdigest()
    assert hashes_of(corpus, tmp_path)[3] == expected


def test_corpora_without_a_kept_recording_pass(root: Path, tmp_path: Path) -> None:
    corpus = read_corpora(("first", "second", "ased"), (str(root),))
    refuse_kept_recordings(corpus, make_folds(corpus, "unseen", 0), hashes_of(corpus, tmp_path))


def test_a_copy_of_a_kept_recording_is_refused_under_any_name(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "first", tmp_path / "first")
    (stolen,) = list((root / "ased" / "audio").glob("2-sad-1.wav"))
    shutil.copy(stolen, tmp_path / "first" / "audio" / "2-sad-1.wav")
    corpus = read_corpora(("first", "second", "ased"), (f"first={tmp_path / 'first'}", str(root)))
    folds, hashes = make_folds(corpus, "unseen", 0), hashes_of(corpus, tmp_path / "cache")
    with pytest.raises(SplitError, match=r"first/audio/2-sad-1.wav is kept for testing \(its bytes are those of ased/"):
        refuse_kept_recordings(corpus, folds, hashes)


def test_a_listed_hash_is_refused_without_the_kept_corpus(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = read_corpora(("first", "second"), (str(root),))
    folds, hashes = make_folds(corpus, "loco", 0), hashes_of(corpus, tmp_path)
    monkeypatch.setattr(kept_recordings, "kept_hashes", lambda: {hashes[5][:DIGITS]: "turev"})
    with pytest.raises(SplitError, match=r"first/.* is kept for testing \(it is of turev\)"):
        refuse_kept_recordings(corpus, folds, hashes)


@pytest.mark.parametrize(
    ("name", "file"), [("tess", "OAF_back_fear"), ("ased", "S4-04-02-01-29"), ("turev", "1157_hl_acik")]
)
def test_an_owners_file_name_is_refused(name: str, file: str) -> None:
    def made(corpus: str) -> Corpus:
        rows = [
            Utterance(f"{speaker}-{label}.wav", label, f"{speaker}", gender=("female", "male")[speaker % 2])
            for speaker in range(4)
            for label in FOUR
        ]
        rows[0] = replace(rows[0], file=f"{file}.wav" if corpus == "first" else rows[0].file)
        return Corpus.of(corpus, Path(), FOUR, rows)

    corpus = joined([made("first"), made("second")])
    hashes = [f"{number:032x}" for number in range(len(corpus))]
    with pytest.raises(SplitError, match=rf"first/{file}.wav is kept for testing \(it is of {name}\)"):
        refuse_kept_recordings(corpus, make_folds(corpus, "loco", 0), hashes)


def test_every_kept_corpus_is_listed_by_hash_and_by_file_name() -> None:
    assert set(kept_hashes().values()) == set(KEPT) == set(FILE_NAMES)
    assert len(kept_hashes()) == 1980
    assert all(len(digits) == DIGITS for digits in kept_hashes())


@pytest.mark.parametrize("name", [name for name in CORPORA if name not in KEPT])
def test_no_other_corpus_has_such_file_names(name: str) -> None:
    stems = {Path(file).stem for file in FILES[name]()}
    assert not [stem for stem in stems for pattern in FILE_NAMES.values() if pattern.fullmatch(stem)]


def test_the_kept_files_at_hand_are_those_of_the_list(data: Path) -> None:
    for name in KEPT:
        files = sorted((data / name / "audio").glob("*.opus"))
        if not files:
            pytest.skip(f"{name} is not in {data}")
        found = {hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()[:DIGITS] for file in files}
        assert found == {digits for digits, owner in kept_hashes().items() if owner == name}
