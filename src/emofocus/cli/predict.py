"""`emofocus predict`: the emotions of files as a table, JSON, JSON lines or CSV."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

import click
from msgspec.structs import replace

from emofocus.cli.interruption import resumable
from emofocus.cli.options import (
    FILE,
    Names,
    model_option,
    precision_options,
    ray_option,
    smoothing_option,
    voice_option,
    voices_options,
    window_option,
    with_options,
)
from emofocus.cli.tally import Tally
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.recognition.bulk import BATCH, NO_VOICES, ClipResult, Item, batched, is_list, items_of, recognize
from emofocus.recognition.channel_choice import ChannelChoice
from emofocus.recognition.options import DEFAULT_OPTIONS, RecognitionOptions
from emofocus.recognition.recognizer import Prediction, Recognizer
from emofocus.utils.atomic import is_device, replacing
from emofocus.utils.file_formats import format_of
from emofocus.utils.folder_tree import is_folder
from emofocus.utils.progress import log_line, log_progress, shows_bars

if TYPE_CHECKING:
    from emofocus.recognition.speakers import VoiceGroups

SUFFIXES = {".txt": "table", ".json": "json", ".jsonl": "jsonl", ".csv": "csv"}
"""Suffixes of files, and their formats."""

FORMATS = tuple(SUFFIXES.values())

COLUMNS = ("file", "emotion", "probability", "next likely", "seconds")
WRAPPED = "next likely"
"""Column that is broken into lines on a narrow terminal."""
UNSURE = "?"
"""Mark of an answer that is less probable than the threshold."""
PADDING = 2
"""Blanks between two columns of the table on a terminal."""
NARROWEST_NAME = 24
"""Letters of a file's name on a terminal, at least: enough for its end and the times of a part."""
UNWRITABLE = "backslashreplace"
"""Handler of characters that the encoding of the output lacks."""


def predict_files(
    paths: Sequence[Path],
    model: str | None,
    format: str | None = None,
    out: Path | None = None,
    options: RecognitionOptions = DEFAULT_OPTIONS,
    workers: int | None = None,
    groups: "VoiceGroups | None" = None,
    channels: ChannelChoice | None = None,
) -> int:
    """Recognize files, folders and manifests in parallel, and write the results in order.

    A file that cannot be recognized is named on stderr with its reason and does not stop the others. A file of csv or
    jsonl is written row by row: the same command goes on where it was interrupted, and tries failed files again.

    Args:
        paths: Files, folders that are walked, lists of clips, and ``-`` for the standard input.
        model: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
        format: One of `FORMATS`; by default that of the file's suffix, or a table. ``json`` is one object for
            one file, a list otherwise.
        out: File to write; stdout when None.
        options: How the model is loaded; threads and the optimization of the graph follow from the number of files.
        workers: Clips recognized side by side; by default as many as there are cores.
        groups: How clips are divided by voice, each of which is heard first and then recognized as adapted to it; None
            to adapt to nobody, or to the voice of ``options``.
        channels: Channels that have a prediction each; None for one prediction of their mean.

    Returns:
        Number of files that could not be recognized.

    Raises:
        ConfigError: The format is unknown, a list cannot be read, the model cannot be adapted, or ``out`` holds results
            of another model, of other voices or of other settings.
        ModelError: The model cannot be loaded.
    """
    if out is not None and out.is_dir():
        raise ConfigError(f"{out}: is a folder, not a file to write")
    format = format_of(format, out, SUFFIXES, "table")
    if format not in FORMATS:
        raise ConfigError(f"unknown format {format!r} ({one_of(FORMATS)})")
    lists = any(map(is_list, paths))
    one = len(paths) == 1 and not lists and not is_folder(paths[0]) and channels is None
    recognizer = Recognizer.load(model, replace(options, threads=None if one else 1, optimize_graph=not one))
    voices = NO_VOICES if groups is None else groups.recognizers(recognizer, paths, workers)
    run = _Run(recognizer, workers, 1 if one else BATCH, None if groups is None else voices)
    items = (items_of if groups is None else groups.items)(paths, run.tally.report)
    items = items if channels is None else channels.items(items, options.track)
    if out is not None and format in ("csv", "jsonl") and not is_device(out):
        from emofocus.recognition.results_file import ResultsFile, settings_of  # imported here: others start without

        row_format = row_format_of(format, recognizer.labels, lists, channels is not None)
        chosen = {"channels": None if channels is None else channels.to_plain()}
        file = ResultsFile(out, format, settings_of(recognizer, voices) | chosen, row_format.header)
        with resumable(out), file:
            for item, prediction in run.predictions(items, str(out), file.holds):
                file.append([(item, row_format.row(item, prediction))])
    else:
        rows_on_terminal = out is None and format in ("csv", "jsonl")
        predictions = run.predictions(items, None if one or rows_on_terminal else str(out or "predict"))
        with _output(out) as stream:
            if format == "table":
                _write_table(predictions, stream, recognizer.threshold)
            elif format in ("csv", "jsonl"):
                _write_rows(predictions, stream, row_format_of(format, recognizer.labels, lists, channels is not None))
            else:
                _write_json(predictions, stream, single=one)
    if out is not None or run.tally.unadapted:
        log_line(f"{out or 'predict'}: {run.tally}")
    return run.tally.failed


class _Run:
    """Recognition of many clips: reports those that fail, shows progress, and counts.

    Args:
        recognizer: Recognizes.
        workers: Clips recognized side by side.
        batch: Clips scored together.
        voices: Recognizers that are adapted to voices, by the names of these; None where nothing is adapted.

    Attributes:
        tally: Counts of clips; rows of lists that name no clip have failed.
    """

    def __init__(
        self, recognizer: Recognizer, workers: int | None, batch: int, voices: Mapping[str, Recognizer] | None
    ) -> None:
        self._recognizer, self._workers, self._batch, self._voices = recognizer, workers, batch, voices
        self.tally, self._seconds = Tally(), 0.0

    def predictions(
        self, items: Iterable[Item], title: str | None, held: Callable[[Item], bool] = lambda _: False
    ) -> Iterator[tuple[Item, Prediction]]:
        """Clips that were recognized, and not before.

        Args:
            items: All clips.
            title: Name of the work in a bar on a terminal, and in lines elsewhere; None to show neither.
            held: Whether a clip was recognized before.
        """
        total = None
        if title is not None and shows_bars():
            items = list(items)
            total = sum(len(group) for group in batched(items, self._batch) if not all(map(held, group)))
        taken = _Counted(items)
        voices = NO_VOICES if self._voices is None else self._voices
        results = recognize(self._recognizer, taken, self._workers, self._batch, held, voices)
        shown = results if title is None else log_progress(results, self._line(title), title, total, len)
        for batch in shown:
            for item, result in batch:
                if held(item):
                    continue
                if isinstance(result, AudioError):
                    self.tally.report(result)
                    taken.count -= 1
                    continue
                self.tally.done, self._seconds = self.tally.done + 1, self._seconds + result.duration
                self.tally.unadapted += self._voices is not None and item.voice not in self._voices
                yield item, result
        self.tally.present = taken.count - self.tally.done

    def _line(self, title: str) -> Callable[[list[ClipResult], float], str]:
        def line(_: list[ClipResult], spent: float) -> str:
            done = self.tally.done
            speed = f"{done / spent:.1f} a second, {self._seconds / spent:.0f} times as fast as they last"
            return f"{title}: {done} files, {speed}"

        return line


class _Counted:
    """Clips, and how many of them have been taken."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items, self.count = items, 0

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            self.count += 1
            yield item


@contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        if isinstance(sys.stdout, TextIOWrapper):  # a terminal may know neither █ nor a file's name
            sys.stdout.reconfigure(errors=UNWRITABLE)
        yield sys.stdout
        return
    try:
        with replacing(out) as file, file.open("w", -1, "utf-8", UNWRITABLE, newline="") as stream:
            yield stream
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from error


def _write_json(predictions: Iterable[tuple[Item, Prediction]], stream: TextIO, single: bool) -> None:
    objects = [item.to_dict() | prediction.to_dict() for item, prediction in predictions]
    if single and not objects:
        return
    json.dump(objects[0] if single else objects, stream, indent=1)
    stream.write("\n")


class RowFormat(NamedTuple):
    """A format of one line for each clip.

    Attributes:
        header: First line, or an empty text.
        row: Returns the line of a clip.
    """

    header: str
    row: Callable[[Item, Prediction], str]


def row_format_of(format: str, labels: Sequence[str], parts: bool, channels: bool = False) -> RowFormat:
    """Lines of csv or jsonl.

    Args:
        format: ``csv`` or ``jsonl``.
        labels: Emotions of the model.
        parts: Whether clips are parts of files, whose start and end have columns.
        channels: Whether clips are channels of files, whose names have a column.
    """
    if format == "jsonl":
        return RowFormat("", _json_row)
    from emofocus.recognition.results_file import csv_line  # imported here: prediction starts without it

    keys = {"file": True, "start": parts, "end": parts, "channel": channels}
    columns = [*(name for name, shown in keys.items() if shown), "label", "confident", "warnings", "duration"]
    header = [*columns, *(f"p_{label}" for label in labels)]

    def row(item: Item, prediction: Prediction) -> str:
        confident = str(prediction.confident).lower()  # as JSON spells it
        warnings = "; ".join(prediction.warnings)
        clip = compress(item.key, keys.values())
        return csv_line(
            [*clip, prediction.label, confident, warnings, prediction.duration, *prediction.scores.values()]
        )

    return RowFormat(csv_line(header), row)


def _json_row(item: Item, prediction: Prediction) -> str:
    return json.dumps(item.to_dict() | prediction.to_dict()) + "\n"


def _write_rows(predictions: Iterable[tuple[Item, Prediction]], stream: TextIO, row_format: RowFormat) -> None:
    stream.write(row_format.header)
    for item, prediction in predictions:
        stream.write(row_format.row(item, prediction))
        stream.flush()


def _write_table(predictions: Iterable[tuple[Item, Prediction]], stream: TextIO, threshold: float) -> None:
    rows, notes, sure = [], [], True
    for item, prediction in predictions:  # rows alone are kept: timelines of many files would fill the memory
        rows.append(_table_row(item.title, prediction))
        notes += [f"! {item.title}: {notice}" for notice in prediction.notices]
        sure &= prediction.confident
    if rows and stream.isatty():
        _print_rich(rows, stream)
    elif rows:  # without rich, which takes a while to start: a pipe shows no colors
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
    from rich.text import Text

    console = Console(file=stream)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        table.add_column(name, no_wrap=name != WRAPPED)
    others = sum(max(map(len, column)) + PADDING for column in list(zip(COLUMNS, *rows, strict=True))[1:])
    for name, *cells in rows:
        table.add_row(Text(shortened(name, max(NARROWEST_NAME, console.width - others - 1))), *cells)
    console.print(table)


def shortened(name: str, width: int) -> str:
    """A name in at most so many columns: the middle is left out, for most names differ at their ends."""
    from rich.cells import cell_len

    head, tail = name[: width // 5], name
    if cell_len(name) <= width:
        return name
    while cell_len(head) > width // 5:
        head = head[:-1]
    while cell_len(head) + 1 + cell_len(tail) > width:
        tail = tail[1:]
    return f"{head}…{tail}"


@click.command()
@click.argument("paths", nargs=-1, required=True)
@model_option()
@with_options(precision_options())
@click.option(
    "-f",
    "--format",
    show_default="by the suffix of --out; else table",
    type=Names("table", "json", "jsonl", "csv", "srt", "vtt", "audacity", "textgrid", "audformat", "png"),
    help="How results are written; those behind csv need --timeline, and jsonl cannot have it. With --segments: "
    "its own format, json or csv.",
)
@click.option("-o", "--out", show_default="the terminal", help="File to write; with --ray, a folder's path or URI.")
@click.option("--threshold", type=float, metavar="P", show_default="the model's", help="Answers below it are unsure.")
@click.option("--classes", metavar="NAME,NAME…", show_default="all", help="Emotions to choose from, of the model's.")
@click.option(
    "--embeddings",
    type=click.Path(path_type=Path),
    metavar="F.parquet",
    show_default="none",
    help="File to which the embedding of each clip is written too, with the extra [notebook].",
)
@click.option("--workers", type=click.IntRange(min=1), show_default="all cores", help="Clips recognized side by side.")
@click.option("--timeline", is_flag=True, help="Emotions over time, in recordings of any length.")
@click.option("--hop", type=float, metavar="SECONDS", show_default="the model's", help="Time from segment to segment.")
@window_option("the model's")
@click.option("--segments", type=FILE, help="Diarization or transcript, to be written again with each turn's emotion.")
@click.option(
    "--channels",
    metavar="each|N|NAME=N,…",
    show_default="their mean",
    help="Channels that are heard apart, and names.",
)
@click.option("--track", type=int, metavar="N", show_default="the file's default", help="Audio track to read, from 1.")
@voice_option()
@with_options(voices_options())
@smoothing_option("With --timeline: time over which scores are averaged.")
@ray_option()
@click.option("--part", default=256, metavar="CLIPS", help="With --ray: clips in a task, and in a file of results.")
def predict(
    paths: tuple[str, ...],
    model: str | None,
    precision: str,
    device: str,
    format: str | None,
    out: str | None,
    threshold: float | None,
    classes: str | None,
    embeddings: Path | None,
    workers: int | None,
    timeline: bool,
    hop: float | None,
    window: float | None,
    segments: Path | None,
    channels: str | None,
    track: int | None,
    voice: str | None,
    by_speaker: str | None,
    by_folder: bool,
    smoothing_seconds: float,
    ray: str | None,
    part: int,
) -> None:
    """Recognize the emotion in audio files.

    PATHS are audio files, folders that are searched for them, and lists of files (.csv or .jsonl with a column, or key,
    file). A file that cannot be recognized is named on stderr and makes the exit code 1; the others are recognized.
    With --out and csv or jsonl, the same command goes on where it was interrupted. The suffix of --out names its
    format; --format, where it is given, decides.

    An answer that is less probable than the threshold is marked: `?` in the table, "confident": false in JSON.

    With --by-speaker or --by-folder, the clips of each voice are heard first, and recognized as adapted to it. Nobody's
    profile is kept. It needs a model that was trained for voices, as --voice does.

    With --segments, the only PATH is a recording, and FILE says who speaks when: a diarization (RTTM) or a transcript
    (Whisper's and whisperX' JSON, SRT, VTT, TextGrid, or CSV with columns start and end). The same file is written,
    with the emotion of each turn. --channels each takes each turn's channel from FILE; agent=1,customer=2 takes it from
    the names of the speakers.

    With --ray, a cluster recognizes. PATHS and OUT may then be URIs, such as s3://bucket/folder, and results are
    Parquet files below OUT.
    """
    options = RecognitionOptions(
        threshold=threshold,
        hop=hop,
        window=window,
        precision=precision,
        device=device,
        track=track,
        voice=voice,
        labels=None if classes is None else tuple(name.strip() for name in classes.split(",")),
    )
    groups = _voice_groups(by_speaker, by_folder, voice, ray)
    if embeddings is not None:
        others = timeline, ray, groups, segments, channels
        _refuse_embeddings(embeddings, paths, any(other not in (None, False) for other in others))
    if ray is not None:
        from emofocus.cluster.bulk import BulkOptions, predict_on_ray

        cluster = BulkOptions(address=ray, workers=workers, part=part)
        folder = _cluster_output({"--timeline": timeline, "--segments": segments, "--channels": channels}, format, out)
        with resumable(folder):
            failed = predict_on_ray(paths, folder, model, options, cluster)
    else:
        files, file = _local_paths(paths, out)
        choice = None if channels is None else ChannelChoice.parse(channels)
        if segments is not None:
            from emofocus.cli.turns import write_turns

            _refuse_beside_segments({"--timeline": timeline, "--by-speaker": by_speaker, "--by-folder": by_folder})
            failed = write_turns(files, segments, model, format, file, options, choice)
        elif timeline:
            from emofocus.cli.timeline import write_timelines

            failed = write_timelines(files, model, format, file, options, smoothing_seconds, groups, choice)
        else:
            failed = predict_files(files, model, format, file, options, workers, groups, choice)
        if embeddings is not None:
            from emofocus.recognition.embeddings import write_embeddings

            write_embeddings(files, model, embeddings, options, workers)
    if failed:
        sys.exit(1)


def _voice_groups(by_speaker: str | None, by_folder: bool, voice: str | None, ray: str | None) -> "VoiceGroups | None":
    """How clips are divided by voice; None where that was not asked for.

    Raises:
        ConfigError: Two ways to adapt exclude each other, or a cluster cannot hear voices.
    """
    chosen = {"--by-speaker": by_speaker is not None, "--by-folder": by_folder, "--voice": voice is not None}
    names = [name for name, given in chosen.items() if given]
    if len(names) > 1:
        raise ConfigError(f"{' and '.join(names)} exclude each other: a clip is adapted to one voice")
    if by_speaker is None and not by_folder:
        return None
    if ray is not None:
        raise ConfigError(f"--ray cannot hear voices before it recognizes them: {names[0]} is for the local command")
    from emofocus.recognition.speakers import VoiceGroups  # imported here: few runs need it

    return VoiceGroups(by_speaker)


def _refuse_embeddings(out: Path, paths: Sequence[str], elsewhere: bool) -> None:
    """Refuse embeddings before any clip is recognized.

    Raises:
        ConfigError: The file is not Parquet, a clip can be read only once, or other ways to recognize are asked for.
    """
    from emofocus.recognition.embeddings import refuse  # imported here: few runs need it

    refuse([Path(path) for path in paths], out)
    if elsewhere:
        raise ConfigError(
            "--embeddings goes with neither --timeline, --segments, --channels, --ray, --by-speaker nor --by-folder"
        )


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


def _refuse_beside_segments(others: Mapping[str, object]) -> None:
    """Refuse other options that ask for another output (ConfigError)."""
    given = [name for name, value in others.items() if value]
    if given:
        raise ConfigError(f"--segments and {given[0]} exclude each other: turns have an emotion each")


def _cluster_output(local: Mapping[str, object], format: str | None, out: str | None) -> str:
    """Folder to which a cluster writes.

    Args:
        local: Options that only the local command has, and their values.
        format: The format that is asked for.
        out: The folder.

    Raises:
        ConfigError: There is none, or a cluster cannot write that.
    """
    given = [name for name, value in local.items() if value]
    if given or format not in (None, "table", "parquet"):
        raise ConfigError(f"--ray writes Parquet: {given[0] if given else 'other formats'} are for the local command")
    if out is None:
        raise ConfigError("--ray needs --out, the path or URI of a folder for the results")
    return out
