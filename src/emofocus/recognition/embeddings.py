"""Embeddings of many clips as one Parquet file: a row for each clip."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from emofocus import audio
from emofocus.errors import AudioError, ConfigError, MissingExtraError
from emofocus.recognition.bulk import STANDARD_INPUT, Item, items_of
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.prediction import Array
from emofocus.recognition.recognizer import Recognizer
from emofocus.segments import utterance_logits
from emofocus.utils.atomic import replacing
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.progress import log_line

SUFFIX = ".parquet"
"""Suffix of a file of embeddings."""


def write_embeddings(
    paths: Sequence[Path],
    model: str | None,
    out: Path,
    options: RecognitionOptions,
    workers: int | None = None,
    report: Callable[[AudioError], None] = lambda _: None,
) -> int:
    """Write the embedding of each clip, as `Recognizer.embed` gives it.

    Columns are file, start and end of a part, and embedding.

    Args:
        paths: Files, folders and lists, as in `items_of`.
        model: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
        out: Parquet file to write.
        options: How the model is loaded.
        workers: Number of threads; by default as many as there are cores.
        report: Called with the error of each clip that cannot be read.

    Returns:
        Number of clips in the file.

    Raises:
        ConfigError: The file has another suffix, or the standard input is among the paths.
        MissingExtraError: polars, which writes Parquet, is not installed.
        ModelError: The model cannot be loaded, or gives no embeddings.
    """
    refuse(paths, out)
    import polars as pl

    recognizer = Recognizer.load(model, replace(options, threads=1))
    rows = list(embedded(recognizer, items_of(paths, report), workers, report))
    schema = {"file": pl.String(), "start": pl.Float64(), "end": pl.Float64(), "embedding": pl.List(pl.Float32)}
    with replacing(out) as temporary:
        pl.DataFrame(rows, schema=pl.Schema(schema), orient="row").write_parquet(temporary)
    log_line(f"{out}: embeddings of {len(rows)} clips")
    return len(rows)


def refuse(paths: Sequence[Path], out: Path) -> None:
    """Refuse a file that is not Parquet, and clips that can be read only once (ConfigError); polars has to be there."""
    if out.suffix.lower() != SUFFIX:
        found = out.suffix or "no suffix"
        raise ConfigError(f"--embeddings {out}: {found!r} is no kind of file for it (valid: {SUFFIX})")
    if STANDARD_INPUT in paths:
        raise ConfigError("--embeddings reads clips again, which the standard input does not allow: name files")
    if find_spec("polars") is None:
        raise MissingExtraError("polars", "notebook")


def embedded(
    recognizer: Recognizer, items: Iterator[Item], workers: int | None, report: Callable[[AudioError], None]
) -> Iterator[tuple[Any, ...]]:
    """Name, times and embedding of each clip that can be read, in order; arguments are those of `write_embeddings`."""
    for item, result in map_ahead(partial(_embedding_of, recognizer), items, workers or os.cpu_count() or 1):
        if isinstance(result, AudioError):
            report(result)
        else:
            yield item.name, item.start, item.end, result.tolist()


def _embedding_of(recognizer: Recognizer, item: Item) -> tuple[Item, Array | AudioError]:
    try:
        blocks = audio.stream(str(item.path), track=recognizer.track, warn=lambda _: None)
        part = audio.part(blocks, item.name, item.start, item.end)
        return item, utterance_logits(*recognizer.scorer.embed_recording(part, item.name))
    except AudioError as error:
        return item, error
