"""Files of results, written row by row: an interrupted run goes on without repeating or losing a clip."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec

from emofocus.errors import ConfigError
from emofocus.recognition.bulk import Item, seconds
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.atomic import write_text
from emofocus.utils.provenance import content_hash, record_path, resumes
from emofocus.version import __version__


def settings_of(recognizer: Recognizer) -> dict[str, Any]:
    """Everything besides its clip that a row depends on: model, config, threshold and version."""
    import hashlib  # imported here: loading OpenSSL takes longer than recognizing a clip

    return {
        "version": __version__,
        "model": content_hash(recognizer.engine.path),
        "threshold": recognizer.threshold,
        "config": hashlib.sha256(msgspec.json.encode(recognizer.config)).hexdigest()[:16],
    }


class ResultsFile:
    """A file of csv or jsonl to which rows are appended, each clip once.

    The settings that its rows depend on stand in a hidden file in the same folder. A row that an interruption cut off
    is removed.

    Args:
        path: File to write.
        format: ``csv`` or ``jsonl``.
        settings: Settings that the rows depend on, see `settings_of`.
        header: First line of the file, or an empty text.

    Raises:
        ConfigError: The file holds rows of other or of unknown settings, or rows that cannot be read.
    """

    def __init__(self, path: Path, format: str, settings: dict[str, Any], header: str) -> None:
        self.path, self.format = path, format
        self._keys: set[tuple[str, str, str]] = set()
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder, not a file to write")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if resumes(path, record_path(path), settings, occupied=path.exists()):
                self._read(header)
            else:
                write_text(path, header)
            self._file: BinaryIO = path.open("ab")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error

    def _read(self, header: str) -> None:
        """Read the keys of the rows, and cut off a last line that is not whole."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(header.encode()):
            whole = header.encode()
        if whole != content:
            with self.path.open("r+b") as file:
                file.truncate(0)
                file.write(whole)
        text = whole.decode("utf-8")
        try:
            rows: Sequence[dict[str, Any]] = (
                list(csv.DictReader(io.StringIO(text, newline="")))
                if self.format == "csv"
                else [json.loads(line) for line in text.splitlines()]
            )
            self._keys = {(row["file"], _time(row.get("start")), _time(row.get("end"))) for row in rows}
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise ConfigError(f"{self.path}: damaged, its rows cannot be read ({error})") from error

    def __enter__(self) -> "ResultsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def holds(self, item: Item) -> bool:
        """Whether the file has a row of a clip."""
        return item.key in self._keys

    def append(self, rows: Sequence[tuple[Item, str]]) -> None:
        """Append rows of clips that have none; of a clip that is given twice, the last one."""
        new = {item.key: line for item, line in rows if item.key not in self._keys}
        self._file.write("".join(new.values()).encode("utf-8", "backslashreplace"))
        self._file.flush()
        self._keys |= new.keys()


def _time(value: Any) -> str:
    return "" if value in (None, "") else seconds(float(value))
