"""audformat: databases made by the library itself are read, and what we write the library reads."""

import builtins
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofocus.corpora.audformat import read_audformat, times_of, write_audformat
from emofocus.corpora.corpus import Utterance, to_table
from emofocus.corpora.manifest import read_manifest
from emofocus.errors import CorpusError, MissingExtraError
from helpers.properties import cases

pandas = pytest.importorskip("pandas")
audformat = pytest.importorskip("audformat")

FORMATS = pytest.mark.parametrize("storage", ["parquet", "csv"])

# What YAML and Parquet can hold as text, which is what a database is made of.
WILD = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12) | st.text(
    "a,'\"\n:#é🙂 ", max_size=9
)
NAMED = WILD.filter(bool)
NANOSECONDS = st.integers(1, 10**13)


def database(**header: Any) -> Any:
    made = audformat.Database("made", source="here", usage="research", **header)
    made.schemes["emotion"] = audformat.Scheme("str", labels=["anger", "joy"])
    return made


def add(made: Any, table: str, column: str, values: list[object], scheme: str | None = None) -> None:
    made[table][column] = audformat.Column(scheme_id=scheme)
    made[table][column].set(values)


def with_misc_table(made: Any) -> None:
    made.misc_tables["people"] = audformat.MiscTable(pandas.Index(["s1", "s2"], name="who", dtype="string"))
    made.schemes["age"] = audformat.Scheme("int")
    add(made, "people", "age", [30, 40], "age")
    add(made, "people", "gender", ["female", "male"])
    add(made, "people", "language", ["deu", "tur"])
    made.schemes["speaker"] = audformat.Scheme("str", labels="people")


def with_dictionary(made: Any) -> None:
    labels = {"s1": {"gender": "female", "language": "deu", "age": 30}, "s2": {"gender": "male", "language": "tur"}}
    made.schemes["speaker"] = audformat.Scheme("str", labels=labels)


@FORMATS
@pytest.mark.parametrize("describe", [with_misc_table, with_dictionary])
def test_a_filewise_table(describe: Any, storage: str, tmp_path: Path) -> None:
    made = database(languages=["eng"])
    describe(made)
    made["all"] = audformat.Table(audformat.filewise_index(["b.wav", "x/a.flac"]))
    add(made, "all", "feeling", ["joy", "anger"], "emotion")
    add(made, "all", "speaker", ["s2", "s1"], "speaker")
    add(made, "all", "transcription", ["a, b", None])
    made.save(str(tmp_path), storage_format=storage)
    expected = [
        Utterance("b.wav", "joy", "s2", text="a, b", gender="male", language="tur"),
        Utterance("x/a.flac", "anger", "s1", gender="female", language="deu"),
    ]
    assert read_audformat(tmp_path).equals(to_table(expected))
    assert read_manifest(tmp_path).equals(to_table(expected))


@FORMATS
def test_a_segmented_table_and_the_speakers_of_its_files(storage: str, tmp_path: Path) -> None:
    made = database(languages=["deu"])
    with_dictionary(made)
    del made.schemes["speaker"]
    made.schemes["speaker"] = audformat.Scheme("str", labels={"s1": {"gender": "female"}, "s2": {"gender": "male"}})
    made["files"] = audformat.Table(audformat.filewise_index(["a.wav", "b.wav"]))
    add(made, "files", "speaker", ["s1", "s2"], "speaker")
    index = audformat.segmented_index(
        ["b.wav", "a.wav", "a.wav", "a.wav"], ["0s", "1.5s", "86.1380625s", "0s"], ["2.81s", "2s", None, None]
    )
    made["turns"] = audformat.Table(index)
    add(made, "turns", "emotion", ["joy", "anger", "joy", "anger"], "emotion")
    made["words"] = audformat.Table(index[::-1])
    add(made, "words", "text", ["four", "three", "two", "one"])
    made.save(str(tmp_path), storage_format=storage)
    expected = [
        Utterance("b.wav", "joy", "s2", "", 0.0, 2.81, text="one", gender="male", language="deu"),
        Utterance("a.wav", "anger", "s1", "", 1.5, 2.0, text="two", gender="female", language="deu"),
        Utterance("a.wav", "joy", "s1", "", 86.1380625, None, text="three", gender="female", language="deu"),
        Utterance("a.wav", "anger", "s1", "", None, None, text="four", gender="female", language="deu"),
    ]
    assert read_audformat(tmp_path).equals(to_table(expected))


def test_a_table_may_be_chosen(tmp_path: Path) -> None:
    made = database()
    for name, emotion in (("one", "joy"), ("two", "anger")):
        made[name] = audformat.Table(audformat.filewise_index(["a.wav"]))
        add(made, name, "emotion", [emotion], "emotion")
        add(made, name, "speaker", ["s"])
    made["three"] = audformat.Table(audformat.filewise_index(["a.wav"]))
    made.save(str(tmp_path))
    assert read_audformat(tmp_path)["emotion"].to_list() == ["joy"]
    assert read_audformat(tmp_path, "two")["emotion"].to_list() == ["anger"]
    with pytest.raises(CorpusError, match=r"there is no table 'four' \(valid: one, three, two\)"):
        read_audformat(tmp_path, "four")
    with pytest.raises(CorpusError, match="no column of the table three has the name or the scheme 'emotion'"):
        read_audformat(tmp_path, "three")


@pytest.mark.parametrize("column", ["emotion", "speaker"])
def test_utterances_without_emotion_or_speaker_are_left_out_and_counted(
    column: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = database()
    made["all"] = audformat.Table(audformat.filewise_index(["a.wav", "b.wav"]))
    add(made, "all", "emotion", ["joy", None if column == "emotion" else "joy"], "emotion")
    add(made, "all", "speaker", ["s", None if column == "speaker" else "s"])
    made.save(str(tmp_path))
    assert read_manifest(tmp_path)["file"].to_list() == ["a.wav"]
    expected = f"{tmp_path}: 1 of 2 rows name no {column}, and are LEFT OUT: such as b.wav\n"
    assert capsys.readouterr().err == expected


def simple(folder: Path, storage: str = "csv") -> Path:
    made = database()
    made["all"] = audformat.Table(audformat.segmented_index(["a.wav"], ["1s"], ["2s"]))
    add(made, "all", "emotion", ["joy"], "emotion")
    add(made, "all", "speaker", ["s"])
    made.save(str(folder), storage_format=storage)
    return folder / f"db.all.{storage}"


def test_code_in_a_database_is_not_run(tmp_path: Path) -> None:
    table = simple(tmp_path)
    table.with_suffix(".pkl").write_bytes(b"cbuiltins\nexit\n(tR.")
    assert read_audformat(tmp_path)["start"].to_list() == [1.0]
    table.unlink()
    with pytest.raises(CorpusError, match="the table 'all' is only kept as a pickle, which could run code"):
        read_audformat(tmp_path)
    (tmp_path / "db.yaml").write_text("name: !!python/object/apply:builtins.exit []\n")
    with pytest.raises(CorpusError, match=r"db.yaml: no header of an audformat database"):
        read_audformat(tmp_path)


@pytest.mark.parametrize("header", ["", "3", "a: [", "name: x\ntables: {all: 3}"])
def test_a_broken_header_is_refused(header: str, tmp_path: Path) -> None:
    (tmp_path / "db.yaml").write_text(header)
    with pytest.raises(CorpusError, match=r"db.yaml: no header of an audformat database"):
        read_audformat(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a damaged table"),
        ("file,start,end,emotion\na.wav,0 days,,joy\n", "a damaged table: .*speaker"),
        ("file,start,end,emotion,speaker\na.wav,soon,,joy,s\n", "the table 'all' has a start that is no time"),
    ],
)
def test_a_broken_table_is_refused(content: str, message: str, tmp_path: Path) -> None:
    simple(tmp_path).write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_audformat(tmp_path)
    simple(tmp_path).unlink()
    with pytest.raises(CorpusError, match=r"the table 'all' is missing \(valid: db.all.parquet, db.all.csv\)"):
        read_audformat(tmp_path)


def test_a_folder_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"there is no db.yaml in it"):
        read_audformat(tmp_path)


def test_files_of_a_database_are_looked_for(tmp_path: Path) -> None:
    simple(tmp_path)
    with pytest.raises(CorpusError, match=r"1 of 1 files are not below .*: a.wav$"):
        read_manifest(tmp_path, check_files=tmp_path)
    (tmp_path / "a.wav").touch()
    assert len(read_manifest(tmp_path, check_files=tmp_path)) == 1


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def absent(name: str, *args: Any) -> ModuleType:
        if name == "audformat":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match=r"pip install 'emofocus\[audformat\]'"):
        read_audformat(tmp_path)
    with pytest.raises(MissingExtraError, match=r"pip install 'emofocus\[audformat\]'"):
        write_audformat(to_table([]), tmp_path, "x", "CC0-1.0", "de")


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    segmented = draw(st.booleans())
    genders = draw(st.dictionaries(NAMED, WILD, min_size=1, max_size=3))

    def utterance(number: int) -> Utterance:
        speaker = draw(st.sampled_from(sorted(genders)))
        start, end = None, None
        if segmented and draw(st.booleans()):
            start = draw(st.integers(0, 10**13))
            end = draw(st.none() | NANOSECONDS.map(lambda length, start=start: (start + length) / 1e9))
            start = None if start == 0 and end is None else start / 1e9
        # A speaker's gender that is not always the same is kept, too.
        gender = draw(st.sampled_from([genders[speaker]] * 9 + [""]))
        key, session, text = draw(WILD), draw(WILD), draw(WILD)
        others = (session, text, gender, draw(WILD), draw(WILD), draw(WILD))
        return Utterance(f"{draw(WILD)}{number}.wav", draw(NAMED), speaker, key, start, end, *others)

    return to_table([utterance(number) for number in range(draw(st.integers(1, 4)))])


@cases(40, 300)
@given(table=tables())
def test_what_is_written_is_read_again(table: pl.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_audformat(table, Path(folder), "wild", "CC0-1.0")
        assert read_audformat(Path(folder)).equals(table)


def test_what_is_written_is_a_database_for_the_library(tmp_path: Path) -> None:
    utterances = [
        Utterance("a.wav", "joy", "s1", start=1.5, end=2.25, gender="female", language="de"),
        Utterance("a.wav", "anger", "s1", start=3.0, gender="female", language="de"),
        Utterance("b.wav", "joy", "s2", gender="male", language="de", text="x"),
    ]
    write_audformat(to_table(utterances), tmp_path, "ours", "CC-BY-4.0", "de")
    read = audformat.Database.load(str(tmp_path))
    assert (read.name, read.license, read.languages) == ("ours", "CC-BY-4.0", ["deu"])
    assert read.schemes["emotion"].labels == ["anger", "joy"]
    assert read.schemes["speaker"].labels == {"s1": {"gender": "female"}, "s2": {"gender": "male"}}
    table = read["emotion"]
    assert table.is_segmented
    assert table["emotion"].get().to_list() == ["joy", "anger", "joy"]
    assert table["speaker"].get(map="gender").to_list() == ["female", "female", "male"]
    assert table.ends[0] == pandas.Timedelta("2.25s")
    assert table.ends[1:].isna().all()
    assert read_audformat(tmp_path).equals(to_table(utterances))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db.emotion.parquet", "db.yaml"]


def test_a_database_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "db.emotion.pkl").touch()
    for name in ("a.wav", "b.wav"):
        write_audformat(to_table([Utterance(name, "joy", "s", end=2.0)]), tmp_path, "ours", "unknown", "")
        assert audformat.Database.load(str(tmp_path))["emotion"].files.to_list() == [name]
        assert read_audformat(tmp_path)["file"].to_list() == [name]


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    twice = to_table([Utterance("a.wav", "joy", "s", key="1"), Utterance("a.wav", "joy", "s", key="2")])
    with pytest.raises(CorpusError, match="audformat cannot hold this"):
        write_audformat(twice, tmp_path / "x", "ours", "unknown", "de")
    with pytest.raises(CorpusError, match="audformat cannot hold this"):
        write_audformat(twice[:1], tmp_path / "x", "ours", "unknown", "klingonese")
    assert not (tmp_path / "x").exists()


def test_times_as_text() -> None:
    texts = [
        "",
        "NaT",
        "1.5",
        "0 days",
        "00:00:01.5",
        "1 days 02:00:00",
        "-1 days +23:59:58.5",
        "-2",
        "x",
        "1 day",
        "00:00:00.000000021",
    ]
    expected = [None, None, 1.5, 0.0, 1.5, 93_600.0, -1.5, -2.0, None, 86_400.0, 2.1e-8]
    found = times_of(pl.Series(texts), "start")
    assert found.fill_nan(None).to_list() == expected
    assert found.is_nan().to_list()[8]
    assert times_of(pl.Series(["2", ""]), "end").to_list() == [2.0, None]
