"""Manifests: tables of utterances as CSV or JSON lines, ours and those of EmoBox, nkululeko, Excel and pandas.

If something is wrong, a second, slower pass finds the line. Backslashes become slashes in a manifest without any
forward slash, which was written on Windows.
"""

import codecs
import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import polars as pl
from polars.exceptions import PolarsError

from emofocus.corpora.audformat import is_database, read_audformat, times_of
from emofocus.corpora.corpus import SCHEMA, with_keys
from emofocus.errors import CorpusError, one_of
from emofocus.utils.atomic import replacing
from emofocus.utils.progress import log_line
from emofocus.utils.table_text import BLANKS, DELIMITER_NOTE, SUFFIXES, column_name, delimiter_of, is_wide, near

REQUIRED = ("file", "emotion", "speaker")
SPLIT_COLUMNS = ("split", "fold")  # only `read_split_table` keeps them
COLUMNS = (*(name for name in SCHEMA if name != "corpus"), *SPLIT_COLUMNS)  # a manifest is one corpus
SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "devel", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation"), "test"),
}
"""Name of a part in other projects → train, valid or test."""

OTHER_NAMES = {
    "file": ("wav", "audio"),
    "emotion": ("label", "emo"),
    "speaker": ("spk",),
    "text": ("transcription",),
    "gender": ("sex",),
}
"""Our column → its names in other projects, which count where ours is absent."""

NO_COLUMNS: Mapping[str, str] = MappingProxyType({})
"""Columns of a manifest all of whose names are known."""

INDEX = ("", "index", "level_0")
"""Names of the index that pandas writes; ``Unnamed: 0`` and the like are, too."""

_UNNEEDED = ("age", "country", "duration", "dataset", "type", "sample_rate", "num_frame", "task", "length")
"""Columns of nkululeko and EmoBox that are not read, and need no word."""

_UNKNOWN_TEXTS = ("nan", "NaN", "NaT", "<NA>")  # as pandas spells a value that is not there
_TIDIED = ("emotion", "speaker", "session", "gender", "language", "style", "channel")  # columns of names
_SHOWN_LINES = 5
_OBJECT = msgspec.json.Decoder(dict[str, str | int | float | bool | None])


def is_manifest(name: str) -> bool:
    """Whether a name is that of a manifest or of a folder with an audformat database, not of a corpus."""
    return name.lower().endswith(SUFFIXES) or is_database(Path(name))


def columns_of(text: str | None) -> dict[str, str]:
    """Parse the option `--columns`, such as ``file=path,emotion=label``: our column → its name in a manifest.

    Raises:
        CorpusError: An entry is not of that form, or names no column of a manifest, or one twice.
    """
    columns: dict[str, str] = {}
    for item in (text or "").split(","):
        ours, equals, theirs = (part.strip() for part in item.partition("="))
        if not item.strip():
            continue
        if not (ours and equals and theirs):
            raise CorpusError(f"--columns {item.strip()}: is not of the form file=path,emotion=label")
        if ours not in COLUMNS:
            raise CorpusError(
                f"--columns {item.strip()}: no such column {ours!r}{near(ours, COLUMNS)} ({one_of(COLUMNS)})"
            )
        if ours in columns:
            raise CorpusError(f"--columns: the column {ours!r} is given twice")
        columns[ours] = theirs
    return columns


def read_manifest(
    path: Path,
    check_files: Path | None = None,
    speaker_of: Callable[[str], str] | None = None,
    columns: Mapping[str, str] = NO_COLUMNS,
) -> pl.DataFrame:
    """Read a manifest, whose kind follows from its suffix and columns.

    Columns that are not read are named on stderr, and so are rows that are left out: repeated ones, contradictory ones,
    and those without an emotion, or without a speaker where others have one.

    Args:
        path: A CSV or JSONL file, or the folder of an audformat database.
        check_files: Folder of the files, all of which must exist; None for no check. Absolute paths are allowed.
        speaker_of: File → speaker or an empty string, for manifests that do not tell speakers, such as EmoBox's.
        columns: Our column → its name in this manifest, for columns of other names.

    Returns:
        Table with the columns of `SCHEMA`; emotions are the labels as written. All speakers are empty where the
        manifest tells none.

    Raises:
        CorpusError: The file is missing, is no manifest, or has a bad line; the message names the line.
        MissingExtraError: ``path`` is an audformat database, and audformat is not installed.
    """
    manifest: _Manifest | None = None
    if is_database(path):
        table = read_audformat(path).with_row_index("row")
    else:
        manifest = _load(path, columns)
        manifest.require(REQUIRED[:2])
        table = manifest.typed()
        manifest.refuse(table, pl.col("file") == "", "the file is empty")
        table = _without_repeats(manifest, table)
        _refuse_repeated_keys(manifest, table)
    if speaker_of is not None:
        pairs = table.select("file", "speaker").iter_rows()
        table = table.with_columns(speaker=pl.Series([speaker or speaker_of(file) for file, speaker in pairs]))
    for column in ("emotion", "speaker"):
        table = _without_gaps(manifest, path, table, column)
    return _existing(manifest, path, table, check_files).select(*SCHEMA)


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
class _Text:
    """Text of a manifest in UTF-8, without a byte order mark.

    Attributes:
        path: The file.
        content: Its text.
        columns: Our column → its name in this manifest, for columns of other names.
    """

    path: Path
    content: bytes
    columns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, columns: Mapping[str, str] = NO_COLUMNS) -> "_Text":
        """Read a file in UTF-8, or in UTF-16 as Excel writes it."""
        content = path.read_bytes()
        if is_wide(content):
            try:
                content = content.decode("utf-16").encode()
            except UnicodeError as error:
                raise CorpusError(f"{path}: not UTF-16, as its first bytes say: {error}") from error
        return cls(path, content.removeprefix(codecs.BOM_UTF8), columns)

    def lines(self) -> Iterator[str]:
        """Lines with their ends."""
        for number, line in enumerate(io.BytesIO(self.content), start=1):
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{self.path}, line {number}: not UTF-8: {error.reason} (in Excel: save it as CSV UTF-8)"
                ) from error

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """First line and fields of each record of CSV; blank ones are left out."""
        lines, skipped = self.lines(), 0
        head = next(lines, "")
        if head.lower().startswith(DELIMITER_NOTE):
            skipped = 1
        reader = csv.reader(islice(self.lines(), skipped, None), delimiter=self.delimiter(), strict=True)
        line = 1
        try:
            for fields in reader:
                if any(field.strip(BLANKS) for field in fields):
                    yield skipped + line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise CorpusError(f"{self.path}, line {skipped + line}: unreadable: {error}") from error

    def delimiter(self) -> str:
        """Character between the columns of CSV."""
        heads = (line for line in self.lines() if line.strip() and not line.lower().startswith(DELIMITER_NOTE))
        names = {"file", "key", *OTHER_NAMES["file"], *map(column_name, self.columns.values())}
        return delimiter_of(next(heads, ""), names)

    def our_names(self, names: Sequence[str]) -> list[str]:
        """Names of columns with ours in place of other projects' and of those that were named.

        Raises:
            CorpusError: There is no such column.
        """
        found = list(map(column_name, names))
        for ours, theirs in self.columns.items():
            if column_name(theirs) not in found:
                hint = f"{near(theirs, names)} (it has: {', '.join(names)})"
                raise CorpusError(f"{self.path}: has no column {theirs!r}, which is to be {ours!r}{hint}")
        named = [column_name(theirs) for theirs in self.columns.values()]
        found = [f"{name} of the manifest" if name in self.columns and name not in named else name for name in found]
        for ours, theirs in self.columns.items():
            found[found.index(column_name(theirs))] = ours
        for ours, others in OTHER_NAMES.items():
            other = next((other for other in others if other in found), None)
            if ours not in found and other is not None:
                found[found.index(other)] = ours
        return found

    def first_lines(self) -> Iterator[int]:
        """Number of the first line of each row."""
        if self.path.suffix.lower() == ".csv":
            return islice((line for line, _ in self.records()), 1, None)
        return (number for number, line in enumerate(self.lines(), start=1) if line.strip(BLANKS))


@dataclass(frozen=True)
class _Manifest:
    """Content of a manifest as text: one row per utterance, without blank lines, columns under our names."""

    text: _Text
    table: pl.DataFrame
    ignored: Sequence[str] = ()

    @property
    def path(self) -> Path:
        """The file."""
        return self.text.path

    def lines(self, rows: Iterable[int]) -> list[int]:
        """Line numbers of some rows."""
        wanted = list(rows)
        numbers = list(islice(self.text.first_lines(), max(wanted, default=-1) + 1))
        return [numbers[row] for row in wanted]

    def shown_lines(self, rows: Sequence[int]) -> str:
        """Words for the lines of some rows."""
        numbers = ", ".join(map(str, self.lines(rows[:_SHOWN_LINES])))
        return f"line{'s' * (len(rows) > 1)} {numbers}{' …' * (len(rows) > _SHOWN_LINES)}"

    def require(self, names: Iterable[str]) -> None:
        """Refuse a manifest that lacks a column."""
        for name in (name for name in names if name not in self.table.columns):
            hint = near(name, self.ignored)
            there = f"; not read: {', '.join(self.ignored)}" if self.ignored else ""
            raise CorpusError(f"{self.path}, line 1: the column {name!r} is missing{hint} ({one_of(COLUMNS)}{there})")

    def refuse(self, table: pl.DataFrame, wrong: pl.Expr | pl.Series, problem: str) -> None:
        """Refuse a manifest with a wrong row; ``problem`` may have fields for values of the row."""
        for row in table.select(wrong).to_series().fill_null(value=False).arg_true().head(1):
            values = table.row(row, named=True)
            raise CorpusError(f"{self.path}, line {self.lines([values['row']])[0]}: {problem.format_map(values)}")

    def typed(self) -> pl.DataFrame:
        """Table with the columns of `SCHEMA` in their types, those of a split that are present, and the row."""
        table = self.table.with_columns(pl.lit("").alias(name) for name in SCHEMA if name not in self.table.columns)
        table = table.with_row_index("row").with_columns(
            pl.col(*_TIDIED).str.strip_chars(BLANKS).replace(dict.fromkeys(_UNKNOWN_TEXTS, ""))
        )
        if not table["file"].str.contains("/", literal=True).any():
            table = table.with_columns(pl.col("file", "embedding").str.replace_all("\\", "/", literal=True))
        times = {name: times_of(table[name], name) for name in ("start", "end")}
        for name, seconds in times.items():
            wrong = seconds.is_nan() | seconds.is_infinite()
            self.refuse(table, wrong, f"the {name} {{{name}!r}} is no number of seconds")
        table = table.with_columns(**times)
        wrong_times = (pl.col("start") < 0) | (pl.col("end") <= pl.col("start").fill_null(0.0))
        self.refuse(table, wrong_times, "times from {start} to {end} s are negative or reversed")
        return with_keys(table)


def _load(path: Path, columns: Mapping[str, str] = NO_COLUMNS) -> _Manifest:
    if not path.is_file():
        problem = "a folder without an audformat database (db.yaml)" if path.is_dir() else "no such manifest"
        raise CorpusError(f"{path}: {problem}")
    _refuse_suffix(path)
    try:
        text = _Text.read(path, columns)
        manifest = _load_csv(text) if path.suffix.lower() == ".csv" else _load_json_lines(text)
    except PolarsError as error:  # a number of hundreds of digits, for one
        raise CorpusError(f"{path}: unreadable: {error}") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    if not len(manifest.table):
        if manifest.ignored:
            manifest.require(REQUIRED[:1])
        raise CorpusError(f"{path}: an empty manifest")
    _log_ignored(manifest)
    return manifest


def _refuse_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise CorpusError(f"{path}: {path.suffix or 'no suffix'!r} is no kind of manifest ({one_of(SUFFIXES)})")


def _log_ignored(manifest: _Manifest) -> None:
    """Name the columns that are not read, each with the absent column that it may have been meant to be."""
    if manifest.ignored:
        absent = [name for name in COLUMNS if name not in manifest.table.columns]
        listed = ", ".join(f"{name}{near(column_name(name), absent)}" for name in manifest.ignored)
        log_line(f"{manifest.path}: columns that are not read: {listed}")


def _is_silent(name: str) -> bool:
    """Whether a column that is not read needs no word."""
    name = column_name(name)
    return name in INDEX or name in _UNNEEDED or name.startswith("unnamed:")


def _load_csv(text: _Text) -> _Manifest:
    line, fields = next(text.records(), (0, []))
    names, delimiter = text.our_names(fields), text.delimiter()
    for name in names:
        if name in COLUMNS and names.count(name) > 1:
            raise CorpusError(f"{text.path}, line {line}: the column {name!r} is there more than once")
    table = pl.DataFrame()
    if not line:
        return _Manifest(text, table)
    if line == 1:
        with suppress(PolarsError):
            table = _parsed_csv(text.content, delimiter)
    if not (table.width == len(names) and _has_all_fields(text.content, table, delimiter)):
        table = _parsed_csv(_rewritten(text, len(names)), ",")
    kept = [pl.Series(name, table[:, number]) for number, name in enumerate(names) if name in COLUMNS]
    table = pl.DataFrame(kept)
    if delimiter == ";":  # the comma is the decimal point then
        times = [name for name in ("start", "end") if name in table.columns]
        table = table.with_columns(pl.col(times).str.replace(",", ".", literal=True))
    ignored = [field for field, name in zip(fields, names, strict=True) if name not in COLUMNS and not _is_silent(name)]
    return _Manifest(text, table, ignored)


def _parsed_csv(content: bytes, delimiter: str) -> pl.DataFrame:
    table = pl.read_csv(content, separator=delimiter, infer_schema=False, raise_if_empty=False).fill_null("")
    blank = pl.repeat(True, len(table), eager=True)
    for column in table:
        blank &= column.str.strip_chars(BLANKS) == ""
        if not blank.any():  # usually after the first column
            return table
    return table.filter(~blank)


def _has_all_fields(content: bytes, table: pl.DataFrame, delimiter: str) -> bool:
    """Whether every line has all fields, judged by the number of delimiters; the fast parser accepts short lines."""
    within = sum(int(column.str.count_matches(delimiter, literal=True).sum()) for column in table)
    within += sum(name.count(delimiter) for name in table.columns)
    return content.count(delimiter.encode()) == (table.width - 1) * (len(table) + 1) + within


def _rewritten(text: _Text, width: int) -> bytes:
    """Records as a tolerant parser reads them, in a form that the fast parser accepts; the header is numbers."""
    rows = io.StringIO()
    writer = csv.writer(rows)
    for number, (line, fields) in enumerate(text.records()):
        if len(fields) != width:
            raise CorpusError(f"{text.path}, line {line}: {len(fields)} fields, but the header has {width}")
        writer.writerow(fields if number else range(width))
    return rows.getvalue().encode()


def _load_json_lines(text: _Text) -> _Manifest:
    keys, plain = _json_keys(text)
    names = text.our_names(list(keys))
    ours = {key: name for key, name in zip(keys, names, strict=True) if name in COLUMNS}
    table = pl.read_ndjson(text.content if plain else _plain_json(text), schema=dict.fromkeys(ours, pl.String))
    columns = {name: [key for key in ours if ours[key] == name] for name in dict.fromkeys(ours.values())}
    table = table.select(pl.coalesce(same).fill_null("").alias(name) for name, same in columns.items())
    return _Manifest(text, table, [key for key in keys if key not in ours and not _is_silent(key)])


def _json_keys(text: _Text) -> tuple[dict[str, int], bool]:
    """Every key with the number of its first line, and whether the fast parser reads all lines."""
    lines: dict[str, int] = {}
    usual: tuple[str, ...] = ()
    plain = True
    for number, line in enumerate(text.lines(), start=1):
        if not line.strip(BLANKS):
            plain &= not line.strip(" \t\r\n")
            continue
        try:
            keys = tuple(_OBJECT.decode(line))
        except msgspec.DecodeError:
            keys, plain = tuple(_tolerant(text, number, line)), False
        if keys != usual:  # most lines have the keys of the one before
            usual = keys
            lines |= {key: number for key in keys if key not in lines}
    return lines, plain


def _tolerant(text: _Text, number: int, line: str) -> Mapping[str, Any]:
    """Object of a line with a byte order mark, with NaN as Python's module writes it, or with nested values."""
    try:
        row = json.loads(line.strip(BLANKS))
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{text.path}, line {number}: no JSON object of texts and numbers: {error}") from error
    if not isinstance(row, dict):
        raise CorpusError(f"{text.path}, line {number}: no JSON object of texts and numbers")
    known = {*COLUMNS, *(other for others in OTHER_NAMES.values() for other in others)}
    for key, value in row.items():
        if column_name(key) in known and isinstance(value, dict | list):
            raise CorpusError(f"{text.path}, line {number}: no JSON object of texts and numbers: {key} is {value!r}")
    return row


def _plain_json(text: _Text) -> bytes:
    """Lines in a form that the fast parser accepts."""
    rows = (_tolerant(text, number, line) for number, line in enumerate(text.lines(), start=1) if line.strip(BLANKS))
    return "".join(json.dumps({key: _finite(value) for key, value in row.items()}) + "\n" for row in rows).encode()


def _finite(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _without_repeats(manifest: _Manifest, table: pl.DataFrame) -> pl.DataFrame:
    """Keep one of the rows that name the same clip, and none if they contradict each other."""
    if "key" in manifest.table.columns or table["key"].n_unique() == len(table):
        return table
    clip, facts = ("file", "start", "end"), ("emotion", "speaker")
    repeated = table.filter(table.select(clip).is_duplicated())
    groups = repeated.group_by(clip).agg(pl.struct(facts).n_unique().alias("facts"))
    repeated = repeated.join(groups, on=clip, nulls_equal=True, maintain_order="left")
    contradictory = repeated.filter(pl.col("facts") > 1)
    again = repeated.filter((pl.col("facts") == 1) & ~pl.struct(clip).is_first_distinct())
    for rows, why in ((again, "repeat a row"), (contradictory, "give a clip to two emotions or speakers")):
        if len(rows):
            shown = manifest.shown_lines(rows["row"].to_list())
            count, first = len(rows), rows["file"][0]
            log_line(f"{manifest.path}: rows LEFT OUT, because they {why}: {count}, {shown} ({first})")
    gone = [*again["row"], *contradictory["row"]]
    return table.filter(~pl.col("row").is_in(gone))


def _without_gaps(manifest: _Manifest | None, path: Path, table: pl.DataFrame, column: str) -> pl.DataFrame:
    """Leave out rows without an emotion; rows without a speaker, which may be anybody, where others have one."""
    gaps = table.filter(pl.col(column) == "")
    if not len(gaps):
        return table
    if len(gaps) < len(table):
        shown = manifest.shown_lines(gaps["row"].to_list()) if manifest else f"such as {gaps['file'][0]}"
        log_line(f"{path}: {len(gaps)} of {len(table)} rows name no {column}, and are LEFT OUT: {shown}")
        return table.filter(pl.col(column) != "")
    if column == "emotion":
        raise CorpusError(f"{path}: no row names an emotion")
    log_line(f"{path}: tells no speakers: folds that keep speakers apart cannot be made of it")
    return table


def _refuse_repeated_keys(manifest: _Manifest, table: pl.DataFrame) -> None:
    again = (~table["key"].is_first_distinct()).arg_true()
    if len(again):
        key = table["key"][again[0]]
        rows = table.filter(pl.col("key") == key)["row"].head(2)
        first, second = manifest.lines(rows)
        raise CorpusError(f"{manifest.path}, lines {first} and {second}: both have the key {key!r}")


def _existing(manifest: _Manifest | None, path: Path, table: pl.DataFrame, root: Path | None) -> pl.DataFrame:
    """Return the table if all of its files exist; each folder is listed once, which is faster than a test per file."""
    if root is None:
        return table
    folders = table.select(pl.col("file").str.extract(r"(?s)^(.*/)").fill_null("").unique()).to_series()
    present = pl.concat([pl.Series(_files_in(root, folder), dtype=pl.String) for folder in folders])
    absent = table.filter(~pl.col("file").is_in(present.implode()))
    if len(absent):
        rows = absent["row"].head(3)
        lines = [f" (line {line})" for line in manifest.lines(rows)] if manifest else [""] * len(rows)
        names = ", ".join(f"{file}{line}" for file, line in zip(absent["file"].head(3), lines, strict=True))
        raise CorpusError(f"{path}: {len(absent)} of {len(table)} files are not below {root}: {names}")
    return table


def _files_in(root: Path, folder: str) -> list[str]:
    try:
        with os.scandir(root / folder) as entries:
            return [folder + entry.name for entry in entries if _is_file(entry)]
    except (OSError, ValueError):  # no such folder, or a name that no folder can have
        return []


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a file or a link to one; a link that leads to itself is none."""
    try:
        return entry.is_file()
    except OSError:
        return False
