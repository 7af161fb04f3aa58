"""Databases in audformat, audEERING's format: a header ``db.yaml`` and one file per table.

The header is read as plain data, and tables only from Parquet or CSV. The library itself would also run code in a
header or a pickled table.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from emofocus.corpora.corpus import SCHEMA, with_keys
from emofocus.errors import CorpusError, MissingExtraError, one_of
from emofocus.utils.table_text import UNKNOWN_TIMES

TABLE = "emotion"
"""Name of the table that `write_audformat` writes."""

_NAMES = {
    **{name: (name,) for name in SCHEMA if name not in ("file", "start", "end", "corpus")},
    "text": ("text", "transcription"),
    "gender": ("gender", "sex"),
}  # our column → names of columns or schemes in databases
_TIMEDELTA = r"^(?:(?<days>-?\d+) days? ?)?\+?(?:(?<h>\d+):(?<m>\d\d):(?<s>\d\d)(?:\.(?<fraction>\d{1,9}))?)?$"


def is_database(folder: Path) -> bool:
    """Whether a folder holds an audformat database."""
    return (folder / "db.yaml").is_file()


def read_audformat(folder: Path, table: str | None = None) -> pl.DataFrame:
    """Read the utterances of an audformat database.

    Columns that the table of emotions lacks are looked up in the other tables by file or segment, then in the scheme of
    speakers, and the language in the header.

    Args:
        folder: Folder with ``db.yaml``.
        table: Name of the table; by default the first with a column of the name or the scheme ``emotion``.

    Returns:
        Table with the columns of `SCHEMA`; emotions are the labels as written, and an emotion or speaker that is not
        known is empty. A segment from 0 to the end of its file is the whole file.

    Raises:
        CorpusError: The database is missing or damaged, or has no such table.
        MissingExtraError: audformat is not installed.
    """
    audformat = _library()
    if not is_database(folder):
        raise CorpusError(f"{folder}: no audformat database: there is no db.yaml in it")
    header = _header(audformat, folder)
    name = _table_with_emotions(folder, header, table)
    try:
        return _utterances(folder, header, name)
    except (PolarsError, KeyError) as error:
        raise CorpusError(f"{folder}: a damaged table: {error}") from error


def write_audformat(table: pl.DataFrame, folder: Path, name: str, license: str, language: str = "") -> None:
    """Write utterances as an audformat database with one table; it holds times to a nanosecond.

    Args:
        table: Columns as in `SCHEMA`.
        folder: Folder for ``db.yaml`` and the table; an existing database is replaced. Audio is not copied.
        name: Name of the database.
        license: SPDX name, or words.
        language: ISO 639 code for the header; several with spaces.

    Raises:
        CorpusError: Two utterances have the same file and times, or the language is unknown.
        MissingExtraError: audformat is not installed.
    """
    audformat = _library()
    try:
        database = audformat.Database(name, usage="other", license=license, languages=language.split() or None)
        _fill(audformat, database, table)
    except ValueError as error:
        raise CorpusError(f"{folder}: audformat cannot hold this: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        database.save(temporary, storage_format="parquet")
        for stale in folder.glob(f"db.{TABLE}.*"):
            stale.unlink()
        # The header last: without it the folder is no database.
        for file in (f"db.{TABLE}.parquet", "db.yaml"):
            (Path(temporary) / file).replace(folder / file)


def times_of(text: pl.Series, name: str) -> pl.Series:
    """Parse times such as ``0 days 00:00:01.5``, ``00:00:01.5`` or ``1.5``, as `table_text.seconds_of` does one.

    Args:
        text: Texts (U,).
        name: ``start`` or ``end``; an infinite end is no time.

    Returns:
        Seconds (U,); null for no time, NaN for a text that is no time.
    """
    text = text.str.strip_chars()
    absent = text.str.to_lowercase().is_in(UNKNOWN_TIMES)
    number = text.cast(pl.Float64, strict=False)
    if (number.is_null() & ~absent).any():
        number = number.fill_null(_timedeltas(text)).fill_null(float("nan"))
    if name == "end":
        absent |= number == float("inf")
    return pl.select(pl.when(~absent).then(number)).to_series()


def _timedeltas(text: pl.Series) -> pl.Series:
    part = text.str.extract_groups(_TIMEDELTA).struct
    days, hours, minutes, seconds = (part.field(name).cast(pl.Int64).fill_null(0) for name in ("days", "h", "m", "s"))
    fraction = part.field("fraction").str.pad_end(9, "0").cast(pl.Int64).fill_null(0)
    nanoseconds = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction
    return _from_nanoseconds(pl.select(pl.when(text.str.contains(_TIMEDELTA)).then(nanoseconds)).to_series())


def _from_nanoseconds(times: pl.Series) -> pl.Series:
    # NumPy divides; polars multiplies by 1e-9, which may give a neighbor of the number that was meant.
    seconds = pl.Series(times.fill_null(0).to_numpy() / 1e9)
    return pl.select(pl.when(times.is_not_null()).then(seconds)).to_series()


def _library() -> Any:
    try:
        import audformat
    except ImportError as error:
        raise MissingExtraError("audformat", "audformat") from error
    return audformat


def _header(audformat: Any, folder: Path) -> Any:
    import yaml  # audformat needs it, too

    try:
        with (folder / "db.yaml").open(encoding="utf-8") as file:
            return audformat.Database.load_header_from_yaml(yaml.safe_load(file))
    except Exception as error:  # the library assumes a valid header and may raise anything
        raise CorpusError(f"{folder / 'db.yaml'}: no header of an audformat database: {error}") from error


def _table_with_emotions(folder: Path, header: Any, name: str | None) -> str:
    if name is not None and name not in header.tables:
        raise CorpusError(f"{folder}: there is no table {name!r} ({one_of(header.tables)})")
    for candidate in header.tables if name is None else [name]:
        if "emotion" in _columns(header.tables[candidate]):
            return str(candidate)
    raise CorpusError(
        f"{folder}: no column of the {'tables ' + ', '.join(header.tables) if name is None else 'table ' + name} "
        "has the name or the scheme 'emotion'"
    )


def _columns(table: Any) -> dict[str, str]:
    """Our columns that a table has → its column of that name or scheme."""
    schemes = {str(column): str(table.columns[column].scheme_id) for column in table.columns}
    columns = {}
    for ours, names in _NAMES.items():
        theirs = [column for column in schemes if column in names] + [c for c in schemes if schemes[c] in names]
        if theirs:
            columns[ours] = theirs[0]
    return columns


def _utterances(folder: Path, header: Any, name: str) -> pl.DataFrame:
    rows = _rows(folder, name, header.tables[name])
    for other, table in header.tables.items():
        missing = [column for column in _columns(table) if column not in rows.columns]
        if missing and (not table.is_segmented or "start" in rows.columns):
            index = ["file", "start", "end"] if table.is_segmented else ["file"]
            rows = _joined(rows, _rows(folder, other, table).select(*index, *missing), index)
    if "speaker" in rows.columns:
        rows = _joined(rows, _speakers(folder, header, name), ["speaker"])
    if "language" not in rows.columns and len(header.languages) == 1:
        rows = rows.with_columns(language=pl.lit(header.languages[0]))
    absent = {column: None if column in ("start", "end") else "" for column in SCHEMA if column not in rows.columns}
    rows = rows.with_columns(pl.lit(value).alias(column) for column, value in absent.items())
    whole = (pl.col("start").fill_null(0.0) == 0) & pl.col("end").is_null()
    rows = rows.with_columns(start=pl.when(~whole).then("start"))
    return with_keys(rows.select(*SCHEMA).cast(dict(SCHEMA)))  # type: ignore[arg-type]


def _joined(table: pl.DataFrame, more: pl.DataFrame, index: list[str]) -> pl.DataFrame:
    """Add the columns of another table; rows stay as they are."""
    new = [column for column in more.columns if column not in table.columns]
    more = more.select(*index, *new).unique(index, keep="first", maintain_order=True)
    joined = table.join(more, on=index, how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(pl.col(name).fill_null("") for name in new)


def _rows(folder: Path, name: str, table: Any) -> pl.DataFrame:
    """Index and columns of a table under our names and in our types."""
    frame = _stored(folder, name)
    index = ["file", *(["start", "end"] if table.is_segmented else [])]
    times = {column: _time(frame[column], column) for column in index[1:]}
    wrong = [column for column, seconds in times.items() if seconds.is_nan().any()]
    if wrong:
        raise CorpusError(f"{folder}: the table {name!r} has a {wrong[0]} that is no time")
    return frame.select("file", *_texts(_columns(table))).with_columns(**times)


def _texts(columns: Mapping[str, str]) -> list[pl.Expr]:
    return [pl.col(theirs).cast(pl.String).fill_null("").alias(ours) for ours, theirs in columns.items()]


def _time(column: pl.Series, name: str) -> pl.Series:
    if column.dtype == pl.Duration:
        return _from_nanoseconds(column.dt.total_nanoseconds())
    return times_of(column.cast(pl.String).fill_null(""), name)


def _stored(folder: Path, name: str) -> pl.DataFrame:
    path = folder / f"db.{name}.parquet"
    if path.is_file():
        return pl.read_parquet(path, glob=False)
    path = path.with_suffix(".csv")
    if path.is_file():
        return pl.read_csv(path, infer_schema=False, glob=False).fill_null("")
    kept = "is only kept as a pickle, which could run code" if path.with_suffix(".pkl").is_file() else "is missing"
    raise CorpusError(f"{folder}: the table {name!r} {kept} (valid: {path.stem}.parquet, {path.name})")


def _speakers(folder: Path, header: Any, name: str) -> pl.DataFrame:
    """Facts about each speaker from the labels of the speaker scheme, which may be a table."""
    tables = [header.tables[name], *header.tables.values()]
    column = next(table.columns[_columns(table)["speaker"]] for table in tables if "speaker" in _columns(table))
    labels = header.schemes[column.scheme_id].labels if column.scheme_id else None
    if isinstance(labels, str):
        table = header.misc_tables[labels]
        return _stored(folder, labels).select(_texts({**_columns(table), "speaker": next(iter(table.levels))}))
    facts = {str(speaker): values for speaker, values in labels.items()} if isinstance(labels, dict) else {}
    known = {name: _facts(facts, _NAMES[name]) for name in ("gender", "language")}
    columns = {"speaker": list(facts)} | {name: values for name, values in known.items() if any(values)}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _facts(speakers: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    known = [facts if isinstance(facts, dict) else {} for facts in speakers.values()]
    return [next((str(facts[name]) for name in names if facts.get(name)), "") for facts in known]


def _fill(audformat: Any, database: Any, table: pl.DataFrame) -> None:
    """Fill a database with its one table and a scheme per column."""
    if table["key"].equals(with_keys(table.with_columns(key=pl.lit("")))["key"]):
        table = table.drop("key")
    speakers = _genders(table)
    if speakers is not None:
        table = table.drop("gender")
    database.tables[TABLE] = audformat.Table(_index(audformat, table))
    for name in (column for column in _NAMES if column in table.columns):
        values = table[name].replace("", None)
        if name not in ("emotion", "speaker") and values.null_count() == len(values):
            continue
        labels: Any = values.drop_nulls().unique().sort().to_list() if name in ("emotion", "gender") else None
        database.schemes[name] = audformat.Scheme("str", labels=speakers if name == "speaker" else labels)
        database[TABLE][name] = audformat.Column(scheme_id=name)
        database[TABLE][name].set(values.to_list())


def _genders(table: pl.DataFrame) -> dict[str, dict[str, str]] | None:
    """Gender of each speaker; None if the table has unknown speakers or speakers of several genders."""
    pairs = table.select("speaker", "gender").unique(maintain_order=True).sort("speaker")
    if pairs["speaker"].is_duplicated().any() or (pairs["speaker"] == "").any():
        return None
    return {speaker: {"gender": gender} if gender else {} for speaker, gender in pairs.iter_rows()}


def _index(audformat: Any, table: pl.DataFrame) -> Any:
    whole = table["start"].is_null() & table["end"].is_null()
    if whole.all():
        return audformat.filewise_index(table["file"].to_list())
    start, end = (
        (column * 1e9).round().cast(pl.Int64).cast(pl.Duration("ns")).to_numpy()
        for column in (table["start"].fill_null(0.0), table["end"])
    )
    return audformat.segmented_index(table["file"].to_list(), list(start), list(end))
