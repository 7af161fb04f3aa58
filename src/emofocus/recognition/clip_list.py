"""Lists of clips as people's programs write them: CSV or JSON lines, a clip in each row."""

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from emofocus.errors import AudioError, ConfigError

SUFFIXES = (".csv", ".jsonl")
"""Suffixes of lists: a column, or key, `file`, and for parts of files `start` and `end` in seconds."""

DELIMITERS = ",;\t"
"""Characters between the columns of CSV; Excel takes the second where the comma is the decimal point."""

UNKNOWN_TIMES = ("", "nan", "nat", "none", "null", "na", "n/a", "<na>")
"""How programs spell a time that is not there."""

DURATION = re.compile(r"(?:(?P<days>-?\d+) days?,? ?)?(?:\+?(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+(\.\d*)?))?")
"""A time as pandas and spreadsheets write it: ``0 days 00:00:02.81``, ``00:00:02.81``."""


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
    """Rows of a list that is open, and the error of each row that names no clip.

    The text may be UTF-8 or UTF-16, with a byte order mark; bytes that are no UTF-8 are kept as `os.fsdecode` keeps
    them. Blank lines are left out, and names of columns may have other cases and blanks around them.

    Args:
        stream: The list, open for reading bytes.
        source: Name of the list, whose suffix is one of `SUFFIXES`.

    Raises:
        ConfigError: The file is no list of clips: its first entry names no file.
    """
    text = _text(stream)
    rows = _csv_rows(text, source) if source.lower().endswith(".csv") else _json_rows(text, source)
    try:
        for number, row in enumerate(rows, start=1):
            yield _entry(row, source, number)
    except UnicodeError as error:  # of UTF-16
        raise ConfigError(f"{source}: cannot be read as a list of clips ({error})") from error
    finally:
        text.detach()  # the stream is its owner's to close


def turned_path(name: str) -> str:
    """A file's name with forward slashes and no blanks around it: lists made on Windows have backslashes alone."""
    name = name.strip()
    return name if "/" in name else name.replace("\\", "/")


def _text(stream: BinaryIO) -> io.TextIOWrapper:
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    start = buffered.peek(4)
    wide = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if wide:
        return io.TextIOWrapper(buffered, encoding="utf-16", newline="")
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")


Row = Mapping[str, Any] | AudioError


def _csv_rows(text: io.TextIOWrapper, source: str) -> Iterator[Row]:
    """Rows of CSV by the names of their columns, in lower case."""
    head = next((line for line in text if line.strip()), "")
    if head.lower().startswith("sep="):  # Excel's own note of its delimiter
        head = next((line for line in text if line.strip()), "")
    delimiter = next((sign for sign in DELIMITERS if "file" in _names(head, sign)), DELIMITERS[0])
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
            names = [name.strip().lower() for name in fields]
        elif any(map(str.strip, fields)):
            if delimiter == ";":
                fields = [field.replace(",", ".") if name in ("start", "end") else field
                          for name, field in zip(names, fields, strict=False)]  # fmt: skip
            yield dict(zip(names, fields, strict=False))


def _names(line: str, delimiter: str) -> list[str]:
    """Names of the columns in the first line of a CSV file."""
    return [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])]


def _json_rows(text: io.TextIOWrapper, source: str) -> Iterator[Row]:
    """Objects of JSON lines by their keys, in lower case."""
    for number, line in enumerate(text, start=1):
        if not line.strip("\ufeff \t\r\n"):
            continue
        try:
            row = json.loads(line.lstrip("\ufeff"))
        except (ValueError, RecursionError) as error:
            yield AudioError(f"{source}, line {number}: cannot be read as a list of clips ({error})")
            continue
        yield {key.strip().lower(): value for key, value in row.items()} if isinstance(row, dict) else {}


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
        problem = f"{source}: entry {number} names no file (it needs a column, or key, file; it has: {names})"
        if number == 1 and "file" not in row:
            raise ConfigError(problem)
        return AudioError(problem)
    try:
        start, end = (_seconds(row.get(name), name) for name in ("start", "end"))
        _refuse_wrong_times(start, end)
    except ValueError as error:
        return AudioError(f"{file}: {error} (entry {number} of {source})")
    return Entry(str(file), start, end)


def _refuse_wrong_times(start: float | None, end: float | None) -> None:
    if start is not None and start < 0:
        raise ValueError(f"its start, {start:g} s, is negative")
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"its end, {end:g} s, is not behind its start, {start or 0.0:g} s")


def _seconds(value: object, name: str) -> float | None:
    """A time in seconds; None where it is not there, not a number, or the end is infinite.

    Raises:
        ValueError: It is no time.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in UNKNOWN_TIMES):
        return None
    seconds = _number(value)
    if seconds is None or (math.isinf(seconds) and not (name == "end" and seconds > 0)):
        raise ValueError(f"its {name}, {value!r}, is no number of seconds")
    return seconds if math.isfinite(seconds) else None


def _number(value: object) -> float | None:
    """A number, or a duration as `DURATION`; None if it is neither."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        match = DURATION.fullmatch(str(value).strip())
    if match is None or not (match["days"] or match["hours"]):
        return None
    parts = (float(match[name] or 0) for name in ("days", "hours", "minutes", "seconds"))
    return sum(part * unit for part, unit in zip(parts, (86_400, 3_600, 60, 1), strict=True))
