"""What `emofocus predict` does: paths in, a table, JSON, JSON lines or CSV out."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from emofocus import audio
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.files import replacing
from emofocus.recognizer import Prediction, Recognizer

FORMATS = ("table", "json", "jsonl", "csv")
Result = tuple[str, Prediction]


def predict_files(paths: Sequence[Path], model: str | None, format: str, out: Path | None) -> int:
    """Recognise files and folders, and write the results.

    A file that cannot be recognised is named on stderr with its reason and does not stop the others.

    Args:
        paths: Files, and folders that are walked.
        model: As in `Recognizer.from_pretrained`.
        format: One of `FORMATS`. ``json`` is one object for one file, a list otherwise.
        out: File to write, atomically; stdout when None.

    Returns:
        How many failed.

    Raises:
        ConfigError: Unknown format.
        ModelError: The model cannot be loaded.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r} ({one_of(FORMATS)})")
    recognizer = Recognizer.from_pretrained(model)
    failures: list[str] = []
    results = _recognise(recognizer, paths, failures)
    with _output(out) as stream:
        if format == "table":
            _write_table(results, stream)
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
        yield sys.stdout
        return
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        yield stream


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
    writer.writerow(["file", "label", "duration", *(f"p_{label}" for label in labels)])
    for file, prediction in results:
        writer.writerow([file, prediction.label, prediction.duration, *prediction.scores.values()])
        stream.flush()


def _write_table(results: Iterable[Result], stream: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = list(results)
    if not rows:
        return
    table = Table("file", "emotion", "probability", "next likely", "seconds", box=box.SIMPLE_HEAD)
    for file, prediction in rows:
        ranked = sorted(prediction.scores.items(), key=lambda item: -item[1])
        others = ", ".join(f"{label} {score:.0%}" for label, score in ranked[1:3])
        table.add_row(file, prediction.label, _bar(ranked[0][1]), others, f"{prediction.duration:.1f}")
    Console(file=stream).print(table)


def _bar(share: float) -> str:
    return f"{'█' * round(10 * share):░<10} {share:4.0%}"
