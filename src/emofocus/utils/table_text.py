"""Tables as spreadsheets, pandas and other people's programs write them, as CSV or JSON lines.

One rule for lists of clips and for manifests of corpora: encodings, delimiters, names of columns, times, paths.
"""

import codecs
import csv
import math
import re
from collections.abc import Collection, Iterable
from contextlib import suppress

SUFFIXES = (".csv", ".jsonl")
"""Suffixes of tables."""

DELIMITERS = ",;\t"
"""Characters between the columns of CSV; Excel takes the second where the comma is the decimal point."""

DELIMITER_NOTE = "sep="
"""Begin of a line before the header in which Excel notes its delimiter."""

UNKNOWN_TIMES = ("", "nan", "nat", "none", "null", "na", "n/a", "<na>")
"""Spellings, in lower case, of a time that is not there."""

DURATION = re.compile(r"(?:(?P<days>-?\d+) days?,? ?)?(?:\+?(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+(\.\d*)?))?")
"""A time as pandas and spreadsheets write it: ``0 days 00:00:02.81``, ``00:00:02.81``."""

BLANKS = " \t\r\n\u00a0\ufeff"
"""Characters around a name that do not belong to it."""

ALIKE = 0.8
"""Similarity, from 0 to 1, of two names of which one may be a slip of the other."""


def is_wide(start: bytes) -> bool:
    """Whether a text is UTF-16, which its first bytes tell."""
    return start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def column_name(text: str) -> str:
    """Name of a column in lower case, without blanks and byte order marks around it."""
    return text.strip(BLANKS).lower()


def column_names(line: str, delimiter: str) -> list[str]:
    """Names of the columns in the header of a CSV file."""
    with suppress(csv.Error):  # a field of more than 128 KiB
        return [column_name(name) for name in next(csv.reader([line], delimiter=delimiter), [])]
    return []


def delimiter_of(line: str, wanted: Collection[str]) -> str:
    """The first of `DELIMITERS` with which a header names a column of ``wanted``; a comma if none does."""
    return next((sign for sign in DELIMITERS if not set(wanted).isdisjoint(column_names(line, sign))), DELIMITERS[0])


def near(name: str, known: Iterable[str]) -> str:
    """The name for which another may be a slip, in any case, as a note in brackets; an empty text if there is none."""
    from difflib import get_close_matches  # here: rarely needed

    folded = {other.casefold(): other for other in known}
    found = get_close_matches(name.strip().casefold(), folded, 1, ALIKE)
    return f" (did you mean {folded[found[0]]}?)" if found else ""


def turned_path(name: str) -> str:
    """A file's name with forward slashes and no blanks around it: lists made on Windows have backslashes alone."""
    name = name.strip()
    return name if "/" in name else name.replace("\\", "/")


def seconds_of(value: object, name: str) -> float | None:
    """A time in seconds; None where it is not there, not a number, or the end is infinite.

    Args:
        value: A number, or a text.
        name: ``start`` or ``end``.

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
