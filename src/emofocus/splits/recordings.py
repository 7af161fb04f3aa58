"""Recordings behind utterances: cuts and altered copies that share one, found in a table.

The evidence is the column ``source``, times in one file, and names such as ``a_noise.wav`` beside ``a.wav``.
"""

import polars as pl

ALTERED = (
    "(?:aug(?:mented)?|augmentation|noise|noisy|white[_-]?noise|pitch(?:ed|[_-]?shift(?:ed)?)?|shift(?:ed)?|"
    r"(?:time[_-]?)?stretch(?:ed)?|speed|sp\d\.\d|tempo|reverb(?:ed)?|rvb|gain|volume|vol|echo|rev(?:ersed)?|"
    r"flip(?:ped)?|spec[_-]?aug|copy|dup(?:licate)?|mixup|vtlp)"
)
_NUMBER = r"\d*(?:\.\d+)?x?"
CUT = r"(?:seg(?:ment)?|chunk|part|piece|slice|window|win|crop|cut)[_-]?\d+(?:of\d+)?"

_SUFFIX = rf"(?i)^(.+?)(?:[_.-](?:{ALTERED}[+-]?{_NUMBER}|{CUT}))+$"
_PREFIX = rf"(?i)^(?:{ALTERED}{_NUMBER}[_-])+(.+)$"
_CUTS = rf"(?i)^(.+?)(?:[_.-](?:{CUT}))+$"


def recordings(table: pl.DataFrame) -> pl.Series:
    """Name of the recording behind each utterance.

    Args:
        table: Columns ``key``, ``file``, ``source``, ``start`` and ``end``.

    Returns:
        Names (U,), equal for cuts and altered copies of one recording.
    """
    timed = pl.col("start").is_not_null() | pl.col("end").is_not_null()
    recording = pl.when(timed).then("file").otherwise(stripped_names(table)).alias("recording")
    table = table.select("key", "source", recording)
    origin = table.select(source="key", origin="recording").unique("source", keep="first")
    known = table.join(origin, on="source", how="left", maintain_order="left")["origin"]
    named = pl.coalesce(known, pl.when(pl.col("source") == "").then("recording").otherwise("source"))
    return table.select(named.alias("recording"))["recording"]


def stripped_names(table: pl.DataFrame) -> pl.Series:
    """Key of each utterance, or the key of its original where its name is that of an altered copy or a cut.

    The stripped name must belong to an utterance of the same folder, or to exactly one of the table. Cuts belong
    together even if their original is absent.
    """
    path = pl.col("file").str.replace(r"\.[A-Za-z0-9]+$", "")
    names = table.select(
        "key",
        folder=path.str.extract(r"^(.*/)").fill_null(""),
        name=path.str.extract(r"([^/]+)$").fill_null(""),
    )
    base = pl.coalesce(
        pl.col("name").str.extract(_SUFFIX).str.replace(_PREFIX, "$1"), pl.col("name").str.extract(_PREFIX)
    )
    names = names.with_columns(base=base, cut_from=pl.col("name").str.extract(_CUTS))
    if names["base"].null_count() == len(names):
        return names["key"].alias("name")
    return _owner_of_base(names)


def _owner_of_base(names: pl.DataFrame) -> pl.Series:
    """Key of the utterance with each base name; without one, the original of a cut, or the utterance's own key."""
    same_folder = names.select("folder", base="name", here="key").unique(["folder", "base"])
    anywhere = names.group_by(base="name").agg(there=pl.col("key").first(), rivals=pl.len())
    owners = names.join(same_folder, on=["folder", "base"], how="left", maintain_order="left").join(
        anywhere.filter(pl.col("rivals") == 1), on="base", how="left", maintain_order="left"
    )
    return owners.select(name=pl.coalesce("here", "there", pl.format("{}{}", "folder", "cut_from"), "key"))["name"]
