"""Lists of clips as people's programs write them: every row is read, or refused by its name."""

import csv
import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.bulk import Item, items_of, read_list
from emofocus.recognition.clip_list import Entry, entries_of
from helpers.properties import cases

ROWS = [("a.wav", None, None), ("b/ü.wav", 0.5, 1.25), ("c.wav", 1.0, None)]


def entries(content: bytes | str, name: str = "list.csv") -> list[Entry | AudioError]:
    data = content if isinstance(content, bytes) else content.encode()
    return list(entries_of(io.BytesIO(data), name))


def table(delimiter: str, head: tuple[str, ...] = ("file", "start", "end"), end: str = "\r\n") -> str:
    def cell(value: str | float | None) -> str:
        text = "" if value is None else str(value)
        return text.replace(".", ",") if delimiter == ";" and isinstance(value, float) else text

    lines = [delimiter.join(head), *(delimiter.join(map(cell, row)) for row in ROWS)]
    return end.join(lines) + end


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("head", [("file", "start", "end"), (" File", "START ", " End ")])
def test_a_list_saved_by_excel_is_read(encoding: str, delimiter: str, head: tuple[str, ...]) -> None:
    assert entries(table(delimiter, head).encode(encoding)) == ROWS


def test_excels_note_of_its_delimiter_and_empty_rows_at_the_end_are_no_clips() -> None:
    assert entries("sep=;\r\n" + table(";") + ";;\r\n \r\n\r\n") == ROWS


def test_the_index_that_pandas_writes_is_no_error() -> None:
    assert entries(",file,emotion\n0,a.wav,sad\n1,b.wav,sad\n") == [Entry("a.wav"), Entry("b.wav")]


def test_times_of_pandas_are_read() -> None:
    rows = "file,start,end\na.wav,0 days,0 days 00:00:02.810000\na.wav,0 days 00:01:00,NaT\n"
    assert entries(rows) == [("a.wav", 0.0, 2.81), ("a.wav", 60.0, None)]


def test_json_lines_with_a_mark_and_blank_lines_are_read() -> None:
    lines = [json.dumps({" File": name, "start": start, "END": end}) for name, start, end in ROWS]
    assert entries("\ufeff" + "\n\n".join(lines) + "\n \r\n", "list.jsonl") == ROWS


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("", "nan", (None, None)),
        ("NaN", "2", (None, 2.0)),
        ("1", "inf", (1.0, None)),
        ("1", "NaT", (1.0, None)),
        ("-0.5", "1", "its start, -0.5 s, is negative"),
        ("inf", "", "its start, 'inf', is no number of seconds"),
        ("", "-inf", "its end, '-inf', is no number of seconds"),
        ("", "-1", "its end, -1 s, is not behind its start, 0 s"),
        ("2", "1", "its end, 1 s, is not behind its start, 2 s"),
        ("soon", "", "its start, 'soon', is no number of seconds"),
    ],
)
def test_a_strange_time_costs_its_row_alone(start: str, end: str, expected: tuple[float | None, ...] | str) -> None:
    found = entries(f"file,start,end\na.wav,0,1\nb.wav,{start},{end}\nc.wav,0,1\n")
    assert [found[0], found[2]] == [("a.wav", 0.0, 1.0), ("c.wav", 0.0, 1.0)]
    if isinstance(expected, str):
        assert str(found[1]) == f"b.wav: {expected} (entry 2 of list.csv)"
    else:
        assert found[1] == ("b.wav", *expected)


@cases(300)
@given(
    values=st.lists(
        st.tuples(
            *2 * [st.none() | st.floats() | st.integers() | st.booleans() | st.text(max_size=6) | st.just([])],
        ),
        max_size=8,
    )
)
def test_no_time_stops_the_rows_behind_it(values: list[tuple[object, object]]) -> None:
    lines = [json.dumps({"file": "first.wav"})]
    lines += [json.dumps({"file": f"{number}.wav", "start": a, "end": b}) for number, (a, b) in enumerate(values)]
    found = entries("\n".join(lines), "list.jsonl")
    assert len(found) == len(lines)
    for row in found:
        if isinstance(row, Entry):
            assert row.start is None or (row.start >= 0 and math.isfinite(row.start))
            assert row.end is None or (row.end > (row.start or 0) and math.isfinite(row.end))


@cases(200)
@given(content=st.binary(max_size=80), name=st.sampled_from(["list.csv", "list.jsonl"]))
def test_rubbish_behind_a_row_costs_no_row_before_it(content: bytes, name: str) -> None:
    start = b"file\na.wav\n" if name == "list.csv" else b'{"file": "a.wav"}\n'
    assert entries(start + content, name)[0] == Entry("a.wav")


@cases(200)
@given(names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip()), min_size=1))
def test_every_name_that_csv_can_spell_is_read_as_it_is(names: list[str]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["file", "start"], *([name, ""] for name in names)])
    assert [row.file for row in entries(text.getvalue()) if isinstance(row, Entry)] == names


def test_a_damaged_line_costs_itself_alone() -> None:
    found = entries('{"file": "a.wav"}\n{"file": \n{"name": "x"}\n[1]\n{"file": "b.wav"}\n', "l.jsonl")
    assert [row for row in found if isinstance(row, Entry)] == [Entry("a.wav"), Entry("b.wav")]
    assert [str(row).split(" (")[0] for row in found if isinstance(row, AudioError)] == [
        "l.jsonl, line 2: cannot be read as a list of clips",
        "l.jsonl: entry 3 names no file",
        "l.jsonl: entry 4 names no file",
    ]


def test_a_list_without_files_names_its_columns() -> None:
    with pytest.raises(ConfigError, match="it needs a column, or key, file; it has: path, start"):
        entries("path,start\na.wav,0\n")


def found_in(folder: Path, name: str) -> Path:
    (item,) = read_list(folder / name, pytest.fail)
    return item.path


def test_paths_of_windows_are_turned_unless_such_a_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file\nclips\\a.wav\n")
    assert found_in(tmp_path, "list.csv") == tmp_path / "clips" / "a.wav"
    (tmp_path / "clips\\a.wav").touch()
    assert found_in(tmp_path, "list.csv") == tmp_path / "clips\\a.wav"


def test_names_in_the_code_page_of_windows_are_found(tmp_path: Path) -> None:
    (tmp_path / "grüße.wav").touch()
    (tmp_path / "list.csv").write_bytes("file;start\ngrüße.wav;\n".encode("cp1252"))
    assert found_in(tmp_path, "list.csv") == tmp_path / "grüße.wav"


def test_a_name_that_no_file_can_have_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"file\n{'x' * 300}.wav\n\\{'y' * 300}\na.wav\n")
    items = list(items_of([tmp_path / "list.csv", Path("z" * 300), Path("z" * 300 + ".csv")], pytest.fail))
    assert len(items) == 5


def test_a_pipe_is_one_clip() -> None:
    assert list(items_of([Path("-")], pytest.fail)) == [Item("-", Path("/dev/stdin"))]
