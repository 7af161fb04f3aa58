"""Corpora whose labels are in their owners' tables: MELD, MSP-Podcast, Emozionalmente."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from emofocus.corpora import CORPORA, read_corpus
from emofocus.corpora.corpus import differences
from emofocus.corpora.owner_table import read_rows
from emofocus.errors import CorpusError
from helpers.trees import (
    MELD_WITHOUT_SOUND,
    TREES,
    emozionalmente_tree,
    meld_files,
    meld_tree,
    msp_podcast_files,
    msp_podcast_tree,
    plant,
    write_table,
)

MELD, MSP_PODCAST, EMOZIONALMENTE = (CORPORA[name] for name in ("meld", "msp-podcast", "emozionalmente"))


# Tables


def test_quotes_of_windows_are_set_right_in_every_encoding(tmp_path: Path) -> None:
    line = "It’s “fine” – really…"
    for name, content in {
        "utf8": line.encode(),
        "bom": b"\xef\xbb\xbf" + line.encode(),
        "windows": line.encode("cp1252"),
        "controls": line.encode("cp1252").decode("latin-1").encode(),
    }.items():
        head = b"\xef\xbb\xbftext\r\n" if name == "bom" else b"text\r\n"
        (tmp_path / name).write_bytes(head + content.removeprefix(b"\xef\xbb\xbf") + b"\r\n")
        assert read_rows(tmp_path / name, ["text"]) == [{"text": line}], name


def test_a_table_that_lacks_a_column_or_a_field_is_refused_with_its_line(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,label\na.wav,sad\nb.wav\n")
    with pytest.raises(CorpusError, match=r"t.csv, line 3: fewer fields than the header has"):
        read_rows(table, ["file", "label"])
    with pytest.raises(CorpusError, match=r"t.csv: no column 'speaker' \(its columns: file, label\)"):
        read_rows(table, ["file", "speaker"])
    with pytest.raises(CorpusError, match=r"none.csv: cannot be read \(No such file or directory\)"):
        read_rows(tmp_path / "none.csv", ["file"])


# MELD


def test_clips_of_meld_are_videos_and_a_wav_goes_before_one(tmp_path: Path) -> None:
    meld_tree(tmp_path, suffix=".mp4")
    table = MELD.read(tmp_path)
    assert differences(table, MELD) == []
    assert {Path(file).suffix for file in table["file"]} == {".mp4"}
    plant(tmp_path, [table["file"][0]], suffix=".wav")
    assert Counter(Path(file).suffix for file in MELD.read(tmp_path)["file"])[".wav"] == 1


def test_utterances_of_meld_know_their_words_speaker_and_part(tmp_path: Path) -> None:
    table = MELD.read(meld_tree(tmp_path))
    assert Counter(table["partition"]) == {"train": 9988, "valid": 1108, "test": 2610}
    first = table.filter(key="train_dia0_utt0").row(0, named=True)
    assert (first["speaker"], first["text"]) == ("Joey", "It’s line 0, isn’t it?")
    assert {"All", "Ross and Joey"} < set(table["speaker"])
    assert set(table["gender"]) == {""}


def test_rows_of_meld_without_sound_are_left_out(tmp_path: Path) -> None:
    table = MELD.read(meld_tree(tmp_path))
    assert (tmp_path / MELD_WITHOUT_SOUND[0]).is_file()
    assert not set(MELD_WITHOUT_SOUND) & set(table["file"])
    assert not table["file"].str.contains("final_videos|dev_splits_complete/dia200").any()


def test_one_part_of_meld_is_read_in_the_folders_of_its_archive_and_needs_its_table(tmp_path: Path) -> None:
    files = [f"test/{file}" for file in meld_files() if file.startswith("output_repeated")][:20]
    plant(tmp_path, files)
    with pytest.raises(CorpusError, match=r"clips of the part test are here, but not their table test_sent_emo\.csv"):
        MELD.read(tmp_path)
    rows = [("Hi.", "Ross", "joy", Path(f).stem.split("_utt")[0][3:], Path(f).stem.split("_utt")[1]) for f in files]
    write_table(tmp_path / "test_sent_emo.csv", "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID", rows)
    assert len(MELD.read(tmp_path)) == 20


# MSP-Podcast


def test_msp_podcast_is_read_from_json_as_from_csv(tmp_path: Path) -> None:
    csv_table = msp_podcast_tree(tmp_path) / "Labels/labels_consensus.csv"
    from_csv = MSP_PODCAST.read(tmp_path)
    with csv_table.open(newline="") as opened:
        rows = {row.pop("FileName"): {**row, "EmoAct": float(row["EmoAct"])} for row in csv.DictReader(opened)}
    csv_table.unlink()
    (tmp_path / "Labels/labels_consensus.json").write_text(json.dumps(rows))
    assert MSP_PODCAST.read(tmp_path).equals(from_csv)


def test_older_releases_of_msp_podcast_misspell_the_table(tmp_path: Path) -> None:
    labels = msp_podcast_tree(tmp_path) / "Labels"
    (labels / "labels_consensus.csv").rename(labels / "labels_concensus.csv")
    assert len(MSP_PODCAST.read(tmp_path)) == len(msp_podcast_files())


def test_unknown_speakers_of_msp_podcast_have_no_name_and_letters_without_agreement_no_class(tmp_path: Path) -> None:
    corpus = read_corpus("msp-podcast", msp_podcast_tree(tmp_path))
    assert corpus.left_out == {"O": 56, "X": 56}
    assert len(corpus.classes) == 8
    whole = MSP_PODCAST.read(tmp_path)
    unknown = whole.filter(speaker="")
    assert len(unknown) == 10
    assert set(unknown["partition"]) == {"train"}
    assert Counter(whole["partition"]) == {"train": 300, "valid": 100, "test1": 100, "test2": 60}
    assert differences(whole, MSP_PODCAST) == [], "numbers differ with each release"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",Test2", ",Test9", r"is in an unknown part 'Test9' \(valid: Train, Development, "),
        ("wav,A,", "wav,Q,", r"'Q' is no emotion of MSP-Podcast \(valid: N, H, S, "),
        ("Split_Set", "Partition", r"labels_consensus.csv: no column 'Split_Set'"),
    ],
)
def test_a_table_of_msp_podcast_that_is_not_understood_is_refused(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    table = msp_podcast_tree(tmp_path) / "Labels/labels_consensus.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(CorpusError, match=message):
        MSP_PODCAST.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "labels_consensus.json: unreadable: "),
        ("[]", "an object with the names of files as keys is expected"),
        ('{"MSP-PODCAST_0000_0000.wav": {"EmoClass": "N"}}', r"MSP-PODCAST_0000_0000.wav has no SpkrID \(valid: Emo"),
    ],
)
def test_a_damaged_json_of_msp_podcast_is_refused(content: str, message: str, tmp_path: Path) -> None:
    plant(tmp_path, msp_podcast_files())
    with pytest.raises(CorpusError, match="its audio files are here, but not their labels"):
        MSP_PODCAST.read(tmp_path)
    (tmp_path / "labels_consensus.json").write_text(content)
    with pytest.raises(CorpusError, match=message):
        MSP_PODCAST.read(tmp_path)


# Emozionalmente


def test_utterances_of_emozionalmente_know_their_actor_sentence_and_part(tmp_path: Path) -> None:
    table = EMOZIONALMENTE.read(emozionalmente_tree(tmp_path))
    row = table.row(0, named=True)
    assert (row["speaker"], row["text"], row["emotion"]) == ("user0", "Frase 0, detta.", "neutrality")
    assert (row["gender"], row["partition"]) == ("female", "train")
    assert set(table["partition"]) == {"train", "valid", "test"}


def test_the_first_version_of_emozionalmente_has_no_parts(tmp_path: Path) -> None:
    emozionalmente_tree(tmp_path)
    for table in (tmp_path / "metadata/split").iterdir():
        table.unlink()
    with pytest.raises(CorpusError, match=r"split/train.csv: cannot be read"):
        EMOZIONALMENTE.read(tmp_path)
    (tmp_path / "metadata/split").rmdir()
    assert set(EMOZIONALMENTE.read(tmp_path)["partition"]) == {""}


def test_a_file_of_emozionalmente_in_two_parts_and_a_missing_table_are_refused(tmp_path: Path) -> None:
    emozionalmente_tree(tmp_path)
    split = tmp_path / "metadata/split"
    (split / "dev.csv").write_bytes((split / "train.csv").read_bytes())
    with pytest.raises(CorpusError, match=r"dev.csv: 1570000000.wav is in the part train, too"):
        EMOZIONALMENTE.read(tmp_path)
    (tmp_path / "metadata/users.csv").unlink()
    with pytest.raises(CorpusError, match=r"users.csv: cannot be read"):
        EMOZIONALMENTE.read(tmp_path)


@pytest.mark.parametrize("name", ["meld", "msp-podcast", "emozionalmente"])
def test_an_empty_folder_holds_none_of_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="none of its 0 audio files is named like "):
        CORPORA[name].read(tmp_path)
    assert name in TREES
