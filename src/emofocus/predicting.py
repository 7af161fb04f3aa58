"""What `emofocus predict` does: paths in, a table, JSON, JSON lines or CSV out."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from emofocus import audio
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.files import replacing
from emofocus.recognizer import Prediction, Recognizer

FORMATS = ("table", "json", "jsonl", "csv")
COLUMNS = ("file", "emotion", "probability", "next likely", "seconds")
UNSURE = "?"
UNWRITABLE = "backslashreplace"
Result = tuple[str, Prediction]


def predict_files(
    paths: Sequence[Path],
    model: str | None,
    format: str,
    out: Path | None,
    threshold: float | None = None,
    hop: float | None = None,
) -> int:
    """Recognise files and folders, and write the results.

    A file that cannot be recognised is named on stderr with its reason and does not stop the others.

    Args:
        paths: Files, and folders that are walked.
        model: As in `Recognizer.from_pretrained`.
        format: One of `FORMATS`. ``json`` is one object for one file, a list otherwise.
        out: File to write, atomically; stdout when None.
        threshold: As in `Recognizer.from_pretrained`.
        hop: As there.

    Returns:
        How many failed.

    Raises:
        ConfigError: Unknown format, or a threshold that is no probability.
        ModelError: The model cannot be loaded.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r} ({one_of(FORMATS)})")
    recognizer = Recognizer.from_pretrained(model, threshold=threshold, hop=hop)
    failures: list[str] = []
    results = _recognise(recognizer, paths, failures)
    with _output(out) as stream:
        if format == "table":
            _write_table(results, stream, recognizer.threshold)
        elif format == "csv":
            _write_csv(results, stream, recognizer.labels)
        elif format == "jsonl":
            _write_jsonl(results, stream)
        else:
            _write_json(results, stream, single=len(paths) == 1 and not paths[0].is_dir())
    return len(failures)


def _recognise(recognizer: Recognizer, paths: Sequence[Path], failures: list[str]) -> Iterator[Result]:
    for path in paths:
        try:
            files = audio.find([path])
        except AudioError as error:
            _report(error, failures)
            continue
        for file in files:
            try:
                yield str(file), recognizer(file)
            except AudioError as error:
                _report(error, failures)


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


def _write_jsonl(results: Iterable[Result], stream: TextIO) -> None:
    for file, prediction in results:
        stream.write(json.dumps({"file": file, **prediction.to_dict()}) + "\n")
        stream.flush()


def _write_csv(results: Iterable[Result], stream: TextIO, labels: Sequence[str]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "label", "confident", "duration", *(f"p_{label}" for label in labels)])
    for file, prediction in results:
        confident = str(prediction.confident).lower()  # as JSON spells it
        writer.writerow([file, prediction.label, confident, prediction.duration, *prediction.scores.values()])
        stream.flush()


def _write_table(results: Iterable[Result], stream: TextIO, threshold: float) -> None:
    rows, sure = [], True
    for file, prediction in results:  # rows alone are kept: timelines of many files would fill the memory
        rows.append(_table_row(file, prediction))
        sure &= prediction.confident
    if rows and stream.isatty():
        _print_rich(rows, stream)
    elif rows:  # rich takes a while to start, and a pipe sees none of it
        widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
        for row in (COLUMNS, *rows):
            stream.write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    if not sure:
        stream.write(f"{UNSURE} unsure: its probability is below the threshold, {threshold:g}\n")


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
