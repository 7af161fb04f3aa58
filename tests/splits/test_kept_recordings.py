"""No part that trains or validates holds a kept recording, whatever it is called and wherever it lies."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from emofocus.corpora import CORPORA, Corpus, Utterance, read_corpora
from emofocus.corpora.multi_corpus import KEPT, joined
from emofocus.data.cache import Cache
from emofocus.data.feature_store import CachedSpeech
from emofocus.errors import SplitError
from emofocus.splits import kept_recordings
from emofocus.splits.kept_recordings import DIGITS, FILE_NAMES, example_hashes, kept_hashes, refuse_kept_recordings
from emofocus.splits.protocols import make_folds
from helpers.paths import EXAMPLES, ROOT
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


def digits_of(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()[:DIGITS]


@pytest.mark.parametrize("protocol", ["unseen", "loco"])
def test_unseen_neither_trains_on_the_examples_nor_validates_on_them(protocol: str) -> None:
    def made(name: str) -> Corpus:
        rows = [
            Utterance(f"{speaker}-{label}.wav", label, f"{speaker}", gender=("female", "male")[speaker % 2])
            for speaker in range(4)
            for label in FOUR
        ]
        if name == "emodb":
            rows[::4] = [replace(row, file=f"{clip}.flac") for row, clip in zip(rows[::4], NAMES, strict=False)]
        return Corpus.of(name, Path(), FOUR, rows)

    corpus = joined([made("emodb"), made("first"), *([made("ased")] if protocol == "unseen" else [])])
    learnt = {
        Path(file).stem
        for fold in make_folds(corpus, protocol, 0)
        for part in (fold.train, fold.valid)
        for file in corpus.table["file"].gather(part)
    }
    assert len(learnt & set(NAMES)) == (0 if protocol == "unseen" else 4)


NAMES = sorted(set(example_hashes().values()))


def test_unseen_refuses_a_copy_of_an_example_under_any_name(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "first", tmp_path / "first")
    for file in (tmp_path / "first" / "audio").glob("*-sad-1.wav"):
        shutil.copy(EXAMPLES / "angry-man.wav", file)
    corpus = read_corpora(("first", "second", "ased"), (f"first={tmp_path / 'first'}", str(root)))
    folds, hashes = make_folds(corpus, "unseen", 0), hashes_of(corpus, tmp_path / "cache")
    with pytest.raises(SplitError, match=r"first/.*-sad-1.wav is 12a07Wa of EmoDB, a clip of examples/"):
        refuse_kept_recordings(corpus, folds, hashes)


def test_every_example_is_listed() -> None:
    assert {digits_of(file) for file in EXAMPLES.glob("*.wav")} <= set(example_hashes())
    assert len(list(EXAMPLES.glob("*.wav"))) == len(NAMES) == 5


def test_the_examples_are_clips_of_emodb(data: Path) -> None:
    if not (data / "emodb").is_dir():
        pytest.skip(f"emodb is not in {data}")
    shipped = {example_hashes()[digits_of(file)]: file for file in EXAMPLES.glob("*.wav")}
    for name, file in shipped.items():
        original = data / "emodb" / "wav" / f"{name}.flac"
        assert example_hashes()[digits_of(original)] == name
        assert (soundfile.read(file)[0] == soundfile.read(original)[0]).all()


def test_the_shipped_model_never_heard_the_examples() -> None:
    config = json.loads((ROOT / "src" / "emofocus" / "assets" / "default" / "config.json").read_text(encoding="utf-8"))
    training = config["training"]
    assert "emodb" not in training["corpus"].split("+") or training["protocol"] == "unseen"
