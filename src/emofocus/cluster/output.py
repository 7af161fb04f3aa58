"""Results of a bulk run below one path or URI: a Parquet file for each part of the input, and what they depend on.

::

    OUT/log/settings.json          what rows depend on; written first, and never again
    OUT/rows/part-00000012.parquet     rows of part 12: there when it is done, and not before
    OUT/errors/part-00000012.parquet   what could not be recognized of it, and why
    OUT/log/complete.json          written last: how many of each

Which part a clip belongs to is fixed by the input, a part's file has one name and appears whole, and the one process
that writes is the one that asked. So a clip has one row however often its part was recognized.
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

PLACE_COLUMNS = (("file", pa.string()), ("start", pa.float64()), ("end", pa.float64()))
ERRORS = pa.schema([*PLACE_COLUMNS, ("reason", pa.string()), ("position", pa.int64())])
"""One row a clip that could not be recognized."""


def rows_schema(labels: Sequence[str]) -> pa.Schema:
    """Columns of a recognized clip: those of the local command's CSV, and its position in the input."""
    told = [("label", pa.string()), ("confident", pa.bool_()), ("warnings", pa.string()), ("duration", pa.float64())]
    scores = [(f"p_{label}", pa.float64()) for label in labels]
    return pa.schema([*PLACE_COLUMNS, *told, *scores, ("position", pa.int64())])


class Output:
    """The results of one run, that may be interrupted at any moment.

    Args:
        where: A folder's path or URI.
    """

    def __init__(self, where: str) -> None:
        self.location = parse_location(where)
        self.name = self.location.name

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write down what rows depend on, or see that it is the same as before.

        Raises:
            ConfigError: It is not, or nobody knows, or nothing can be written there.
        """
        log = self.location.child("log").child("settings.json")
        try:
            there = json.loads(read_file(log))
        except FileNotFoundError:
            if list_files(self.location.child("rows")):
                raise ConfigError(f"{self.name} holds rows, and nobody knows how they were made; {REMEDY}") from None
            write_file(log, json.dumps(dict(settings), indent=1).encode() + b"\n")
            return
        except ValueError as error:
            raise ConfigError(f"{self.name}: log/settings.json is damaged ({error}); {REMEDY}") from error
        refuse_other_work(self.name, there, settings)

    def done(self) -> set[int]:
        """Numbers of the parts that have their rows."""
        return self._numbers("rows")

    def failed(self) -> set[int]:
        """Numbers of the parts that have errors."""
        return self._numbers("errors")

    def _numbers(self, kind: str) -> set[int]:
        found = (re.search(r"part-(\d+)\.parquet$", file.path) for file in list_files(self.location.child(kind)))
        return {int(match[1]) for match in found if match}

    def errors(self, part: int) -> pa.Table:
        """Errors of a part."""
        return self._read("errors", part, ERRORS)

    def commit(self, part: int, rows: pa.Table, errors: pa.Table) -> None:
        """Keep what was found of a part. Rows that are there already stay: what is tried again is what failed.

        The rows' file comes last: it says that the part is done.

        Raises:
            ConfigError: It cannot be written; what was committed before stays.
        """
        before = self._read("rows", part, rows.schema)
        if len(before):
            fresh = rows.filter(pa.compute.invert(pa.compute.is_in(rows["position"], before["position"])))
            rows = pa.concat_tables([before, fresh]).sort_by("position")
        if len(errors):
            self._write("errors", part, errors)
            self._write("rows", part, rows)
        else:
            self._write("rows", part, rows)
            self._forget_errors(part)

    def _forget_errors(self, part: int) -> None:
        with suppress(OSError):  # mostly there are none
            delete_file(self._file("errors", part))

    def finish(self) -> tuple[int, int]:
        """Count rows and errors, and write them down: the log's last entry."""
        counts = tuple(self._count(kind) for kind in ("rows", "errors"))
        entry = json.dumps({"recognized": counts[0], "errors": counts[1]}) + "\n"
        write_file(self.location.child("log").child("complete.json"), entry.encode())
        return counts[0], counts[1]

    def _count(self, kind: str) -> int:
        return int(_dataset(self.location.child(kind)).count_rows())

    def _file(self, kind: str, part: int) -> Location:
        return self.location.child(kind).child(f"part-{part:08d}.parquet")

    def _write(self, kind: str, part: int, table: pa.Table) -> None:
        content = pa.BufferOutputStream()  # whole before a byte of it is sent
        pa.parquet.write_table(table, content)
        write_file(self._file(kind, part), content.getvalue())

    def _read(self, kind: str, part: int, schema: pa.Schema) -> pa.Table:
        try:
            return pa.parquet.read_table(pa.BufferReader(read_file(self._file(kind, part))))
        except FileNotFoundError:
            return schema.empty_table()


def read(out: str) -> pa.Table:
    """Rows of a run, finished or not, in the order of its input.

    Any reader of Parquet gives the same of the folder ``OUT/rows``.

    Raises:
        ConfigError: There are none.
    """
    return _table(out, "rows")


def read_errors(out: str) -> pa.Table:
    """What a run could not recognize: file, start, end, reason, position; empty if there is nothing.

    Raises:
        ConfigError: There is no run.
    """
    return _table(out, "errors")


def _table(out: str, kind: str) -> pa.Table:
    location = parse_location(out)
    if not list_files(location.child("log")):
        raise ConfigError(f"{location.name}: no results of emofocus predict --ray are here")
    found = _dataset(location.child(kind)).to_table()
    return found.sort_by("position") if len(found) else found


def _dataset(folder: Location) -> pyarrow.dataset.Dataset:
    found = [file for file in list_files(folder) if file.suffix == ".parquet"]
    if not found:
        return pyarrow.dataset.dataset(ERRORS.empty_table())
    system = folder.open()[0]
    return pyarrow.dataset.dataset([file.open()[1] for file in found], filesystem=system, format="parquet")
