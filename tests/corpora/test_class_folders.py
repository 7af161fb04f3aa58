"""A folder with a folder for each class is a corpus, and columns of other names are read."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from emofocus.corpora import read_corpus, short_name
from emofocus.corpora.manifest import columns_of
from emofocus.errors import AudioError, CorpusError


def clips(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(8_000, 0.1), 16_000)
    return folder


def test_the_folder_of_a_recording_is_its_label(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = clips(tmp_path / "mine", "angry/a.wav", "angry/deep/b.wav", "happy/c.mp3", "happy/d.wav", "stray.wav")
    corpus = read_corpus(str(root))
    rows = corpus.table.select("file", "emotion", "speaker").rows()
    labels = [(file, emotion) for file, emotion, _ in rows]
    assert labels == [
        ("angry/a.wav", "angry"),
        ("angry/deep/b.wav", "angry"),
        ("happy/c.mp3", "happy"),
        ("happy/d.wav", "happy"),
    ]
    assert {speaker for _, _, speaker in rows} == {""}
    assert corpus.name == short_name(str(root)) == "mine"
    errors = capfd.readouterr().err
    assert f"{root}: 1 recordings in no class' folder are LEFT OUT" in errors
    assert f"{root}: the names of its files tell no speakers" in errors
    assert "mine: classes: angry 2, happy 2" in errors


def test_names_as_of_a_known_corpus_tell_speakers(tmp_path: Path) -> None:
    clips(tmp_path, "angry/03a01Wa.wav", "happy/08a01Fa.wav")
    assert read_corpus(str(tmp_path)).table["speaker"].to_list() == ["03", "08"]


def test_files_that_differ_in_their_suffix_have_keys_of_their_own(tmp_path: Path) -> None:
    clips(tmp_path, "angry/a.wav", "angry/a.flac", "sad/b.wav")
    assert read_corpus(str(tmp_path)).table["key"].to_list() == ["angry/a.flac", "angry/a.wav", "sad/b"]


def test_labels_choose_among_folders(tmp_path: Path) -> None:
    clips(tmp_path, "wut/a.wav", "freude/b.wav", "rest/c.wav")
    corpus = read_corpus(str(tmp_path), labels="angry=wut happy=freude")
    assert corpus.classes == ("angry", "happy")
    assert dict(corpus.left_out) == {"rest": 1}


def test_a_folder_with_a_manifest_is_read_by_it(tmp_path: Path) -> None:
    root = clips(tmp_path / "set", "audio/a.wav", "audio/b.wav")
    (root / "manifest.csv").write_text("file,emotion,speaker\naudio/a.wav,sad,1\naudio/b.wav,happy,2\n")
    corpus = read_corpus(str(root))
    assert (corpus.name, corpus.classes) == ("set", ("happy", "sad"))


def test_a_folder_without_folders_is_no_corpus(tmp_path: Path) -> None:
    clips(tmp_path, "a.wav", "b.wav")
    with pytest.raises(CorpusError, match="2 recordings lie in it, and no folder for each class"):
        read_corpus(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioError, match="holds no audio"):
        read_corpus(str(tmp_path / "empty"))


def test_columns_of_other_names_are_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clips(tmp_path, "a.wav", "b.wav")
    table = tmp_path / "m.csv"
    table.write_text("path;Mood;emotion;who;via\na.wav;sad;x;1;studio\nb.wav;happy;y;2;phone\n")
    columns = columns_of("file=path, emotion=mood,speaker=who,channel=via")
    corpus = read_corpus(str(table), columns=columns)
    rows = corpus.table.select("file", "emotion", "speaker", "channel").rows()
    assert rows == [("a.wav", "sad", "1", "studio"), ("b.wav", "happy", "2", "phone")]
    assert "columns that are not read: emotion" in capfd.readouterr().err


def test_keys_of_other_names_are_read(tmp_path: Path) -> None:
    clips(tmp_path, "a.wav", "b.wav")
    table = tmp_path / "m.jsonl"
    table.write_text('{"path": "a.wav", "mood": "sad"}\n{"path": "b.wav", "mood": "happy"}\n')
    corpus = read_corpus(str(table), columns=columns_of("file=path,emotion=mood"))
    assert corpus.table.select("file", "emotion").rows() == [("a.wav", "sad"), ("b.wav", "happy")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file", "--columns file: is not of the form file=path,emotion=label"),
        ("emotions=label", r"no such column 'emotions' \(did you mean emotion\?\)"),
        ("file=a,file=b", "the column 'file' is given twice"),
    ],
)
def test_columns_that_cannot_be_read_are_refused(text: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        columns_of(text)


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    table = tmp_path / "m.csv"
    table.write_text("path,moods\na.wav,sad\n")
    with pytest.raises(CorpusError, match=r"no column 'mood', which is to be 'emotion' \(did you mean moods\?\)"):
        read_corpus(str(table), columns=columns_of("file=path,emotion=mood"))


def test_columns_of_no_manifest_are_refused(tmp_path: Path) -> None:
    clips(tmp_path, "angry/a.wav", "sad/b.wav")
    with pytest.raises(CorpusError, match="is no manifest"):
        read_corpus(str(tmp_path), columns={"file": "path"})


def test_a_folder_of_classes_has_an_absolute_path_on_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = pytest.importorskip("emofocus.cluster.connection")
    root = clips(tmp_path / "mine", "angry/a.wav", "sad/b.wav")
    clips(tmp_path / "tess", "angry/a.wav")
    monkeypatch.chdir(tmp_path)
    assert connection.absolute_corpus("mine") == str(root)
    assert connection.absolute_corpus("tess") == "tess"
    assert connection.absolute_corpus("other") == "other"


def test_a_name_that_is_a_folder_too_stays_the_name_of_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = clips(tmp_path / "mine", "a.wav", "b.wav")
    (root / "manifest.csv").write_text("file,emotion,speaker\na.wav,sad,1\nb.wav,happy,2\n")
    monkeypatch.chdir(tmp_path)
    assert read_corpus("mine", "mine").name == read_corpus(str(root), "mine").name == "mine"
