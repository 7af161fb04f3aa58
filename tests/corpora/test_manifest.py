"""Manifests: what is written is read again, other people's are understood, and every mistake has its line."""

import csv
import io
import json
import math
import string
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofocus.corpora.audformat import times_of
from emofocus.corpora.corpus import SCHEMA, Utterance, to_table
from emofocus.corpora.manifest import is_manifest, read_manifest, read_split_table, write_manifest
from emofocus.errors import CorpusError
from emofocus.utils.table_text import BLANKS, seconds_of
from helpers.properties import cases

WILD = st.text(st.characters(codec="utf-8"), max_size=20) | st.text('a,"\n\r\t🙂é\\ \x00', max_size=12)
NAMED = WILD.map(lambda text: text.strip(BLANKS)).filter(
    lambda text: text and text not in ("nan", "NaN", "NaT", "<NA>")
)
# A path of ours has forward slashes.
FILES = WILD.filter(lambda name: bool(name) and "\\" not in name)
TIMES = st.tuples(
    st.none() | st.floats(0, 1e6, allow_nan=False), st.none() | st.floats(1e-3, 1e6, exclude_min=True, allow_nan=False)
).map(lambda pair: (pair[0], None if pair[1] is None else (pair[0] or 0.0) + pair[1]))

IEMOCAP = """\
{"key": "iemocap-Ses01F_impro04_F000", "dataset": "iemocap", "wav": "downloads/iemocap/Session1/sentences/wav/\
Ses01F_impro04/Ses01F_impro04_F000.wav", "type": "raw", "sample_rate": 16000, "num_frame": 70312.0, "task": "category",\
 "length": 4.3945, "emo": "neu", "channel": 1}
{"key": "iemocap-Ses01F_impro04_M002", "dataset": "iemocap", "wav": "downloads/iemocap/Session1/sentences/wav/\
Ses01F_impro04/Ses01F_impro04_M002.wav", "type": "raw", "sample_rate": 16000, "num_frame": 52159.0, "task": "category",\
 "length": 3.2599375, "emo": "neu", "channel": 1}
"""
OLDER_EMOBOX = """\
{"key": "emodb-03a02Wb", "dataset": "emodb", "audio": "downloads/emodb/wav/03a02Wb.wav", "type": "raw", \
"sample_rate": 16000, "num_frame": 33978.0, "task": "category", "label": "anger"}
{"key": "emodb-14a05Wa", "dataset": "emodb", "audio": "downloads/emodb/wav/14a05Wa.wav", "type": "raw", \
"num_frame": 64108.99999999999, "label": "anger", "spk": "14"}
"""
NKULULEKO = """\
file,emotion,speaker,gender,language
EMOVO/f3/neu-f3-n5.wav,neutral,f3,female,italian
EMOVO/f3/dis-f3-n4.wav,disgust,f3,female,italian
"""
SEGMENTED = """\
file,start,end,speaker,gender,age,emotion,duration,text
./Audio/01.wav,0 days,0 days 00:00:02.810000,C_01,female,56,sad,2.81,"si è crescita, sai"
./Audio/01.wav,0 days 00:00:11.332000,,C_01,female,56,sad,,
./Audio/02.wav,0 days 00:01:26.138062500,1 days 00:00:00.5,C_02,male,57,angry,,niente
./Audio/03.wav,,NaT,C_02,male,57,angry,,niente
"""


def written(folder: Path, content: str | bytes, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(folder: Path, content: str | bytes, message: str, name: str = "m.csv") -> None:
    path = written(folder, content, name)
    with pytest.raises(CorpusError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    def utterance() -> Utterance:
        start, end = draw(TIMES)
        emotion, speaker, session, gender, language, style = (draw(NAMED) for _ in range(6))
        wild = (draw(WILD) for _ in range(4))
        return Utterance(draw(FILES), emotion, speaker, next(wild), start, end, session, next(wild), gender, language,
                         style, next(wild))  # fmt: skip

    return to_table([utterance() for _ in range(draw(st.integers(1, 4)))]).unique("key", maintain_order=True)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@cases(60)
@given(table=tables())
def test_what_is_written_is_read_again(table: pl.DataFrame, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"manifest{suffix}"
        write_manifest(table, path)
        assert read_manifest(path).equals(table)
        assert [file.name for file in Path(folder).iterdir()] == [path.name]


def test_one_column_with_wild_values_over_many_blocks(tmp_path: Path) -> None:
    texts = ['a,"b"\n' * (index % 7) + "🙂\r\n" * (index % 3) for index in range(60_000)]
    table = to_table([]).vstack(
        pl.DataFrame({"text": texts}).select(
            pl.lit("").alias(name) if name != "text" else "text" for name in SCHEMA
        ).with_columns(
            start=pl.lit(None, pl.Float64),
            end=pl.lit(None, pl.Float64),
            file=pl.format("{}.wav", pl.int_range(pl.len())),
            key=pl.format("{}", pl.int_range(pl.len())),
            emotion=pl.lit("sad"),
            speaker=pl.lit("s"),
        )
    )  # fmt: skip
    for name in ("m.csv", "m.jsonl"):
        write_manifest(table, tmp_path / name)
        assert read_manifest(tmp_path / name).equals(table)


def test_columns_that_hold_nothing_are_not_written(tmp_path: Path) -> None:
    write_manifest(
        to_table([Utterance("a.wav", "sad", "s1", text="x"), Utterance("b.wav", "sad", "s1")]), tmp_path / "m.csv"
    )
    assert (tmp_path / "m.csv").read_text() == "file,emotion,speaker,text\na.wav,sad,s1,x\nb.wav,sad,s1,\n"
    write_manifest(to_table([Utterance("a.wav", "sad", "s1", key="k", end=2.5)]), tmp_path / "m.jsonl")
    line = {"file": "a.wav", "emotion": "sad", "speaker": "s1", "key": "k", "end": 2.5}
    assert json.loads((tmp_path / "m.jsonl").read_text()) == line


def test_a_manifest_of_no_known_kind_is_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"'.tsv' is no kind of manifest \(valid: .csv, .jsonl\)"):
        write_manifest(to_table([]), tmp_path / "m.tsv")
    refused(tmp_path, "", "'.tsv' is no kind of manifest (valid: .csv, .jsonl)", "m.tsv")


def test_what_is_a_manifest(tmp_path: Path) -> None:
    assert is_manifest("some/where.csv")
    assert is_manifest("M.JSONL")
    assert not is_manifest("ravdess")
    assert not is_manifest(str(tmp_path))
    (tmp_path / "db.yaml").touch()
    assert is_manifest(str(tmp_path))


def test_missing_manifests_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such manifest"):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "m.csv").mkdir()
    with pytest.raises(CorpusError, match="a folder without an audformat database"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("name", ["m[1].csv", "m[1].jsonl", "m*.csv", "m*.jsonl", "M.CSV"])
def test_a_name_is_no_pattern(name: str, tmp_path: Path) -> None:
    write_manifest(to_table([Utterance("a.wav", "sad", "s")]), tmp_path / name)
    assert len(read_manifest(tmp_path / name)) == 1


def test_emobox(tmp_path: Path) -> None:
    def speaker_of(file: str) -> str:
        return "Ses01" + Path(file).stem.rpartition("_")[2][0] if "iemocap" in file else ""

    path = written(tmp_path, IEMOCAP, "iemocap.jsonl")
    table = read_manifest(path, speaker_of=speaker_of)
    assert table["key"].to_list() == ["iemocap-Ses01F_impro04_F000", "iemocap-Ses01F_impro04_M002"]
    assert table["file"][0] == "downloads/iemocap/Session1/sentences/wav/Ses01F_impro04/Ses01F_impro04_F000.wav"
    assert table["emotion"].to_list() == ["neu", "neu"]
    assert table["speaker"].to_list() == ["Ses01F", "Ses01M"]
    assert table.schema == SCHEMA
    assert read_manifest(path)["speaker"].to_list() == ["", ""]


def test_emoboxs_older_files_have_other_names(tmp_path: Path) -> None:
    path = written(tmp_path, OLDER_EMOBOX, "emodb.jsonl")
    table = read_manifest(path, speaker_of=lambda file: "said")
    assert table["file"].to_list() == ["downloads/emodb/wav/03a02Wb.wav", "downloads/emodb/wav/14a05Wa.wav"]
    assert table["emotion"].to_list() == ["anger", "anger"]
    assert table["speaker"].to_list() == ["said", "14"]


def test_emobox_without_an_emotion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(read_manifest(written(tmp_path, IEMOCAP + '{"key": "x", "wav": "x.wav"}\n', "m.jsonl"))) == 2
    assert "1 of 3 rows name no emotion, and are LEFT OUT: line 3\n" in capsys.readouterr().err


def test_nkululeko(tmp_path: Path) -> None:
    table = read_manifest(written(tmp_path, NKULULEKO))
    assert table["file"].to_list() == ["EMOVO/f3/neu-f3-n5.wav", "EMOVO/f3/dis-f3-n4.wav"]
    assert table.select("emotion", "speaker", "gender", "language").row(1) == ("disgust", "f3", "female", "italian")
    assert table["start"].to_list() == [None, None]


def test_nkululekos_segments(tmp_path: Path) -> None:
    table = read_manifest(written(tmp_path, SEGMENTED))
    assert table["start"].to_list() == [0.0, 11.332, 86.1380625, None]
    assert table["end"].to_list() == [2.81, None, 86_400.5, None]
    assert table["key"].to_list()[0] == "./Audio/01@0.0-2.81"
    assert table["text"].to_list()[0] == "si è crescita, sai"


def test_paths_from_windows_are_turned_round(tmp_path: Path) -> None:
    head = "file,emotion,speaker\n"
    table = read_manifest(written(tmp_path, head + "wav\\a.wav,sad,1\nwav\\b\\c.wav,sad,1\n"))
    assert table["file"].to_list() == ["wav/a.wav", "wav/b/c.wav"]
    # Elsewhere a backslash is a character like others.
    table = read_manifest(written(tmp_path, head + "wav/a\\b.wav,sad,1\nc\\d.wav,sad,1\n"))
    assert table["file"].to_list() == ["wav/a\\b.wav", "c\\d.wav"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_blank_lines_and_byte_order_marks(end: str, mark: str, tmp_path: Path) -> None:
    rows = ["file,emotion,speaker,text", "a.wav,sad,1,x", '"b.wav",sad,1,', "c.wav,sad,1,z"]
    expected = [("a.wav", "x"), ("b.wav", ""), ("c.wav", "z")]
    table = read_manifest(written(tmp_path, mark + end.join(rows) + end))
    assert table.select("file", "text").rows() == expected
    objects = [
        json.dumps(dict(zip(rows[0].split(","), row.replace('"', "").split(","), strict=True))) for row in rows[1:]
    ]
    table = read_manifest(written(tmp_path, mark + end.join(objects), "m.jsonl"))
    assert table.select("file", "text").rows() == expected


def test_stray_quotes_are_read_as_spreadsheets_read_them(tmp_path: Path) -> None:
    rows = ['a.wav,sad,1,a 5" tape', 'b.wav,sad,1,x"y', 'c.wav,sad,1,"he said ""no"", twice"', "d.wav,sad,1,"]
    table = read_manifest(written(tmp_path, "\n".join(["file,emotion,speaker,text", *rows])))
    assert table["text"].to_list() == ['a 5" tape', 'x"y', 'he said "no", twice', ""]


def test_json_values_that_are_numbers_or_null(tmp_path: Path) -> None:
    lines = ['{"file": "a.wav", "emotion": "sad", "speaker": 3, "start": 0.1, "end": "2.5"}']
    lines += ['{"file": "b.wav", "emotion": "sad", "speaker": "04", "start": null, "text": null}']
    table = read_manifest(written(tmp_path, "\n".join(lines), "m.jsonl"))
    assert table.select("speaker", "start", "end", "text").rows() == [("3", 0.1, 2.5, ""), ("04", None, None, "")]


HEAD = "file,emotion,speaker"
VALID = (
    "valid: file, emotion, speaker, key, start, end, session, text, gender, language, style, source, "
    "embedding, partition, channel, split, fold"
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "an empty manifest"),
        ("\n\n", "an empty manifest"),
        (f"{HEAD}\n", "an empty manifest"),
        (f"{HEAD}\na.wav,sad\n", "line 2: 2 fields, but the header has 3"),
        (f"{HEAD}\na.wav,sad,1\nb.wav,sad,1,\n", "line 3: 4 fields, but the header has 3"),
        (f'{HEAD},text\na.wav,sad,1,"x\n\ny"\nb.wav,sad,1\n', "line 5: 3 fields, but the header has 4"),
        (f'{HEAD}\na.wav,sad,1\nb.wav,sad,"1\n', "line 3: unreadable"),
        (f'{HEAD}\na.wav,sad,1\n"b"x.wav,sad,1\n', "line 3: unreadable"),
        (f"{HEAD}\na.wav,sad,1\n".replace("\n", "\r"), "line 1: unreadable"),
        (f"{HEAD}\na.wav,sad,1\n".encode() + b"\xff.wav,sad,1\n", "line 3: not UTF-8"),
        (f"{HEAD}\na.wav,sad,1\n".encode("utf-16")[:-1], "not UTF-16"),
        ("file,speaker\na.wav,1\n", f"line 1: the column 'emotion' is missing ({VALID})"),
        ("file,emotoin,speaker\na.wav,sad,1\n", "the column 'emotion' is missing (did you mean emotoin?) (valid: file"),
        ("speaker,emotion\na.wav,sad\n", "line 1: the column 'file' is missing"),
        (f"{HEAD},emotion\na.wav,sad,1,sad\n", "line 1: the column 'emotion' is there more than once"),
        (f"{HEAD}\na.wav,,1\n", "no row names an emotion"),
        (f"{HEAD}\na.wav,sad,1\n,sad,1\n", "line 3: the file is empty"),
        (f'{HEAD}\n\na.wav,sad,1\n\n"",sad,2\n', "line 5: the file is empty"),
        (f'{HEAD},text\na.wav,sad,1,"two\r\nlines"\r\n,sad,1,\r\n', "line 4: the file is empty"),
        (f'\ufeff{HEAD},text\na.wav,sad,1,"three\n\nlines"\n,sad,1,\n', "line 5: the file is empty"),
        (f"{HEAD}\na.wav,sad,1\nb.wav,sad,1\na.flac,sad,2\n", "lines 2 and 4: both have the key 'a'"),
        (f"{HEAD},key\na.wav,sad,1,k\nb.wav,sad,1,k\n", "lines 2 and 3: both have the key 'k'"),
        (f"{HEAD},start\na.wav,sad,1,\na.wav,sad,2,-1\n", "line 3: times from -1.0 to None s are negative or reversed"),
        (f"{HEAD},start,end\na.wav,sad,1,2,1.5\n", "line 2: times from 2.0 to 1.5 s are negative or reversed"),
        (f"{HEAD},start,end\na.wav,sad,1,1,1\n", "line 2: times from 1.0 to 1.0 s are negative or reversed"),
        (f"{HEAD},end\na.wav,sad,1,0\n", "line 2: times from None to 0.0 s are negative or reversed"),
        (f"{HEAD},start\na.wav,sad,1,inf\n", "line 2: the start 'inf' is no number of seconds"),
        (f"{HEAD},end\na.wav,sad,1,-inf\n", "line 2: the end '-inf' is no number of seconds"),
        (f"{HEAD},end\na.wav,sad,1,2 s\n", "line 2: the end '2 s' is no number of seconds"),
        (f"{HEAD},start\na.wav,sad,1,-1 days +23:59:59\n", "line 2: times from -1.0 to None s are negative"),
    ],
)
def test_mistakes_in_csv(content: str | bytes, message: str, tmp_path: Path) -> None:
    refused(tmp_path, content, message)


GOOD = '{"file": "a.wav", "emotion": "sad", "speaker": "1"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "an empty manifest"),
        ("\n \n", "an empty manifest"),
        (GOOD + '{"file": "b.wav", "emo\n', "line 2: no JSON object"),
        (GOOD + "\n[1, 2]\n", "line 3: no JSON object"),
        (GOOD + "3\n", "line 2: no JSON object"),
        (
            GOOD + '{"file": "b.wav", "emotion": ["sad"], "speaker": "1"}\n',
            "line 2: no JSON object of texts and numbers",
        ),
        (GOOD + GOOD.strip() + GOOD, "line 2: no JSON object"),
        (GOOD + '{"file": "b.wav", "emotion": "sad", "speaker": "1", "start": Infinity}\n', "line 2: the start 'inf'"),
        (GOOD.encode() + b'{"file": "\xff.wav"}\n', "line 2: not UTF-8"),
        ('{"file": "b.wav", "speaker": "sad"}\n', f"line 1: the column 'emotion' is missing ({VALID})"),
        (GOOD + '\r\n{"emotion": "sad"}\n', "line 3: the file is empty"),
        ("\n" + GOOD + "\n" + GOOD.replace("wav", "flac"), "lines 2 and 4: both have the key 'a'"),
        ("\ufeff" + GOOD.replace("}", ', "end": -2}'), "line 1: times from None to -2.0 s are negative or reversed"),
        (GOOD.replace("}", ', "start": "soon"}'), "line 1: the start 'soon' is no number of seconds"),
        (GOOD.replace("}", ', "start": true}'), "line 1: the start 'true' is no number of seconds"),
    ],
)
def test_mistakes_in_json_lines(content: str | bytes, message: str, tmp_path: Path) -> None:
    refused(tmp_path, content, message, "m.jsonl")


@cases(60)
@given(texts=st.lists(WILD, min_size=1, max_size=6), mark=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_the_line_of_a_mistake_is_that_of_an_editor(texts: list[str], mark: bool, end: str) -> None:
    content = io.StringIO(newline="")
    rows = csv.writer(content, lineterminator=end, quoting=csv.QUOTE_ALL)
    rows.writerows([[*HEAD.split(","), "text"], *([f"{n}.wav", "sad", "s", text] for n, text in enumerate(texts))])
    line = content.getvalue().count("\n") + 1
    rows.writerow(["", "sad", "s", ""])
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.raises(CorpusError, match=rf"line {line}: the file is empty"),
    ):
        read_manifest(written(Path(folder), "\ufeff" * mark + content.getvalue()))


@cases(100)
@given(content=st.binary(max_size=60) | st.text(string.ascii_letters + '",\n\r{}:', max_size=60).map(str.encode))
@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_rubbish_is_refused_with_our_error(content: bytes, name: str) -> None:
    start = b"file,emotion,speaker\n" if name == "m.csv" else GOOD.encode()
    with tempfile.TemporaryDirectory() as folder:
        for each in (content, start + content):
            try:
                read_manifest(written(Path(folder), each, name))
            except CorpusError as error:
                assert str(error).startswith(folder)  # noqa: PT017 - it need not be raised


def test_files_are_looked_for_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    (root / "one").mkdir(parents=True)
    for name in ("a.wav", "one/b.wav", "one/b🙂.wav"):
        (root / name).touch()
    (root / "folder.wav").mkdir()
    elsewhere = tmp_path / "elsewhere.wav"
    elsewhere.touch()
    there = f'{HEAD}\na.wav,sad,1\none/b.wav,sad,1\n"./one/b🙂.wav",sad,1\n{elsewhere},sad,1\n'
    assert len(read_manifest(written(tmp_path, there), check_files=root)) == 4
    absent = f"{there}one/A.wav,sad,1\nfolder.wav,sad,1\ntwo/c.wav,sad,1\n{root}/z.wav,sad,1\n"
    with pytest.raises(CorpusError) as caught:
        read_manifest(written(tmp_path, absent), check_files=root)
    three = "one/A.wav (line 6), folder.wav (line 7), two/c.wav (line 8)"
    assert str(caught.value) == f"{tmp_path / 'm.csv'}: 4 of 8 files are not below {root}: {three}"
    with pytest.raises(CorpusError, match="1 of 1 files"):
        read_manifest(written(tmp_path, f"{HEAD}\nx\0/c.wav,sad,1\n"), check_files=root)


def test_a_split_table_needs_little(tmp_path: Path) -> None:
    table = read_split_table(written(tmp_path, "file,split,fold\na.wav,trn,1\nb.wav,Dev,1\na.wav, EVAL ,2\n"))
    assert table.columns == [*SCHEMA, "split", "fold"]
    assert table.select("file", "key", "emotion", "speaker", "split", "fold").rows() == [
        ("a.wav", "a", "", "", "train", "1"),
        ("b.wav", "b", "", "", "valid", "1"),
        ("a.wav", "a", "", "", "test", "2"),
    ]
    table = read_split_table(written(tmp_path, '{"key": "k", "split": "Training", "speaker": 5}\n', "s.jsonl"))
    assert table.select("file", "key", "speaker", "split").rows() == [("", "k", "5", "train")]
    assert "fold" not in table.columns


def test_what_only_a_split_table_keeps_is_no_mistake_in_a_manifest(tmp_path: Path) -> None:
    table = read_split_table(written(tmp_path, f"{HEAD},split,fold\na.wav,sad,1,train,1\n"))
    write_manifest(table, tmp_path / "again.csv")
    assert read_split_table(tmp_path / "again.csv").equals(table)
    assert read_manifest(tmp_path / "again.csv").columns == list(SCHEMA)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "file,split\na.wav,train\nb.wav,both\n",
            "line 3: 'both' is no part of a split (valid: train, training, trn, ",
        ),
        ("file,split\na.wav,\n", "line 2: '' is no part of a split"),
        ("file,fold\na.wav,1\n", "line 1: the column 'split' is missing"),
        ("emotion,split\nsad,train\n", "line 1: the column 'file' is missing"),
        ("file,split\n,train\n", "line 2: there is neither a file nor a key"),
        ("file,split\na.wav,train,1\n", "line 2: 3 fields, but the header has 2"),
    ],
)
def test_mistakes_in_a_split_table(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        read_split_table(written(tmp_path, content))
    assert message in str(caught.value)


# What other programs write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("note", ["", "sep="])
def test_a_manifest_saved_by_excel_is_read(
    encoding: str, delimiter: str, end: str, note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = "0,5" if delimiter == ";" else "0.5"
    rows = [("File ", " Emotion", "SPEAKER", "Start"), ("grün/a.wav", "sad", "1", half), ("b.wav", " angry ", "2", "")]
    lines = [note + delimiter] * bool(note) + [delimiter.join(row) for row in rows] + [delimiter * 3, " ", ""]
    content = end.join(lines)
    marked = ("\ufeff" + content).encode("utf-16-be") if encoding == "utf-16-be" else content.encode(encoding)
    table = read_manifest(written(tmp_path, marked))
    expected = [("grün/a.wav", "sad", "1", 0.5), ("b.wav", "angry", "2", None)]
    assert table.select("file", "emotion", "speaker", "start").rows() == expected
    assert capsys.readouterr().err == ""
    refused(tmp_path, (content.replace("b.wav", "")).encode(), f"line {3 + bool(note)}: the file is empty")


def test_the_index_of_pandas_is_no_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("", "Unnamed: 0", "index", "Unnamed: 0.1,Unnamed: 0"):
        index = "," * name.count(",")
        table = read_manifest(written(tmp_path, f"{name},{HEAD}\n0{index},a.wav,sad,1\n1{index},b.wav,sad,1\n"))
        assert table["file"].to_list() == ["a.wav", "b.wav"]
    assert capsys.readouterr().err == ""


def test_values_that_pandas_does_not_know_are_no_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["a.wav,sad,1,nan,NaN,2.5", "b.wav,NaN,1,female,1,", "c.wav,sad,nan,male,,NaT", "d.wav,sad,2,<NA>,,inf"]
    table = read_manifest(written(tmp_path, "\n".join([f"{HEAD},gender,start,end", *rows])))
    assert table.select("file", "gender", "start", "end").rows() == [
        ("a.wav", "", None, 2.5),
        ("d.wav", "", None, None),
    ]
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / 'm.csv'}: 1 of 4 rows name no emotion, and are LEFT OUT: line 3",
        f"{tmp_path / 'm.csv'}: 1 of 3 rows name no speaker, and are LEFT OUT: line 4",
    ]


def test_json_as_python_writes_it_without_a_number(tmp_path: Path) -> None:
    rows = [{"file": "a.wav", "emotion": "sad", "speaker": 1, "start": math.nan, "end": math.inf, "words": ["no"]}]
    rows += [{" File": "b.wav", "Emotion": "sad", "speaker": "2", "start": 0.5}]
    table = read_manifest(written(tmp_path, "\ufeff" + "\n \n".join(map(json.dumps, rows)), "m.jsonl"))
    assert table.select("file", "speaker", "start", "end").rows() == [
        ("a.wav", "1", None, None),
        ("b.wav", "2", 0.5, None),
    ]
    refused(
        tmp_path, '{"file": ["a.wav"], "emotion": "sad"}', "no JSON object of texts and numbers: file is", "m.jsonl"
    )


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_unknown_columns_are_named_once_with_what_they_may_mean(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"file": "a.wav", "emotion": "sad", "Speeker": "1", "sesion": "3", "mood": "x", "emotions": "1", "age": "3"}
    csv_rows = f"{','.join(row)}\n{','.join(row.values())}\nb.wav,sad,1,,,,\n"
    content = csv_rows if name == "m.csv" else f"{json.dumps(row)}\n{json.dumps(row | {'file': 'b.wav'})}\n"
    assert len(read_manifest(written(tmp_path, content, name))) == 2
    named = "Speeker (did you mean speaker?), sesion (did you mean session?), mood, emotions"
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / name}: columns that are not read: {named}",
        f"{tmp_path / name}: tells no speakers: folds that keep speakers apart cannot be made of it",
    ]


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_a_column_label_is_the_emotion_unless_both_are_there(name: str, tmp_path: Path) -> None:
    for row, emotion in (
        ({"file": "a.wav", "speaker": "1", "Label": "sad"}, "sad"),
        ({"file": "a.wav", "speaker": "1", "label": "7", "emotion": "angry"}, "angry"),
    ):
        content = f"{','.join(row)}\n{','.join(row.values())}\n" if name == "m.csv" else json.dumps(row)
        assert read_manifest(written(tmp_path, content, name))["emotion"].to_list() == [emotion]


def test_columns_of_audformat_have_our_names(tmp_path: Path) -> None:
    row = read_manifest(written(tmp_path, f"{HEAD},transcription,sex\na.wav,sad,1,hello,female\n")).row(0, named=True)
    assert (row["text"], row["gender"]) == ("hello", "female")


def test_a_clip_that_is_named_again_counts_once_and_not_at_all_with_two_emotions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["a.wav,sad,1,,", "b.wav,sad,1,,", "a.wav,sad,1,,", "b.wav,angry,1,,", "b.wav,angry,1,1,2", "c.wav,sad,2,,"]
    table = read_manifest(written(tmp_path, "\n".join([f"{HEAD},start,end", *rows])))
    assert table["key"].to_list() == ["a", "b@1.0-2.0", "c"]
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / 'm.csv'}: rows LEFT OUT, because they repeat a row: 1, line 4 (a.wav)",
        f"{tmp_path / 'm.csv'}: rows LEFT OUT, because they give a clip to two emotions or speakers: 2, lines 3, 5 "
        "(b.wav)",
    ]


SHAPES = {
    "speaker first": "file,speaker,emotion,gender\na b (1).wav,5,fear,male\n",
    "without speakers": "file,emotion\na.wav,sleepy\n",
    "speaker_id": "file,emotion,speaker_id,split\na.wav,angry,1051,1\n",
    "many columns": 'id,utterance,emotion,status,age,level,file,speaker\n4,"Well, no",sad,Done,20s,7,a.wav,3\n',
    "times of films": 'file,Sr No.,Utterance,speaker,emotion,StartTime\na.wav,1,"Oh, no",Ann,joy,"00:20:57,256"\n',
    "lists of speakers": "file,Utterance,speaker,emotion\na.wav,Hm.,['Ann Lee'],neutral\n",
    "a tuple": 'file,numeral,emotion,speaker,coordinates\na.wav,19,neutral,132,"(51.38, 2.36)"\n',
    "sentiment": "file,sentiment,emotion\n./Audio/dev/--a.wav,positive,hap\n",
    "dimensions": "file,emotion,valence,arousal,dominance\na.wav,neu,3.2,4.0,1.0\n",
    "segments": "file,start,end,emotion\na.wav,0 days,0 days 00:00:00.5,sad\na.wav,0 days 00:00:00.5,NaT,sad\n",
    "an index": "Unnamed: 0,file,emotion,speaker\n0,a.wav,sad,1\n",
    "quotes of Windows": '"file","emotion","speaker"\r\n"wav\\a.wav","sad","1"\r\n',
}
"""Manifests of the shapes that nkululeko's have."""


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_other_peoples_manifests(shape: str, tmp_path: Path) -> None:
    content = SHAPES[shape]
    table = read_manifest(written(tmp_path, content))
    assert len(table) == content.count("\n") - 1
    for file in table["file"].unique():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert read_manifest(tmp_path / "m.csv", check_files=tmp_path).equals(table)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=12).filter(
    lambda text: text.strip(BLANKS) == text and text.strip() and text not in ("nan", "NaN", "NaT", "<NA>")
)


@cases(100)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=5, unique_by=lambda row: row[0]),
    delimiter=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    blank=st.sampled_from(["", "\n", " \n", "DELIMITERS\n"]),
    index=st.sampled_from([None, "", "Unnamed: 0"]),
    upper=st.booleans(),
)
def test_a_manifest_is_the_same_whoever_writes_it(
    rows: list[tuple[str, str, str]],
    delimiter: str,
    encoding: str,
    quoting: int,
    end: str,
    blank: str,
    index: str | None,
    upper: bool,
) -> None:
    content = io.StringIO(newline="")
    writer = csv.writer(content, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    head = ["file", "emotion", "speaker"] if index is None else [index, "file", "emotion", "speaker"]
    writer.writerow([f" {name.upper()} " if upper else name for name in head])
    for number, (name, emotion, speaker) in enumerate(rows):
        content.write(blank.replace("DELIMITERS", delimiter * (len(head) - 1)))
        row = [f"x/{number}/{name}.wav", emotion, speaker]
        writer.writerow(row if index is None else [number, *row])
    with tempfile.TemporaryDirectory() as folder:
        table = read_manifest(written(Path(folder), content.getvalue().encode(encoding)))
    expected = [(f"x/{number}/{name}.wav", emotion, speaker) for number, (name, emotion, speaker) in enumerate(rows)]
    assert table.select("file", "emotion", "speaker").rows() == expected


@cases(200)
@given(
    text=st.floats(width=32).map(str)
    | st.sampled_from(["", "NaN", "nat", " 1.5 ", "inf", "-inf", "1e3", "None", "0 days", "0 days 00:00:00.5", "1:2"])
    | st.from_regex(r"\A([0-3] days? )?[0-9]{2}:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?\Z"),
    name=st.sampled_from(["start", "end"]),
)
def test_a_time_means_in_a_manifest_what_it_means_in_a_list_of_clips(text: str, name: str) -> None:
    (found,) = times_of(pl.Series([text], dtype=pl.String), name).to_list()
    try:
        expected = seconds_of(text, name)
    except ValueError:
        assert math.isnan(found) or math.isinf(found)
        return
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))
