"""A folder with a folder for each class: the simplest way to label recordings."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from emofocus import audio
from emofocus.corpora.corpus import SCHEMA, with_keys
from emofocus.errors import CorpusError
from emofocus.utils.progress import log_line


def read_class_folders(root: Path, speaker_of: Callable[[str], str]) -> pl.DataFrame:
    """Read the recordings of a folder, each labeled with the name of the folder below it in which it lies.

    Recordings beside the folders have no label: they are left out, and counted on stderr.

    Args:
        root: Folder of the folders, in each of which the recordings may lie at any depth.
        speaker_of: File → speaker, or an empty string where its name tells none.

    Returns:
        Table with the columns of `SCHEMA`, sorted by file. Speakers are known all or not at all.

    Raises:
        CorpusError: No folder in it holds a recording.
        AudioError: It holds no recording at all, or cannot be read.
    """
    files = [path.relative_to(root) for path in audio.find([root])]
    inside = [file for file in files if len(file.parts) > 1]
    if not inside:
        raise CorpusError(
            f"{root}: {len(files)} recordings lie in it, and no folder for each class; "
            "put them in folders that are called after their emotions, or name a manifest"
        )
    if len(inside) < len(files):
        log_line(f"{root}: {len(files) - len(inside)} recordings in no class' folder are LEFT OUT")
    speakers = [speaker_of(file.as_posix()) for file in inside]
    if not all(speakers):
        log_line(f"{root}: the names of its files tell no speakers")
        speakers = [""] * len(inside)
    table = pl.DataFrame(
        {
            "file": [file.as_posix() for file in inside],
            "emotion": [file.parts[0] for file in inside],
            "speaker": speakers,
        }
    )
    unknown = [pl.lit(None if kind == pl.Float64() else "", kind).alias(name) for name, kind in SCHEMA.items()]
    rest = [column for name, column in zip(SCHEMA, unknown, strict=True) if name not in table.columns]
    return _with_distinct_keys(with_keys(table.with_columns(rest).select(list(SCHEMA))))


def _with_distinct_keys(table: pl.DataFrame) -> pl.DataFrame:
    """Let files that differ in their suffix alone have keys that differ."""
    repeated = table["key"].is_duplicated()
    return table.with_columns(key=pl.when(repeated).then(pl.col("file")).otherwise(pl.col("key")))
