"""Corpora are read as their owners lay them out, whole and with exact counts."""

import json
import os
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import soundfile

from emofocus.corpora import CORPORA, read_corpus
from emofocus.corpora.corpus import differences
from emofocus.corpora.manifest import write_manifest
from emofocus.errors import CorpusError
from helpers.trees import FILES, TREES, iemocap_tree, plant, some_turns

BY_TABLE = ("iemocap", "meld", "msp-podcast", "emozionalmente")
"""Corpora whose labels are in a table."""

BY_NAME = [name for name in CORPORA if name not in BY_TABLE]
"""Corpora whose file names say everything."""

CLASSES = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised", "contempt", "bored"]
CLASSES += ["excited", "frustrated", "other"]


def some_files(name: str) -> list[str]:
    """Every hundredth file of a corpus."""
    return sorted(FILES[name]())[::100]


def counted(table: pl.DataFrame, *columns: str) -> dict[object, int]:
    return dict(Counter(table.select(*columns).iter_rows() if len(columns) > 1 else table[columns[0]]))


@pytest.fixture(scope="module", params=CORPORA)
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A corpus' name and the folder of all its files."""
    root = tmp_path_factory.mktemp(request.param)
    return request.param, TREES[request.param](root)


def test_every_whole_corpus_has_the_utterances_labels_and_speakers_its_owner_says(tree: tuple[str, Path]) -> None:
    name, root = tree
    reader = CORPORA[name]
    table = reader.read(root)
    assert dict(zip(table["file"], table["emotion"], strict=True)) == FILES[name]()
    found = counted(table, "emotion")
    assert found == {label: found[label] if n is None else n for label, n in reader.expected.labels.items()}
    assert reader.expected.utterances in (None, len(table))
    assert reader.expected.speakers in (None, table["speaker"].n_unique())
    assert table["file"].is_sorted()
    assert differences(table, reader) == []


def test_keys_that_follow_a_rule_are_those_of_the_files(tree: tuple[str, Path]) -> None:
    name, root = tree
    keys = set(CORPORA[name].expected.keys())
    assert keys in (set(), set(CORPORA[name].read(root)["key"]))
    assert bool(keys) == (name in ("ravdess", "ravdess-song", "savee", "emovo"))


def test_every_class_of_a_corpus_has_utterances(tree: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    name, root = tree
    corpus = read_corpus(name, root)
    assert set(corpus.table["emotion"]) == set(corpus.classes)
    assert [corpus.classes[label] for label in corpus.labels()] == [item.emotion for item in corpus.utterances]
    assert corpus.path(len(corpus) - 1).is_file()
    assert sum(corpus.left_out.values()) + len(corpus) == len(FILES[name]())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{name}: classes: ")
    assert all(line.startswith(f"{name}: LEFT OUT") for line in lines[1:]), "nothing is wrong with a whole corpus"


def test_everybody_has_one_gender_and_every_utterance_a_language(tree: tuple[str, Path]) -> None:
    name, root = tree
    table = CORPORA[name].read(root)
    genders = dict(table.filter(pl.col("speaker") != "").select("speaker", "gender").unique().iter_rows())
    women = {
        "tess": 2,
        "savee": 0,
        "ravdess-song": 11,
        "crema-d": 43,
        "urdu": 9,
        "emozionalmente": 300,
        "msp-podcast": 8,
    }
    expected = Counter(female=women.get(name, len(genders) // 2))
    expected["male"] = len(genders) - expected["female"]
    expected = {"meld": Counter({"": len(genders)}), "mesd": Counter()}.get(name, expected)
    assert Counter(genders.values()) == expected
    assert set(table["language"]) == set(CORPORA[name].language.split())


@pytest.mark.parametrize("name", CORPORA)
def test_flac_copies_are_read_like_wav(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path, suffix=".flac")
    assert {file.replace(".flac", ".wav") for file in CORPORA[name].read(tmp_path)["file"]} == set(FILES[name]())


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_says_what_it_is(name: str) -> None:
    reader = CORPORA[name]
    assert all((reader.title, reader.license, reader.citation, reader.layout))
    assert reader.obtain.startswith("http")
    assert list(dict.fromkeys(reader.labels.values())) == [c for c in CLASSES if c in reader.labels.values()]
    assert set(reader.labels) <= set(reader.expected.labels)


@pytest.mark.parametrize("name", CORPORA)
def test_nothing_of_another_corpus_is_read(name: str, tmp_path: Path) -> None:
    for other in CORPORA:
        if other not in (name, *BY_TABLE):
            plant(tmp_path, some_files(other))
    with pytest.raises(CorpusError, match=r"not a .* folder: none of its \d+ audio files is named like"):
        read_corpus(name, tmp_path)


@pytest.mark.parametrize("name", CORPORA)
def test_a_folder_that_is_not_there_or_a_file_is_refused_with_what_is_expected(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for wrong in ("nowhere", "file"):
        with pytest.raises(CorpusError, match=f"{wrong}: no such folder; .* is expected there as "):
            read_corpus(name, tmp_path / wrong)


@pytest.mark.parametrize("name", BY_NAME)
def test_stray_files_beside_a_corpus_are_passed_by(name: str, tmp_path: Path) -> None:
    files = some_files(name)
    twins = [str(Path(file).parent / f"._{Path(file).name}") for file in files]
    plant(tmp_path, [*files, *twins, "music/song.wav", "notes.wav"])
    assert CORPORA[name].read(tmp_path)["file"].to_list() == files


@pytest.mark.parametrize("name", BY_NAME)
def test_two_copies_of_a_corpus_under_one_root_are_refused(name: str, tmp_path: Path) -> None:
    files = some_files(name)
    plant(tmp_path / "a", files)
    plant(tmp_path / "b", files)
    with pytest.raises(CorpusError, match=f"{len(files)} utterances are there twice, .* point --root at one copy"):
        read_corpus(name, tmp_path)


def test_an_unknown_corpus_is_refused_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"unknown corpus 'iemocap4' \(valid: ravdess, ravdess-song, iemocap, "):
        read_corpus("iemocap4", tmp_path)
    with pytest.raises(CorpusError, match="needs --root"):
        read_corpus("emodb")


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("ravdess", "Actor_01/03-01-09-01-01-01-01.wav", r"emotion '09' does not exist in RAVDESS \(valid: 01, 02, "),
        ("ravdess", "Actor_01/03-01-01-01-01-01-25.wav", "actor '25' does not exist in RAVDESS"),
        ("ravdess-song", "Actor_01/03-02-07-01-01-01-01.wav", r"'disgust' is no emotion of RAVDESS song \(valid: neu"),
        ("emodb", "wav/03a01Xa.wav", r"emotion 'X' does not exist in EmoDB \(valid: N, F, "),
        ("crema-d", "AudioWAV/1001_DFA_BOR_XX.wav", r"emotion 'BOR' does not exist in CREMA-D \(valid: NEU, "),
        ("crema-d", "AudioWAV/1001_ABC_ANG_XX.wav", "sentence 'ABC' does not exist in CREMA-D"),
        ("crema-d", "AudioWAV/1001_DFA_ANG_YY.wav", r"intensity 'YY' does not exist in CREMA-D \(valid: XX, LO, "),
        ("tess", "OAF_back_bored.wav", r"emotion 'bored' does not exist in TESS \(valid: neutral, happy, "),
        ("savee", "DC_x01.wav", r"emotion 'x' does not exist in SAVEE \(valid: n, h, "),
        ("emovo", "f1/ang-f1-b1.wav", r"emotion 'ang' does not exist in EMOVO \(valid: neu, gio, "),
        ("emovo", "f4/dis-f4-b1.wav", r"speaker 'f4' does not exist in EMOVO \(valid: f1, "),
        ("emovo", "f1/dis-f1-x1.wav", "sentence 'x1' does not exist in EMOVO"),
        ("urdu", "Bored/SM1_F1_B01.wav", r"emotion 'B' does not exist in URDU \(valid: N, H, S, A\)"),
        ("esd", "0011/Bored/train/0011_000351.wav", r"emotion 'Bored' does not exist in ESD \(valid: Neutral, "),
        ("subesco", "F_02_MONIKA_S_1_BORED_5.wav", r"emotion 'BORED' does not exist in SUBESCO \(valid: NEUTRAL, "),
        ("mesd", "Boredom_C_A_abajo.wav", r"emotion 'Boredom' does not exist in MESD \(valid: Neutral, "),
    ],
)
def test_a_code_that_does_not_exist_is_reported_with_its_file(
    name: str, file: str, message: str, tmp_path: Path
) -> None:
    plant(tmp_path, [*some_files(name), file])
    with pytest.raises(CorpusError, match=f"{file}: {message}"):
        read_corpus(name, tmp_path)


# Folders that are links, or cannot be read


def test_linked_folders_of_a_corpus_are_read_once_and_loops_end(tmp_path: Path) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "corpus"
    plant(elsewhere, FILES["emodb"]())
    root.mkdir()
    (root / "wav").symlink_to(elsewhere / "wav")
    (root / "again").symlink_to(elsewhere / "wav")
    (elsewhere / "wav" / "loop").symlink_to(root)
    table = CORPORA["emodb"].read(root)
    assert differences(table, CORPORA["emodb"]) == []
    assert len(read_corpus("emodb", root)) == 535


def test_a_folder_of_a_corpus_without_permission_costs_itself_alone_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, FILES["ravdess"]())
    listed = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "Actor_07":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything
    assert read_corpus("ravdess", tmp_path).table["speaker"].n_unique() == 23
    lines = capsys.readouterr().err.splitlines()
    assert lines.count(f"{tmp_path / 'Actor_07'}: cannot be read (Permission denied)") == 1


def test_a_link_that_leads_to_itself_hides_no_file_of_a_manifest(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "c.wav").symlink_to(tmp_path / "a.wav")
    (tmp_path / "m.csv").write_text("file,emotion,speaker\na.wav,sad,1\nb.wav,happy,1\nc.wav,sad,2\n")
    assert len(read_corpus(str(tmp_path / "m.csv"))) == 3


# A part of a corpus


def test_a_part_of_a_corpus_is_read_and_the_difference_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, [file for file in FILES["ravdess"]() if file.startswith("Actor_01/") and "-01-01-01.wav" in file])
    assert len(read_corpus("ravdess", tmp_path)) == 15
    assert capsys.readouterr().err.splitlines() == [
        "ravdess: classes: neutral 1, calm 2, happy 2, sad 2, angry 2, fearful 2, disgust 2, surprised 2",
        "ravdess: 15 of 1440 utterances",
        "ravdess: 1 of 24 speakers",
        "ravdess: 1 of 96 utterances labeled neutral",
        "ravdess: ... and 7 more: emofocus corpora check",
    ]


def test_differences_name_every_count_that_is_not_the_owners(tmp_path: Path) -> None:
    table = CORPORA["emodb"].read(TREES["emodb"](tmp_path))
    relabeled = table.with_columns(
        emotion=pl.when(table["key"] == "03a01Na").then(pl.lit("bored")).otherwise(table["emotion"])
    )
    assert differences(relabeled, CORPORA["emodb"]) == [
        "78 of 79 utterances labeled neutral",
        "82 utterances labeled bored, its owner says 81",
    ]
    two_more = pl.concat([table, table.head(2)])
    assert differences(two_more, CORPORA["emodb"])[0] == "537 utterances, its owner says 535"
    assert differences(table.filter(table["speaker"] != "03"), CORPORA["emodb"])[1] == "9 of 10 speakers"


def test_filters_keep_a_part_and_say_what_they_know(tmp_path: Path) -> None:
    plant(tmp_path, FILES["emovo"]())
    corpus = read_corpus("emovo", tmp_path, only=["gender=female", "text=b1"])
    assert counted(corpus.table, "speaker", "text") == {(speaker, "b1"): 7 for speaker in ("f1", "f2", "f3")}
    with pytest.raises(CorpusError, match=r"--only actor=f1: no such column \(valid: speaker, session, "):
        read_corpus("emovo", tmp_path, only=["actor=f1"])
    with pytest.raises(CorpusError, match=r"--only speaker=f9 keeps nothing \(valid: f1, f2, f3, m1, "):
        read_corpus("emovo", tmp_path, only=["speaker=f9"])


# What is peculiar to one


def test_ravdess_songs_are_not_speech_and_speech_is_no_song(tmp_path: Path) -> None:
    TREES["ravdess"](tmp_path)
    TREES["ravdess-song"](tmp_path)
    assert len(CORPORA["ravdess"].read(tmp_path)) == 1440
    songs = CORPORA["ravdess-song"].read(tmp_path)
    assert len(songs) == 1012
    assert "18" not in set(songs["speaker"])


def test_the_copy_in_ravdess_is_known_as_one(tmp_path: Path) -> None:
    table = CORPORA["ravdess"].read(TREES["ravdess"](tmp_path))
    copies = table.filter(table["source"] != "").select("key", "source").rows()
    assert copies == [("03-01-03-01-02-02-07", "03-01-03-01-02-01-07")]


def test_the_calm_of_ravdess_may_count_as_neutral(tmp_path: Path) -> None:
    corpus = read_corpus("ravdess", TREES["ravdess"](tmp_path), labels="seven")
    assert len(corpus.classes) == 7
    assert counted(corpus.table, "emotion")["neutral"] == 96 + 192


def test_crema_d_is_read_without_the_table_of_actors_and_then_knows_no_gender(tmp_path: Path) -> None:
    plant(tmp_path, FILES["crema-d"]())
    table = CORPORA["crema-d"].read(tmp_path)
    assert table["gender"].unique().to_list() == [""]
    assert "1040_ITH_SAD_X" in set(table["key"])
    (tmp_path / "VideoDemographics.csv").write_text("actor;sex\n1001;Male\n")
    with pytest.raises(CorpusError, match=r"VideoDemographics.csv: no columns ActorID and Sex; .* 'actor;sex'"):
        CORPORA["crema-d"].read(tmp_path)


def test_tess_has_two_speakers_though_a_file_is_misnamed(tmp_path: Path) -> None:
    table = CORPORA["tess"].read(TREES["tess"](tmp_path))
    assert counted(table, "speaker") == {"OAF": 1400, "YAF": 1400}
    misnamed = table.row(by_predicate=pl.col("file").str.contains("OA_bite"), named=True)
    assert (misnamed["key"], misnamed["speaker"]) == ("OAF_bite_neutral", "OAF")


@pytest.mark.parametrize("spelling", ["ps", "surprise", "surprised", "pleasant_surprised", "Pleasant_Surprise"])
def test_copies_of_tess_may_spell_pleasant_surprise_as_they_like(spelling: str, tmp_path: Path) -> None:
    plant(tmp_path, [f"YAF_{spelling}/YAF_back_{spelling}.wav"])
    row = CORPORA["tess"].read(tmp_path).row(0, named=True)
    assert (row["emotion"], row["key"], row["text"]) == ("ps", "YAF_back_ps", "back")


def test_savee_is_read_in_both_of_its_owners_layouts(tmp_path: Path) -> None:
    files = FILES["savee"]()
    plant(tmp_path / "flat", files)
    plant(tmp_path / "folders", [f"AudioData/{file.replace('_', '/')}" for file in files])
    columns = ["key", "speaker", "emotion", "text"]
    flat, folders = (CORPORA["savee"].read(tmp_path / layout).select(columns) for layout in ("flat", "folders"))
    assert flat.sort("key").equals(folders.sort("key"))


def test_the_first_sentences_of_savee_are_the_same_in_every_emotion(tmp_path: Path) -> None:
    table = CORPORA["savee"].read(TREES["savee"](tmp_path)).filter(speaker="DC")
    assert table.group_by("text").len().filter(pl.col("len") > 1)["text"].sort().to_list() == ["01", "02", "03"]


def test_an_urdu_speaker_is_the_first_part_of_the_name(tmp_path: Path) -> None:
    plant(tmp_path, ["Angry/SM1_F1_A01.wav", "Neutral/SM5_F63_N091.wav", "Sad/SF10_F2_S02.wav"])
    rows = CORPORA["urdu"].read(tmp_path).select("speaker", "gender", "emotion").rows()
    assert rows == [("SM1", "male", "Angry"), ("SM5", "male", "Neutral"), ("SF10", "female", "Sad")]


def test_the_parts_of_esd_divide_sentences_and_languages_are_told_by_the_speaker(tmp_path: Path) -> None:
    files = [file for file in FILES["esd"]() if file.startswith(("0001/", "0011/"))]
    table = CORPORA["esd"].read(plant(tmp_path, files))
    assert counted(table, "partition") == {"train": 3000, "valid": 200, "test": 300}
    assert counted(table, "speaker", "language") == {("0001", "zh"): 1750, ("0011", "en"): 1750}
    by_text = table.group_by("text").agg(pl.col("partition").n_unique(), pl.len())
    assert by_text.select("partition", "len").unique().rows() == [(1, 5)], "each sentence in one part, in five emotions"
    assert table.row(by_predicate=pl.col("key") == "0001_000351", named=True)["text"] == "zh001"


def test_a_copy_of_esd_without_parts_is_read_and_tells_none(tmp_path: Path) -> None:
    plant(tmp_path, ["ESD/0011/Angry/0011_000351.wav", "ESD/0011/Happy/0011_000701.wav"])
    rows = CORPORA["esd"].read(tmp_path).select("emotion", "partition").rows()
    assert rows == [("Angry", ""), ("Happy", "")]


def test_numbers_of_subesco_are_one_speakers_only_with_the_sex(tmp_path: Path) -> None:
    plant(tmp_path, ["F_01_OISHI_S_1_ANGRY_1.wav", "M_01_JOY_S_10_SAD_2.wav"])
    rows = CORPORA["subesco"].read(tmp_path).select("speaker", "gender", "text").rows()
    assert rows == [("F_01", "female", "1"), ("M_01", "male", "10")]


def test_mesd_tells_voices_and_no_speakers_and_copies_with_reduced_intelligibility_are_not_read(tmp_path: Path) -> None:
    plant(tmp_path / "MESD", ["Anger_C_A_abajo.wav", "Fear_F_B_de_nada.wav"])
    plant(tmp_path / "MESD with reduced intelligibility", ["Anger_C_A_L1_abajo.wav"])
    rows = CORPORA["mesd"].read(tmp_path).select("speaker", "gender", "text").rows()
    assert rows == [("", "", "abajo"), ("", "female", "de_nada")]


# The made-up trees and the real corpora


def test_no_two_sounds_of_a_tree_are_the_same_and_all_can_be_decoded(tmp_path: Path) -> None:
    plant(tmp_path, FILES["emodb"](), audio=True)
    iemocap_tree(tmp_path, some_turns(), audio=True)
    for name in ("emodb", "iemocap"):
        sounds = [soundfile.read(tmp_path / file) for file in CORPORA[name].read(tmp_path)["file"]]
        assert len({samples.tobytes() for samples, _ in sounds}) == len(sounds)
        assert {(samples.size, rate) for samples, rate in sounds} == {(2400, 16_000)}


def test_the_whole_of_ravdess(ravdess: Path) -> None:
    table = CORPORA["ravdess"].read(ravdess)
    assert differences(table, CORPORA["ravdess"]) == []
    assert set(table["key"]) == set(CORPORA["ravdess"].expected.keys())


def test_the_whole_of_emodb(data: Path) -> None:
    corpus = read_corpus("emodb", data / "emodb")
    assert counted(corpus.table, "emotion") == {
        "angry": 127,
        "bored": 81,
        "neutral": 79,
        "happy": 71,
        "fearful": 69,
        "sad": 62,
        "disgust": 46,
    }
    assert corpus.table["speaker"].n_unique() == 10


def test_untouched_recordings_of_ravdess_are_read_at_any_rate_and_channel_count(data: Path) -> None:
    table = CORPORA["ravdess"].read(data / "ravdess-original")
    assert len(table) == 10


def test_a_manifest_of_a_corpus_is_the_corpus(tmp_path: Path) -> None:
    root = TREES["ravdess"](tmp_path / "ravdess")
    whole = read_corpus("ravdess", root)
    write_manifest(whole.table, root / "ravdess.csv")
    again = read_corpus(str(root / "ravdess.csv"))
    assert again.table.equals(whole.table)
    assert set(again.classes) == set(whole.classes)
    four = read_corpus(str(root / "ravdess.csv"), labels="four", only=["gender=female"])
    assert four.left_out == dict.fromkeys(("calm", "fearful", "disgust", "surprised"), 96)
    with pytest.raises(CorpusError, match=r"ravdess.csv has no label 'hpy'"):
        read_corpus(str(root / "ravdess.csv"), labels="happy=hpy")


def test_emobox_manifests_learn_their_speakers_from_the_names(tmp_path: Path) -> None:
    files = list(FILES["ravdess"]())[:40]
    lines = [
        {"key": f"r-{n}", "dataset": "ravdess", "wav": f"downloads/{f}", "emo": f[-18:-16]} for n, f in enumerate(files)
    ]
    plant(tmp_path / "downloads", files)
    (tmp_path / "ravdess.jsonl").write_text("\n".join(map(json.dumps, lines)))
    corpus = read_corpus(str(tmp_path / "ravdess.jsonl"))
    assert set(corpus.table["speaker"]) == {Path(file).stem[-2:] for file in files}
