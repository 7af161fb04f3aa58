"""Manifests: tables of utterances as CSV or JSON lines, ours and those of EmoBox and nkululeko.

If something is wrong, a second, slower pass finds the line. Backslashes become slashes in a manifest without any
forward slash, which was written on Windows.
"""

import codecs
import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from emofocus.corpora.audformat import is_database, read_audformat, seconds_of
from emofocus.corpora.corpus import SCHEMA, with_keys
from emofocus.errors import CorpusError, one_of
from emofocus.utils.atomic import replacing

REQUIRED = ("file", "emotion", "speaker")
SPLIT_COLUMNS = ("split", "fold")  # only `read_split_table` keeps them
COLUMNS = (*(name for name in SCHEMA if name != "corpus"), *SPLIT_COLUMNS)  # a manifest is one corpus
SUFFIXES = (".csv", ".jsonl")
SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "devel", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation"), "test"),
}
"""Name of a part in other projects → train, valid or test."""

_NKULULEKO = ("age", "country", "duration")  # its further columns, which we do not need
_EMOBOX = {"file": ("wav", "audio"), "emotion": ("emo", "label"), "speaker": ("spk",)}  # its names for our columns
_JSON_OBJECT = msgspec.json.Decoder(dict[str, str | int | float | bool | None])


def is_manifest(name: str) -> bool:
    """Whether a name is that of a manifest or of a folder with an audformat database, not of a corpus."""
    return name.lower().endswith(SUFFIXES) or is_database(Path(name))


def read_manifest(
    path: Path, check_files: Path | None = None, speaker_of: Callable[[str], str] | None = None
) -> pl.DataFrame:
    """Read a manifest, whose kind follows from its suffix and columns.

    Args:
        path: A CSV or JSONL file, or the folder of an audformat database.
        check_files: Folder of the files, all of which must exist; None for no check. Absolute paths are allowed.
        speaker_of: File → speaker or an empty string, for EmoBox's manifests, which have no speakers.

    Returns:
        Table with the columns of `SCHEMA`; emotions are the labels as written.

    Raises:
        CorpusError: The file is missing, is no manifest, or has a bad line; the message names the line.
        MissingExtraError: ``path`` is an audformat database, and audformat is not installed.
    """
    if is_database(path):
        return _existing(None, path, read_audformat(path), check_files)
    manifest = _load(path)
    required = REQUIRED[:2] if manifest.emobox else REQUIRED
    manifest.require(required)
    table = manifest.typed()
    for name in required:
        manifest.refuse(table, pl.col(name) == "", f"the {name} is empty")
    _refuse_repeated_keys(manifest, table)
    if manifest.emobox and speaker_of is not None:
        pairs = table.select("file", "speaker").iter_rows()
        table = table.with_columns(speaker=pl.Series([speaker or speaker_of(file) for file, speaker in pairs]))
    return _existing(manifest, path, table.select(*SCHEMA), check_files)


def read_split_table(path: Path) -> pl.DataFrame:
    """Read a split: a manifest with the part of each utterance.

    Only ``split`` and one of ``file`` and ``key`` are required. Utterances may repeat, which an audit then reports.

    Returns:
        Table with the columns of `SCHEMA`, ``split`` (train, valid or test) and, if present, ``fold``.

    Raises:
        CorpusError: The file is missing, is no manifest, or has a bad line; the message names the line.
    """
    manifest = _load(path)
    manifest.require(("key" if "key" in manifest.table.columns else "file", "split"))
    table = manifest.typed()
    manifest.refuse(table, pl.col("key") == "", "there is neither a file nor a key")
    split = pl.col("split").str.strip_chars().str.to_lowercase().replace_strict(SPLITS, default=None)
    manifest.refuse(table, split.is_null(), f"{{split!r}} is no part of a split ({one_of(SPLITS)})")
    return table.with_columns(split=split).select(*SCHEMA, *(name for name in SPLIT_COLUMNS if name in table.columns))


def read_listing(path: Path) -> pl.DataFrame:
    """Read a list of one part of a split: a manifest of which only ``file`` or ``key`` is required.

    Returns:
        Table with the columns of `SCHEMA`.

    Raises:
        CorpusError: As `read_split_table`.
    """
    manifest = _load(path)
    manifest.require(("key" if "key" in manifest.table.columns else "file",))
    return manifest.typed().select(*SCHEMA)


def write_manifest(table: pl.DataFrame, path: Path) -> None:
    """Write a manifest as CSV or JSON lines, depending on the suffix; empty columns are left out.

    Args:
        table: Columns as in `SCHEMA`, optionally ``split`` and ``fold``.
        path: File to write; an existing file is replaced.

    Raises:
        CorpusError: The suffix is neither .csv nor .jsonl.
    """
    _refuse_suffix(path)
    # Keys that a reader fills in again need no column.
    plain = table.with_columns(pl.col(pl.String).replace("", None))
    if table["key"].equals(with_keys(table.with_columns(key=pl.lit("")))["key"]):
        plain = plain.drop("key")
    held = {name for name in plain.columns if plain[name].null_count() < len(plain)}.union(REQUIRED)
    plain = plain.select(name for name in dict.fromkeys((*REQUIRED, *COLUMNS)) if name in held)
    with replacing(path) as temporary:
        (plain.write_csv if path.suffix.lower() == ".csv" else plain.write_ndjson)(temporary)


@dataclass(frozen=True)
class _Manifest:
    """Content of a manifest as text: one row per utterance, without blank lines."""

    path: Path
    table: pl.DataFrame
    emobox: bool = False

    def lines(self, rows: Sequence[int]) -> list[int]:
        """Line numbers of some rows."""
        return [next(islice(_first_lines(self.path), row, None)) for row in rows]

    def require(self, names: Iterable[str]) -> None:
        """Refuse a manifest that lacks a column."""
        for name in (name for name in names if name not in self.table.columns):
            raise CorpusError(f"{self.path}, line 1: the column {name!r} is missing ({one_of(COLUMNS)})")

    def refuse(self, table: pl.DataFrame, wrong: pl.Expr | pl.Series, problem: str) -> None:
        """Refuse a manifest with a wrong row; ``problem`` may have fields for values of the row."""
        for row in table.select(wrong).to_series().fill_null(value=False).arg_true().head(1):
            text = problem.format_map(table.row(row, named=True))
            raise CorpusError(f"{self.path}, line {self.lines([row])[0]}: {text}")

    def typed(self) -> pl.DataFrame:
        """Table with the columns of `SCHEMA` in their types, and the columns of a split that are present."""
        table = self.table.with_columns(pl.lit("").alias(name) for name in SCHEMA if name not in self.table.columns)
        if not table["file"].str.contains("/", literal=True).any():
            table = table.with_columns(pl.col("file", "embedding").str.replace_all("\\", "/", literal=True))
        times = {name: seconds_of(table[name]) for name in ("start", "end")}
        for name, seconds in times.items():
            wrong = seconds.is_nan() | seconds.is_infinite()
            self.refuse(table, wrong, f"the {name} {{{name}!r}} is no number of seconds")
        table = table.with_columns(**times)
        wrong_times = (pl.col("start") < 0) | (pl.col("end") <= pl.col("start").fill_null(0.0))
        self.refuse(table, wrong_times, "times from {start} to {end} s are negative or reversed")
        return with_keys(table)


def _load(path: Path) -> _Manifest:
    if not path.is_file():
        problem = "a folder without an audformat database (db.yaml)" if path.is_dir() else "no such manifest"
        raise CorpusError(f"{path}: {problem}")
    _refuse_suffix(path)
    try:
        manifest = _load_csv(path) if path.suffix.lower() == ".csv" else _load_json_lines(path)
    except PolarsError as error:  # a number of hundreds of digits, for one
        raise CorpusError(f"{path}: unreadable: {error}") from error
    if not len(manifest.table):
        raise CorpusError(f"{path}: an empty manifest")
    return manifest


def _refuse_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise CorpusError(f"{path}: {path.suffix or 'no suffix'!r} is no kind of manifest ({one_of(SUFFIXES)})")


def _refuse_unknown(path: Path, lines: Mapping[str, int]) -> None:
    for name, line in lines.items():
        if name not in COLUMNS and name not in _NKULULEKO:
            raise CorpusError(f"{path}, line {line}: there is no column {name!r} ({one_of(COLUMNS)})")


def _load_csv(path: Path) -> _Manifest:
    line, columns = next(_records(path), (1, ["file"]))
    repeated = [name for name in columns if columns.count(name) > 1]
    if repeated:
        raise CorpusError(f"{path}, line {line}: the column {repeated[0]!r} is there more than once")
    _refuse_unknown(path, dict.fromkeys(columns, line))
    try:
        table = _parsed_csv(path)
    except PolarsError:
        table = pl.DataFrame()
    if not (table.width == len(columns) and _has_all_fields(path, table)):
        table = _parsed_csv(_rewritten(path, len(columns)))
    return _Manifest(path, table)


def _parsed_csv(source: Path | bytes) -> pl.DataFrame:
    table = pl.read_csv(source, infer_schema=False, glob=False, raise_if_empty=False).fill_null("")
    return table.filter(~pl.all_horizontal(pl.all() == ""))


def _has_all_fields(path: Path, table: pl.DataFrame) -> bool:
    """Whether every line has all fields, judged by the number of commas; the fast parser accepts short lines."""
    with path.open("rb") as file:
        commas = sum(block.count(b",") for block in iter(lambda: file.read(1 << 20), b""))
    within = sum(int(column.str.count_matches(",", literal=True).sum()) for column in table)
    return commas == (table.width - 1) * (len(table) + 1) + within


def _rewritten(path: Path, width: int) -> bytes:
    """Records as a tolerant parser reads them, in a form that the fast parser accepts."""
    text = io.StringIO()
    writer = csv.writer(text)
    for line, fields in _records(path):
        if len(fields) != width:
            raise CorpusError(f"{path}, line {line}: {len(fields)} fields, but the header has {width}")
        writer.writerow(fields)
    return text.getvalue().encode()


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """First line and fields of each record; blank lines are left out."""
    reader = csv.reader(_lines(path), strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}, line {line}: unreadable: {error}") from error


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise CorpusError(f"{path}, line {number}: not UTF-8: {error.reason}") from error


def _first_lines(path: Path) -> Iterator[int]:
    """Number of the first line of each row."""
    if path.suffix.lower() == ".csv":
        return islice((line for line, fields in _records(path) if any(fields)), 1, None)
    return (number for number, line in enumerate(_lines(path), start=1) if line.strip(" \t\r\n"))


def _load_json_lines(path: Path) -> _Manifest:
    keys = _json_keys(path)
    emobox = "file" not in keys and bool({"wav", "audio"} & keys.keys())
    if not emobox:
        _refuse_unknown(path, keys)
    # polars would take a path for a pattern, and a byte order mark is no JSON.
    source = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    table = pl.read_ndjson(source, schema=dict.fromkeys(keys, pl.String))
    table = table.with_columns(pl.all().fill_null(""))
    return _Manifest(path, _from_emobox(table) if emobox else table, emobox)


def _json_keys(path: Path) -> dict[str, int]:
    """Every key with the number of its first line."""
    lines: dict[str, int] = {}
    usual: tuple[str, ...] = ()
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip(" \t\r\n"):
            continue
        try:
            keys = tuple(_JSON_OBJECT.decode(line))
        except msgspec.DecodeError as error:
            raise CorpusError(f"{path}, line {number}: no JSON object of texts and numbers: {error}") from error
        if keys != usual:  # most lines have the keys of the one before
            usual = keys
            lines |= {key: number for key in keys if key not in lines}
    return lines


def _from_emobox(table: pl.DataFrame) -> pl.DataFrame:
    for name, others in _EMOBOX.items():
        present = [other for other in (name, *others) if other in table.columns]
        value = pl.coalesce(pl.col(present).replace("", None)).fill_null("") if present else pl.lit("")
        table = table.with_columns(value.alias(name))
    return table


def _refuse_repeated_keys(manifest: _Manifest, table: pl.DataFrame) -> None:
    again = (~table["key"].is_first_distinct()).arg_true()
    if len(again):
        key = table["key"][again[0]]
        first, second = manifest.lines((table["key"] == key).arg_true().head(2).to_list())
        raise CorpusError(f"{manifest.path}, lines {first} and {second}: both have the key {key!r}")


def _existing(manifest: _Manifest | None, path: Path, table: pl.DataFrame, root: Path | None) -> pl.DataFrame:
    """Return the table if all of its files exist; each folder is listed once, which is faster than a test per file."""
    if root is None:
        return table
    folders = table.select(pl.col("file").str.extract(r"(?s)^(.*/)").fill_null("").unique()).to_series()
    present = pl.concat([pl.Series(_files_in(root, folder), dtype=pl.String) for folder in folders])
    absent = (~table["file"].is_in(present.implode())).arg_true()
    if len(absent):
        some = absent.head(3).to_list()
        lines = [f" (line {line})" for line in manifest.lines(some)] if manifest else [""] * len(some)
        names = ", ".join(f"{table['file'][row]}{line}" for row, line in zip(some, lines, strict=True))
        raise CorpusError(f"{path}: {len(absent)} of {len(table)} files are not below {root}: {names}")
    return table


def _files_in(root: Path, folder: str) -> list[str]:
    try:
        with os.scandir(root / folder) as entries:
            return [folder + entry.name for entry in entries if entry.is_file()]
    except (OSError, ValueError):  # no such folder, or a name that no folder can have
        return []
