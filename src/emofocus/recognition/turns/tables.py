"""Turns as JSON and CSV: Whisper's and whisperX' transcripts, diarizations, and tables of one's own."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from emofocus.errors import ConfigError
from emofocus.recognition.turns.parsed import Parsed, names_of_recording
from emofocus.recognition.turns.turn import Turn, TurnEmotion, channel_number
from emofocus.utils.table_text import column_name, delimiter_of, near, seconds_of

LISTS = ("segments", "diarization", "transcription")
"""Keys under which programs list turns: Whisper and whisperX; pyannote; whisper.cpp."""

RESULTS = ("emotion", "confident", "scores", "warnings", "reason")
"""Keys of JSON that hold results."""


def parse_json(text: str, name: str, recording: str) -> Parsed:
    """Read a transcript or a diarization: an object with one of `LISTS`, or the list alone.

    Args:
        text: Content of the file.
        name: Name of the file in errors.
        recording: Not used: these files name no recording.

    Raises:
        ConfigError: It is no JSON, has no such list, or one of the turns has no times.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: cannot be read as JSON ({error})") from error
    key = next((key for key in LISTS if isinstance(document, dict) and isinstance(document.get(key), list)), None)
    entries = document if isinstance(document, list) else document[key] if key else None
    if entries is None:
        names = ", ".join(map(repr, document)) if isinstance(document, dict) and document else "none"
        raise ConfigError(f"{name}: no list of turns (valid: {', '.join(map(repr, LISTS))}; it has the keys {names})")
    turns = turns_of_entries(entries, name)
    _refuse_results({key for entry in entries for key in entry}, RESULTS, name)

    def render(emotions: Sequence[TurnEmotion], _: Sequence[str]) -> str:
        found = [entry | emotion.findings() for entry, emotion in zip(entries, emotions, strict=True)]
        whole = found if key is None else document | {key: found}
        return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"

    return Parsed(turns, render)


def turns_of_entries(entries: Iterable[Any], name: str) -> list[Turn]:
    """Turns of JSON objects with ``start`` and ``end`` in seconds, or whisper.cpp's ``offsets`` in milliseconds.

    Raises:
        ConfigError: One is no object, or has no times.
    """
    return [_turn(entry, f"{name}: turn {number}") for number, entry in enumerate(entries, start=1)]


def _turn(entry: Any, place: str) -> Turn:
    """The turn of a mapping; ``place`` names it in errors."""
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{place} is {entry!r:.60}, and no object with start and end")
    offsets = entry.get("offsets")
    try:
        if isinstance(offsets, Mapping):
            start, end = (float(offsets[side]) / 1000 for side in ("from", "to"))
        else:
            start, end = (_time(entry, side) for side in ("start", "end"))
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ConfigError(f"{place}: needs start and end in seconds ({error})") from error
    speaker, text = entry.get("speaker"), entry.get("text")
    named = None if speaker is None or not str(speaker).strip() else str(speaker).strip()
    return Turn(start, end, named, str(text or "").strip(), channel_number(entry.get("channel")))


def _time(entry: Mapping[str, Any], side: str) -> float:
    """A time in seconds.

    Raises:
        ValueError: It is not there, or no time.
    """
    seconds = seconds_of(entry.get(side), side)
    if seconds is None:
        raise ValueError(f"its {side} is not there")
    return seconds


def parse_csv(text: str, name: str, recording: str) -> Parsed:
    """Read a table with the columns start and end, in seconds, and perhaps speaker, text, channel and file.

    Args:
        text: Content of the file, whose columns commas, semicolons or tabs divide.
        name: Name of the file in errors.
        recording: Name of the recording, see `names_of_recording`.

    Raises:
        ConfigError: A column is not there, a row has no times, or no row is of this recording.
    """
    delimiter = delimiter_of(text.partition("\n")[0], ("start", "end"))
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{name}: cannot be read as CSV, or is empty ({error})") from error
    columns = [column_name(column) for column in header]
    for wanted in ("start", "end"):
        if wanted not in columns:
            present = [" ".join(column.split()) for column in header]
            raise ConfigError(f"{name}: no column {wanted} (it has: {', '.join(present)}){near(wanted, present)}")
    _refuse_results({*columns}, RESULTS, name)
    entries = [_entry(columns, row, delimiter) for row in rows]
    named = {str(entry["file"]) for entry in entries if entry.get("file")}
    kept, notices = names_of_recording(named, recording, name)
    places = [number for number, entry in enumerate(entries) if not kept or entry.get("file") in kept]
    turns = [_turn(entries[number], f"{name}: row {number + 1}") for number in places]

    def render(emotions: Sequence[TurnEmotion], labels: Sequence[str]) -> str:
        found = dict(zip(places, emotions, strict=True))
        stream = io.StringIO()
        write_csv(stream, delimiter, header, rows, [found.get(number) for number in range(len(rows))], labels)
        return stream.getvalue()

    return Parsed(turns, render, notices)


def _entry(columns: Sequence[str], row: Sequence[str], delimiter: str) -> dict[str, str]:
    """Cells of a row by their columns; where semicolons divide columns, commas begin decimals."""
    entry = dict(zip(columns, row, strict=False))
    if delimiter == ";":
        entry |= {name: entry[name].replace(",", ".") for name in ("start", "end") if name in entry}
    return entry


def write_csv(
    stream: TextIO,
    delimiter: str,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    emotions: Sequence[TurnEmotion | None],
    labels: Sequence[str],
) -> None:
    """Write a table with columns for the emotion, whether it is confident, all scores, warnings and the reason.

    Args:
        stream: Takes the text.
        delimiter: Character between columns.
        header: Names of the columns that are there.
        rows: Cells of these columns.
        emotions: Emotion of each row; None for rows of other recordings.
        labels: All emotions of the model.
    """
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow([*header, "emotion", "confident", *(f"p_{label}" for label in labels), "warnings", "reason"])
    for row, emotion in zip(rows, emotions, strict=True):
        cells = [*row, *[""] * (len(header) - len(row))][: len(header)]
        writer.writerow([*cells, *_cells(emotion or TurnEmotion(Turn(0, 0)), labels)])


def _cells(emotion: TurnEmotion, labels: Sequence[str]) -> list[object]:
    scores, confident = emotion.scores, str(emotion.confident).lower()  # as JSON spells it
    shown = emotion.emotion is not None
    probabilities = [scores.get(label, "") for label in labels]
    return [emotion.emotion or "", confident if shown else "", *probabilities, "; ".join(emotion.warnings),
            emotion.reason or ""]  # fmt: skip


def _refuse_results(present: Iterable[str], results: Sequence[str], name: str) -> None:
    """Refuse a file whose own fields a result would replace (ConfigError)."""
    taken = [result for result in results if result in {*present}]
    if taken:
        raise ConfigError(f"{name}: has {', '.join(taken)} already, which the result would replace; rename it first")
