"""Lists of clips as people's programs write them: CSV or JSON lines, a clip in each row."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from typing import Any, BinaryIO, NamedTuple

from emofocus.errors import AudioError, ConfigError
from emofocus.utils.table_text import (
    BLANKS,
    DELIMITER_NOTE,
    column_name,
    delimiter_of,
    is_wide,
    near,
    seconds_of,
)


class Entry(NamedTuple):
    """One row of a list.

    Attributes:
        file: Name of the file.
        start: Start of the part in seconds; None for the start of the file.
        end: End of the part in seconds; None for the end of the file.
    """

    file: str
    start: float | None = None
    end: float | None = None


def entries_of(stream: BinaryIO, source: str) -> Iterator[Entry | AudioError]:
    """Rows of a list that is open, and the error of each row that names no clip: see `spoken_entries`."""
    for row in spoken_entries(stream, source, None):
        yield row if isinstance(row, AudioError) else row[0]


def spoken_entries(
    stream: BinaryIO, source: str, column: str | None
) -> Iterator[tuple[Entry, str | None] | AudioError]:
    """Rows of a list that is open, each with its speaker, and the error of each row that names no clip.

    The text may be UTF-8 or UTF-16, with a byte order mark; bytes that are no UTF-8 are kept as `os.fsdecode` keeps
    them. Blank lines are left out, and names of columns may have other cases and blanks around them.

    Args:
        stream: The list, open for reading bytes.
        source: Name of the list, whose suffix is one of `SUFFIXES`.
        column: Column, or key, of the speaker; None to read no speakers. Rows whose cell is empty have none.

    Raises:
        ConfigError: The file is no list of clips: its first entry names no file, or it has no column of speakers.
    """
    text = _text(stream)
    rows = _csv_rows(text, source) if source.lower().endswith(".csv") else _json_rows(text, source)
    try:
        for number, row in enumerate(rows, start=1):
            entry = _entry(row, source, number)
            yield entry if isinstance(entry, AudioError) else (entry, _speaker(row, source, number, column))
    except UnicodeError as error:  # of UTF-16
        raise ConfigError(f"{source}: cannot be read as a list of clips ({error})") from error
    finally:
        text.detach()  # the stream is its owner's to close


def _text(stream: BinaryIO) -> io.TextIOWrapper:
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    if is_wide(buffered.peek(2)):
        return io.TextIOWrapper(buffered, encoding="utf-16", newline="")
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")


Row = Mapping[str, Any] | AudioError


def _csv_rows(text: io.TextIOWrapper, source: str) -> Iterator[Row]:
    """Rows of CSV by the names of their columns, in lower case."""
    head = next((line for line in text if line.strip()), "")
    if head.lower().startswith(DELIMITER_NOTE):
        head = next((line for line in text if line.strip()), "")
    delimiter = delimiter_of(head, ("file",))
    reader = csv.reader(chain([head], text), delimiter=delimiter)
    names: list[str] | None = None
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield AudioError(f"{source}, line {reader.line_num}: cannot be read ({error})")
            continue
        if fields is None:
            return
        if names is None:
            names = list(map(column_name, fields))
        elif any(map(str.strip, fields)):
            if delimiter == ";":
                fields = [field.replace(",", ".") if name in ("start", "end") else field
                          for name, field in zip(names, fields, strict=False)]  # fmt: skip
            yield dict(zip(names, chain(fields, repeat("")), strict=False))  # rows may lack their last cells


def _json_rows(text: io.TextIOWrapper, source: str) -> Iterator[Row]:
    """Objects of JSON lines by their keys, in lower case."""
    for number, line in enumerate(text, start=1):
        if not line.strip(BLANKS):
            continue
        try:
            row = json.loads(line.lstrip("\ufeff"))
        except (ValueError, RecursionError) as error:
            yield AudioError(f"{source}, line {number}: cannot be read as a list of clips ({error})")
            continue
        yield {column_name(key): value for key, value in row.items()} if isinstance(row, dict) else {}


def _entry(row: Row, source: str, number: int) -> Entry | AudioError:
    """The clip of a row, or the row's error.

    Raises:
        ConfigError: The first row names no clip: the file is no list.
    """
    if isinstance(row, AudioError):
        if number == 1:
            raise ConfigError(str(row))
        return row
    file = row.get("file")
    if not isinstance(file, str | int | float) or not str(file).strip():
        names = ", ".join(map(str, row)) or "none"
        hint = "" if "file" in row else near("file", row)
        problem = f"{source}: entry {number} names no file (it needs a column, or key, file; it has: {names}){hint}"
        if number == 1 and "file" not in row:
            raise ConfigError(problem)
        return AudioError(problem)
    try:
        start, end = (seconds_of(row.get(name), name) for name in ("start", "end"))
        _refuse_wrong_times(start, end)
    except ValueError as error:
        return AudioError(f"{file}: {error} (entry {number} of {source})")
    return Entry(str(file), start, end)


def _speaker(row: Row, source: str, number: int, column: str | None) -> str | None:
    """The speaker in a row's column; None if the cell is empty.

    Raises:
        ConfigError: The first row has no such column.
    """
    if column is None or isinstance(row, AudioError):
        return None
    name = column_name(column)
    if number == 1 and name not in row:
        names = ", ".join(map(str, row))
        raise ConfigError(
            f"{source}: no column, or key, {column!r} names the speaker (it has: {names}){near(name, row)}"
        )
    value = row.get(name)
    text = str(value).strip(BLANKS) if isinstance(value, str | int | float) else ""
    return text or None


def _refuse_wrong_times(start: float | None, end: float | None) -> None:
    if start is not None and start < 0:
        raise ValueError(f"its start, {start:g} s, is negative")
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"its end, {end:g} s, is not behind its start, {start or 0.0:g} s")
