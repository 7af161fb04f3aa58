"""Tables that owners of corpora put beside the audio: CSV files with named columns."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from emofocus.errors import CorpusError
from emofocus.utils.folder_tree import files_below

_CONTROLS = range(0x80, 0xA0)
_CURLED = {code: bytes([code]).decode("cp1252", errors="ignore") or None for code in _CONTROLS}
"""Control character → the character of Windows-1252 with that number; None for the five numbers without one."""


def find_table(root: Path, *names: str) -> Path | None:
    """Find a file below ``root`` by one of its names, the one in the fewest folders; None if there is none."""
    found = [path for path in files_below(root, lambda _: None) if path.name in names]
    return min(found, key=lambda path: (len(path.parts), path), default=None)


def read_rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Read a CSV table in UTF-8, or in Windows-1252 as Excel saves it.

    Quotes and dashes of Windows-1252 that became control characters of UTF-8 on the way are set right.

    Args:
        path: The table.
        columns: Columns that it must have.

    Returns:
        Column → text without spaces around it, for each row.

    Raises:
        CorpusError: The table cannot be read, lacks a column, or has a short row, which is named by its line.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    present = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in columns if name not in present]
    if missing:
        raise CorpusError(f"{path}: no column {missing[0]!r} (its columns: {', '.join(present)})")
    reader.fieldnames = present
    rows = []
    for row in reader:
        if any(row[name] is None for name in columns):
            raise CorpusError(f"{path}, line {reader.line_num}: fewer fields than the header has")
        rows.append({name: value.strip() for name, value in row.items() if isinstance(value, str)})
    return rows


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return text.translate(_CURLED)
