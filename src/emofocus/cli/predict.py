"""What `emofocus predict` does: paths in, a table, JSON, JSON lines or CSV out."""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple, TextIO

import click
from msgspec.structs import replace

from emofocus.cli.options import model_option, precision_options, ray_option, smoothing_option, with_options
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.recognition.bulk import BATCH, MANIFESTS, Item, items_of, recognize
from emofocus.recognition.bulk import Result as Recognized
from emofocus.recognition.options import DEFAULT_OPTIONS, RecognitionOptions
from emofocus.recognition.recognizer import Prediction, Recognizer
from emofocus.recognition.results_file import Appended, settings_of
from emofocus.utils.atomic import replacing
from emofocus.utils.progress import log_progress

FORMATS = ("table", "json", "jsonl", "csv")
COLUMNS = ("file", "emotion", "probability", "next likely", "seconds")
UNSURE = "?"
UNTOLD = "unlike"
"""Of warnings: one good clip in seven has it, so that a table says more without (`docs/limits.md`)."""
UNWRITABLE = "backslashreplace"
Result = tuple[str, Prediction]


def predict_files(
    paths: Sequence[Path],
    model: str | None,
    format: str,
    out: Path | None,
    options: RecognitionOptions = DEFAULT_OPTIONS,
    workers: int | None = None,
) -> int:
    """Recognize files, folders and what manifests name, in parallel, and write the results in order.

    A file that cannot be recognized is named on stderr with its reason and does not stop the others. A file of csv or
    jsonl is written row by row: the same command goes on where it was interrupted, and tries again what failed.

    Args:
        paths: Files, folders that are walked, and manifests (`emofocus.recognition.bulk.MANIFESTS`).
        model: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
        format: One of `FORMATS`. ``json`` is one object for one file, a list otherwise.
        out: File to write; stdout when None.
        options: How the model is loaded; threads and the optimization of the graph follow from the number of files.
        workers: Clips recognized side by side; by default as many as there are cores.

    Returns:
        How many failed.

    Raises:
        ConfigError: The format is unknown, a manifest cannot be read, or ``out`` holds results of another model or of
            other settings.
        ModelError: The model cannot be loaded.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r} ({one_of(FORMATS)})")
    one = len(paths) == 1 and not paths[0].is_dir() and paths[0].suffix.lower() not in MANIFESTS
    recognizer = Recognizer.load(model, replace(options, threads=None if one else 1, optimize_graph=not one))
    failures: list[str] = []
    items = items_of(paths, lambda error: _report(error, failures))
    rows = rows_of(format, recognizer.labels, parts=any(path.suffix.lower() in MANIFESTS for path in paths))
    if out is not None and format in ("csv", "jsonl"):
        with Appended(out, format, settings_of(recognizer), rows.header) as file:
            for batch in _watched(recognize(recognizer, items, workers, done=file.holds), out):
                new = [(item, told) for item, told in _good(batch, failures) if not file.holds(item)]
                file.append([(item, rows.row(item, told)) for item, told in new])
        return len(failures)
    results = (result for batch in recognize(recognizer, items, workers, 1 if one else BATCH) for result in batch)
    named = ((item.name, told) for item, told in _good(results, failures))
    with _output(out) as stream:
        if format == "table":
            _write_table(named, stream, recognizer.threshold)
        elif format in ("csv", "jsonl"):
            _write_rows(_good(results, failures), stream, rows)
        else:
            _write_json(named, stream, single=one)
    return len(failures)


def _good(results: Iterable[Recognized], failures: list[str]) -> Iterator[tuple[Item, Prediction]]:
    for item, told in results:
        if isinstance(told, AudioError):
            _report(told, failures)
        else:
            yield item, told


def _watched(batches: Iterable[list[Recognized]], out: Path) -> Iterator[list[Recognized]]:
    """Say now and then how far it is."""
    files, heard = 0, 0.0

    def counted() -> Iterator[list[Recognized]]:
        nonlocal files, heard
        for batch in batches:
            files += len(batch)
            heard += sum(told.duration for _, told in batch if isinstance(told, Prediction))
            yield batch

    def line(_: list[Recognized], spent: float) -> str:
        return f"{out}: {files} files, {files / spent:.1f} a second, {heard / spent:.0f} times as fast as they last"

    return log_progress(counted(), line)


def _report(error: AudioError, failures: list[str]) -> None:
    failures.append(str(error))
    print(f"emofocus: {error}", file=sys.stderr, flush=True)


@contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        if isinstance(sys.stdout, TextIOWrapper):  # a terminal may know neither █ nor a file's name
            sys.stdout.reconfigure(errors=UNWRITABLE)
        yield sys.stdout
        return
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder, not a file to write")
    try:
        with replacing(out) as file, file.open("w", -1, "utf-8", UNWRITABLE, newline="") as stream:
            yield stream
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error


def _write_json(results: Iterable[Result], stream: TextIO, single: bool) -> None:
    found = [{"file": file, **prediction.to_dict()} for file, prediction in results]
    if single and not found:
        return
    json.dump(found[0] if single else found, stream, indent=1)
    stream.write("\n")


class Rows(NamedTuple):
    """A format of one line a clip: its first line, "" if it has none, and a line."""

    header: str
    row: Callable[[Item, Prediction], str]


def rows_of(format: str, labels: Sequence[str], parts: bool) -> Rows:
    """How lines of a format are written; ``parts`` of files need columns of their own."""
    if format == "jsonl":
        return Rows("", _json_row)
    times = ("start", "end") if parts else ()
    header = ["file", *times, "label", "confident", "warnings", "duration", *(f"p_{label}" for label in labels)]

    def row(item: Item, prediction: Prediction) -> str:
        confident = str(prediction.confident).lower()  # as JSON spells it
        warnings = "; ".join(prediction.warnings)
        told = (prediction.label, confident, warnings, prediction.duration, *prediction.scores.values())
        return _csv_line([*(item.key if parts else item.key[:1]), *told])

    return Rows(_csv_line(header), row)


def _csv_line(cells: Iterable[object]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _json_row(item: Item, prediction: Prediction) -> str:
    times = {name: value for name, value in (("start", item.start), ("end", item.end)) if value is not None}
    return json.dumps({"file": item.name, **times, **prediction.to_dict()}) + "\n"


def _write_rows(results: Iterable[tuple[Item, Prediction]], stream: TextIO, rows: Rows) -> None:
    stream.write(rows.header)
    for item, prediction in results:
        stream.write(rows.row(item, prediction))
        stream.flush()


def _write_table(results: Iterable[Result], stream: TextIO, threshold: float) -> None:
    rows, notes, sure = [], [], True
    for file, prediction in results:  # rows alone are kept: timelines of many files would fill the memory
        rows.append(_table_row(file, prediction))
        notes += [f"! {file}: {text}" for text in prediction.warnings if not text.startswith(UNTOLD)]
        sure &= prediction.confident
    if rows and stream.isatty():
        _print_rich(rows, stream)
    elif rows:  # rich takes a while to start, and a pipe sees none of it
        widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
        for row in (COLUMNS, *rows):
            stream.write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    if not sure:
        stream.write(f"{UNSURE} unsure: its probability is below the threshold, {threshold:g}\n")
    stream.writelines(f"{note}\n" for note in notes)


def _table_row(file: str, prediction: Prediction) -> tuple[str, ...]:
    (label, score), *others = sorted(prediction.scores.items(), key=lambda item: -item[1])
    bar = f"{'█' * round(10 * score):░<10} {score:4.0%}"
    return (
        file,
        label if prediction.confident else label + UNSURE,
        bar,
        ", ".join(f"{name} {share:.0%}" for name, share in others[:2]),
        f"{prediction.duration:.1f}",
    )


def _print_rich(rows: Sequence[tuple[str, ...]], stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    Console(file=stream).print(table)


@click.command()
@click.argument("paths", nargs=-1, required=True)
@model_option()
@with_options(precision_options())
@click.option(
    "-f",
    "--format",
    default="table",
    help="table, json, jsonl or csv; with --timeline table, json, csv, srt, vtt, audacity, textgrid, audformat or png.",
)
@click.option("-o", "--out", show_default="the terminal", help="File to write; with --ray, a folder's path or URI.")
@click.option("--threshold", type=float, metavar="P", show_default="the model's", help="Answers below it are unsure.")
@click.option("--workers", type=click.IntRange(min=1), show_default="all cores", help="Clips recognized side by side.")
@click.option("--timeline", is_flag=True, help="From when to when which emotion is heard, in recordings of any length.")
@click.option("--hop", type=float, metavar="SECONDS", show_default="the model's", help="From segment to segment.")
@smoothing_option("With --timeline: time of averaging.")
@ray_option()
@click.option("--part", default=256, metavar="CLIPS", help="With --ray: clips of a task, and of a file of results.")
def predict(
    paths: tuple[str, ...],
    model: str | None,
    precision: str,
    device: str,
    format: str,
    out: str | None,
    threshold: float | None,
    workers: int | None,
    timeline: bool,
    hop: float | None,
    smoothing_seconds: float,
    ray: str | None,
    part: int,
) -> None:
    """Recognize the emotion in audio files.

    PATHS are audio files, folders that are searched for some, and lists of files (.csv or .jsonl with a column, or key,
    file). A file that cannot be recognized is named on stderr and makes the exit code 1; the others are recognized all
    the same. With --out and csv or jsonl, the same command goes on where it was interrupted.

    An answer that is less probable than the threshold is marked: `?` in the table, "confident": false in JSON.

    With --ray, a cluster does it. Paths and OUT may be URIs, such as s3://bucket/folder, and results are Parquet below
    OUT.
    """
    options = RecognitionOptions(threshold=threshold, hop=hop, precision=precision, device=device)
    if ray is not None:
        from emofocus.cluster.bulk import predict_on_ray

        failed = predict_on_ray(paths, ray, _cluster_output(timeline, format, out), model, options, workers, part)
    else:
        files, file = _local_paths(paths, out)
        if timeline:
            from emofocus.cli.timeline import write_timelines

            failed = write_timelines(files, model, format, file, options, smoothing_seconds)
        else:
            failed = predict_files(files, model, format, file, options, workers)
    if failed:
        sys.exit(1)


def _local_paths(sources: Sequence[str], out: str | None) -> tuple[list[Path], Path | None]:
    """Paths of this machine, to read and to write.

    Raises:
        ConfigError: One is a URI, which only a cluster reads and writes.
    """
    for text in (*sources, out or ""):
        if "://" in text and not Path(text).exists():
            shown = re.sub(r"//[^/]*@", "//", text)  # without secrets
            raise ConfigError(f"{shown}: a URI is read and written with --ray, such as --ray local")
    return [Path(source) for source in sources], None if out is None else Path(out)


def _cluster_output(timeline: bool, format: str, out: str | None) -> str:
    """Folder to which a cluster writes.

    Raises:
        ConfigError: There is none, or a cluster cannot write that.
    """
    if timeline or format not in ("table", "parquet"):
        raise ConfigError("--ray writes Parquet: --timeline and other formats are for the local command")
    if out is None:
        raise ConfigError("--ray needs --out, the path or URI of a folder for the results")
    return out
