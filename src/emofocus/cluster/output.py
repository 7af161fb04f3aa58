"""Results of a bulk run on a cluster: a folder, by path or URI, with a Parquet file for each part of the input.

::

    OUT/log/settings.json              settings that the rows depend on; written first and never changed
    OUT/rows/part-00000012.parquet     rows of part 12; the file exists when the part is done
    OUT/errors/part-00000012.parquet   clips of part 12 that could not be recognized, with reasons
    OUT/log/recordings/part-….json     hashes of the recordings' states, by which a replaced one is noticed
    OUT/log/complete.json              number of rows and errors; written last

The input fixes the part of each clip, each part has one file name, files appear whole, and only the process that runs
the command writes. Each clip therefore has one row, however often its part was recognized.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

from emofocus.errors import ConfigError
from emofocus.utils.provenance import REMEDY, refuse_other_work
from emofocus.utils.storage import Location, delete_file, list_files, parse_location, read_file, write_file

CLIP_COLUMNS = (("file", pa.string()), ("start", pa.float64()), ("end", pa.float64()))
"""Columns that name a clip; start and end in seconds."""

ERRORS = pa.schema([*CLIP_COLUMNS, ("reason", pa.string()), ("position", pa.int64())])
"""Columns of a clip that could not be recognized."""


def rows_schema(labels: Sequence[str]) -> pa.Schema:
    """Columns of a recognized clip: those of the local command's CSV, and its position in the input."""
    answer = [("label", pa.string()), ("confident", pa.bool_()), ("warnings", pa.string()), ("duration", pa.float64())]
    scores = [(f"p_{label}", pa.float64()) for label in labels]
    return pa.schema([*CLIP_COLUMNS, *answer, *scores, ("position", pa.int64())])


class Output:
    """Folder of one run's results; the run may be interrupted at any moment.

    Args:
        folder: Path or URI.
    """

    def __init__(self, folder: str) -> None:
        self.location = parse_location(folder)
        self.name = self.location.name

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write the settings that the rows depend on, or check that they equal those of the run that is there.

        Raises:
            ConfigError: The settings differ or are unknown, or the folder cannot be written.
        """
        log = self.location.child("log").child("settings.json")
        try:
            written = json.loads(read_file(log))
        except FileNotFoundError:
            if list_files(self.location.child("rows")):
                raise ConfigError(f"{self.name} holds rows, and nobody knows how they were made; {REMEDY}") from None
            write_file(log, json.dumps(dict(settings), indent=1).encode() + b"\n")
            return
        except ValueError as error:
            raise ConfigError(f"{self.name}: log/settings.json is damaged ({error}); {REMEDY}") from error
        refuse_other_work(self.name, written, settings)

    def done(self) -> set[int]:
        """Numbers of the parts that have rows."""
        return self._numbers("rows")

    def failed(self) -> set[int]:
        """Numbers of the parts that have errors."""
        return self._numbers("errors")

    def _numbers(self, kind: str) -> set[int]:
        matches = (re.search(r"part-(\d+)\.parquet$", file.path) for file in list_files(self.location.child(kind)))
        return {int(match[1]) for match in matches if match}

    def errors(self, part: int) -> pa.Table:
        """Errors of a part, with the columns `ERRORS`."""
        return self._read("errors", part, ERRORS)

    def states(self, part: int) -> list[int]:
        """Hashes of the states of a part's recordings when they were recognized; empty if they were not noted."""
        with suppress(FileNotFoundError, ValueError):
            return [int(state) for state in json.loads(read_file(self._states_file(part)))]
        return []

    def commit(self, part: int, rows: pa.Table, errors: pa.Table, states: Sequence[int] = ()) -> None:
        """Write the results of a part.

        Rows of an earlier attempt stay, but for clips that were recognized again. The file of the rows is written
        last, as it marks the part as done; the states of a part that is done already are written after it, so that a
        replaced recording is noticed until it has its row.

        Args:
            part: Number of the part.
            rows: Recognized clips.
            errors: Failed clips, with the columns `ERRORS`.
            states: Hashes of the states of the part's recordings.

        Raises:
            ConfigError: The files cannot be written; results of other parts stay.
        """
        earlier = self._read("rows", part, rows.schema)
        if not len(earlier):
            self._write_states(part, states)
        else:
            again = pa.chunked_array([*rows["position"].chunks, *errors["position"].chunks], pa.int64())
            kept = earlier.filter(pa.compute.invert(pa.compute.is_in(earlier["position"], again)))
            rows = pa.concat_tables([kept, rows]).sort_by("position")
        if len(errors):
            self._write("errors", part, errors)
            self._write("rows", part, rows)
        else:
            self._write("rows", part, rows)
            with suppress(OSError):  # most parts have no errors
                delete_file(self._file("errors", part))
        if len(earlier):
            self._write_states(part, states)

    def finish(self) -> tuple[int, int]:
        """Write and return the number of rows and of errors."""
        counts = tuple(self._count(kind) for kind in ("rows", "errors"))
        entry = json.dumps({"recognized": counts[0], "errors": counts[1]}) + "\n"
        write_file(self.location.child("log").child("complete.json"), entry.encode())
        return counts[0], counts[1]

    def _count(self, kind: str) -> int:
        return int(_dataset(self.location.child(kind)).count_rows())

    def _file(self, kind: str, part: int) -> Location:
        return self.location.child(kind).child(f"part-{part:08d}.parquet")

    def _states_file(self, part: int) -> Location:
        return self.location.child("log").child("recordings").child(f"part-{part:08d}.json")

    def _write_states(self, part: int, states: Sequence[int]) -> None:
        write_file(self._states_file(part), json.dumps(list(states)).encode() + b"\n")

    def _write(self, kind: str, part: int, table: pa.Table) -> None:
        content = pa.BufferOutputStream()  # complete in memory before any byte is written
        pa.parquet.write_table(table, content)
        write_file(self._file(kind, part), content.getvalue())

    def _read(self, kind: str, part: int, schema: pa.Schema) -> pa.Table:
        try:
            return pa.parquet.read_table(pa.BufferReader(read_file(self._file(kind, part))))
        except FileNotFoundError:
            return schema.empty_table()


def read(out: str) -> pa.Table:
    """Read the rows of a run, finished or not, in the order of its input.

    Any Parquet reader can read the folder ``OUT/rows`` too.

    Args:
        out: Path or URI of the folder of results.

    Raises:
        ConfigError: The folder holds no results.
    """
    return _table(out, "rows")


def read_errors(out: str) -> pa.Table:
    """Read the clips that a run could not recognize: file, start, end, reason, position.

    Args:
        out: Path or URI of the folder of results.

    Raises:
        ConfigError: The folder holds no results.
    """
    return _table(out, "errors")


def _table(out: str, kind: str) -> pa.Table:
    location = parse_location(out)
    if not list_files(location.child("log")):
        raise ConfigError(f"{location.name}: no results of emofocus predict --ray are here")
    table = _dataset(location.child(kind)).to_table()
    return table.sort_by("position") if len(table) else table


def _dataset(folder: Location) -> pyarrow.dataset.Dataset:
    files = [file for file in list_files(folder) if file.suffix == ".parquet"]
    if not files:
        return pyarrow.dataset.dataset(ERRORS.empty_table())
    system = folder.open()[0]
    return pyarrow.dataset.dataset([file.open()[1] for file in files], filesystem=system, format="parquet")
