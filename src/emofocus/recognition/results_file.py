"""Files of results, written row by row: an interrupted run goes on without repeating or losing a clip."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from emofocus.config import to_plain
from emofocus.errors import ConfigError
from emofocus.recognition.bulk import NO_VOICES, Item, seconds
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.atomic import replacing, write_text
from emofocus.utils.progress import log_line
from emofocus.utils.provenance import Record, content_hash, file_state, record_path, resumes
from emofocus.version import __version__

Key = tuple[str, str, str, str]
"""Identity of a row: file, start, end and channel."""


def settings_of(recognizer: Recognizer, voices: Mapping[str, Recognizer] = NO_VOICES) -> dict[str, Any]:
    """Everything besides its clip that a row depends on: model, config, threshold, version, track and voices.

    Args:
        recognizer: Recognizes.
        voices: Recognizers that are adapted to voices, by the names of these.
    """
    from emofocus.recognition.speakers import digest_of  # imported here: few runs need it

    return {  # None where there is no track or voice: a key that is left out would differ from none
        "track": recognizer.track,
        "voice": None if recognizer.profile is None else recognizer.profile.digest,
        "voices": digest_of(voices) if voices else None,
        "version": __version__,
        "model": content_hash(recognizer.engine.path),
        "threshold": recognizer.threshold,
        "config": to_plain(recognizer.config),
    }


class ResultsFile:
    """A file of csv or jsonl to which rows are added, each once.

    Two hidden files lie beside it: ``.NAME.settings`` is the record of what rows depend on, ``.NAME.recordings`` holds
    size and time of change of each recording. A row that was cut off by an interruption is removed, and so are the
    rows of recordings that were replaced since.

    Args:
        path: Path of the file.
        format: ``csv`` or ``jsonl``.
        settings: Model and options that rows depend on.
        header: The first line, if there is one.

    Raises:
        ConfigError: The file holds rows of other settings, or nobody knows of which, or rows that cannot be read.
    """

    def __init__(self, path: Path, format: str, settings: Record, header: str) -> None:
        self.path, self.format = path, format
        self._keys: set[Key] = set()
        self._states: dict[str, list[int]] = {}
        self._recordings_path = path.with_name(f".{path.name}.recordings")
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder, not a file to write")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if resumes(path, record_path(path), settings, path.exists()):
                self._read(header)
            else:
                self._recordings_path.unlink(missing_ok=True)
                write_text(path, header)
            self._file: BinaryIO = path.open("ab")
            self._recordings: BinaryIO = self._recordings_path.open("ab")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error

    def _read(self, header: str) -> None:
        """Learn which clips are there; cut off a last line that is not whole, and rows of replaced recordings."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(header.encode()):
            whole = header.encode()
        try:
            lines = self._lines(whole.decode("utf-8"))
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise ConfigError(f"{self.path}: damaged, its rows cannot be read ({error})") from error
        replaced = self._replaced({key[0] for key, _ in lines})
        if replaced:
            log_line(f"{self.path}: {len(replaced)} recordings were replaced since; they are recognized again")
            lines = [(key, line) for key, line in lines if key[0] not in replaced]
            whole = (header + "".join(line for _, line in lines)).encode("utf-8", "backslashreplace")
        self._keys = {key for key, _ in lines}
        if whole != content:
            with replacing(self.path) as temporary:
                temporary.write_bytes(whole)

    def _lines(self, text: str) -> list[tuple[Key, str]]:
        """The key of each row, and the row as text."""
        if self.format == "jsonl":
            return [(_key_of(json.loads(line)), f"{line}\n") for line in text.splitlines()]
        reader = csv.reader(io.StringIO(text, newline=""))
        names = next(reader, [])
        return [(_key_of(dict(zip(names, row, strict=True))), csv_line(row)) for row in reader]

    def _replaced(self, files: set[str]) -> set[str]:
        """Files that are not as they were when their rows were written; those that are gone keep their rows.

        Of a file without a note, as of older versions, the time of change must lie before that of the results.
        """
        noted: dict[str, tuple[str, list[int]]] = {}
        for line in self._recordings_path.read_bytes().splitlines() if self._recordings_path.exists() else []:
            with suppress(ValueError):  # a last line that is not whole
                name, path, *state = json.loads(line)
                noted[name] = path, state
        results = self.path.stat().st_mtime_ns
        replaced = set()
        for name in files:
            path, state = noted.get(name, (name, None))
            with suppress(OSError):
                now = file_state(Path(path))
                if now[1] > results if state is None else now != state:
                    replaced.add(name)
        return replaced

    def __enter__(self) -> "ResultsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._recordings.close()

    def holds(self, item: Item) -> bool:
        """Whether a clip has its row; otherwise its recording's state is noted, for the row that follows."""
        if item.key in self._keys:
            return True
        with suppress(OSError):  # the recording's own error is reported when it is read
            self._states[item.name] = file_state(item.path)
        return False

    def append(self, rows: Sequence[tuple[Item, str]]) -> None:
        """Add rows; a clip that is named twice has one."""
        fresh = {item.key: line for item, line in rows if item.key not in self._keys}
        paths = {item.name: str(item.path.absolute()) for item, _ in rows if item.name in self._states}
        notes = [json.dumps([name, path, *self._states.pop(name)]) + "\n" for name, path in paths.items()]
        self._recordings.write("".join(notes).encode())  # first: a row without its note would be taken for an old one
        self._recordings.flush()
        self._file.write("".join(fresh.values()).encode("utf-8", "backslashreplace"))
        self._file.flush()
        self._keys |= fresh.keys()


def csv_line(cells: Iterable[object]) -> str:
    """One line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _key_of(row: dict[str, Any]) -> Key:
    return row["file"], _time(row.get("start")), _time(row.get("end")), row.get("channel", "")


def _time(value: Any) -> str:
    return "" if value in (None, "") else seconds(float(value))
