"""Manifests: what is written is read again, other people's are understood, and every mistake has its line."""

import csv
import io
import json
import string
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofocus.corpora.corpus import SCHEMA, Utterance, to_table
from emofocus.corpora.manifest import is_manifest, read_manifest, read_split_table, write_manifest
from emofocus.errors import CorpusError
from helpers.properties import cases

WILD = st.text(st.characters(codec="utf-8"), max_size=20) | st.text('a,"\n\r\t🙂é\\ \x00', max_size=12)
NAMED = WILD.filter(bool)
# A path of ours has forward slashes.
FILES = NAMED.filter(lambda name: "\\" not in name)
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
        emotion, speaker = draw(NAMED), draw(NAMED)
        return Utterance(draw(FILES), emotion, speaker, draw(WILD), start, end, *(draw(WILD) for _ in range(6)))

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


def test_emobox_without_an_emotion(tmp_path: Path) -> None:
    refused(tmp_path, IEMOCAP + '{"key": "x", "wav": "x.wav"}\n', "line 3: the emotion is empty", "m.jsonl")


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
    "embedding, split, fold"
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
        (f"{HEAD}\na.wav,sad,1\n".encode("utf-16"), "line 1: not UTF-8"),
        (f"{HEAD},mood\na.wav,sad,1,x\n", f"line 1: there is no column 'mood' ({VALID})"),
        ("file,emotion\na.wav,sad\n", f"line 1: the column 'speaker' is missing ({VALID})"),
        ("speaker,emotion\na.wav,sad\n", "line 1: the column 'file' is missing"),
        (f"{HEAD},emotion\na.wav,sad,1,sad\n", "line 1: the column 'emotion' is there more than once"),
        (f"{HEAD}\na.wav,,1\n", "line 2: the emotion is empty"),
        (f"{HEAD}\na.wav,sad,1\n,sad,1\n", "line 3: the file is empty"),
        (f'{HEAD}\n\na.wav,sad,1\n\nb.wav,sad,""\n', "line 5: the speaker is empty"),
        (f'{HEAD},text\na.wav,sad,1,"two\r\nlines"\r\nb.wav,,1,\r\n', "line 4: the emotion is empty"),
        (f'\ufeff{HEAD},text\na.wav,sad,1,"three\n\nlines"\nb.wav,,1,\n', "line 5: the emotion is empty"),
        (f"{HEAD}\na.wav,sad,1\nb.wav,sad,1\na.wav,sad,2\n", "lines 2 and 4: both have the key 'a'"),
        (f"{HEAD},key\na.wav,sad,1,k\nb.wav,sad,1,k\n", "lines 2 and 3: both have the key 'k'"),
        (f"{HEAD},start\na.wav,sad,1,\na.wav,sad,2,-1\n", "line 3: times from -1.0 to None s are negative or reversed"),
        (f"{HEAD},start,end\na.wav,sad,1,2,1.5\n", "line 2: times from 2.0 to 1.5 s are negative or reversed"),
        (f"{HEAD},start,end\na.wav,sad,1,1,1\n", "line 2: times from 1.0 to 1.0 s are negative or reversed"),
        (f"{HEAD},end\na.wav,sad,1,0\n", "line 2: times from None to 0.0 s are negative or reversed"),
        (f"{HEAD},start\na.wav,sad,1,NaN\n", "line 2: the start 'NaN' is no number of seconds"),
        (f"{HEAD},end\na.wav,sad,1,inf\n", "line 2: the end 'inf' is no number of seconds"),
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
        (GOOD + '{"file": "b.wav", "emotion": "sad", "speaker": "1", "start": NaN}\n', "line 2: no JSON object"),
        (GOOD.encode() + b'{"file": "\xff.wav"}\n', "line 2: not UTF-8"),
        (GOOD + '\n{"file": "b.wav", "mood": "sad"}\n', f"line 3: there is no column 'mood' ({VALID})"),
        ('{"file": "b.wav", "emotion": "sad"}\n', f"line 1: the column 'speaker' is missing ({VALID})"),
        (GOOD + '\r\n{"file": "b.wav", "emotion": "sad"}\n', "line 3: the speaker is empty"),
        (GOOD + '{"file": "b.wav", "emotion": "", "speaker": "1"}\n', "line 2: the emotion is empty"),
        ("\n" + GOOD + "\n" + GOOD, "lines 2 and 4: both have the key 'a'"),
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
    rows.writerow(["last.wav", "", "s", ""])
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.raises(CorpusError, match=rf"line {line}: the emotion is empty"),
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
