"""Formats of timelines: subtitles, labels, tiers and tables of other programs."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from emofocus.errors import MissingExtraError
from emofocus.recognition.timeline import Span
from emofocus.utils.atomic import write_text

Spans = Sequence[Span]


def words(span: Span) -> str:
    """A span's emotion and probability, with a question mark where it is unsure."""
    return f"{span.emotion}{'' if span.confident else '?'} {span.probability:.0%}"


def srt(spans: Spans) -> str:
    """SubRip subtitles, without cues for silence."""
    spoken = [span for span in spans if span.emotion is not None]
    cues = (
        f"{number}\n{clock(span.start, ',')} --> {clock(span.end, ',')}\n{words(span)}\n"
        for number, span in enumerate(spoken, start=1)
    )
    return "\n".join(cues)


def vtt(spans: Spans) -> str:
    """WebVTT subtitles, without cues for silence."""
    cues = (
        f"{clock(span.start, '.')} --> {clock(span.end, '.')}\n{words(span)}\n"
        for span in spans
        if span.emotion is not None
    )
    return "\n".join(["WEBVTT\n", *cues])


def clock(seconds: float, separator: str) -> str:
    """Time as hours, minutes, seconds and milliseconds."""
    milliseconds = round(1000 * seconds)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, rest = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{separator}{rest:03d}"


def audacity(spans: Spans) -> str:
    """A label track of Audacity, without labels for silence."""
    return "".join(f"{span.start:.3f}\t{span.end:.3f}\t{words(span)}\n" for span in spans if span.emotion is not None)


def textgrid(spans: Spans) -> str:
    """A TextGrid of Praat with one tier; intervals of silence have no text."""
    start, end = spans[0].start, spans[-1].end
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        f"xmin = {start:g}",
        f"xmax = {end:.3f}",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        '        name = "emotion"',
        f"        xmin = {start:g}",
        f"        xmax = {end:.3f}",
        f"        intervals: size = {len(spans)}",
    ]
    for number, span in enumerate(spans, start=1):
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {span.start:.3f}",
            f"            xmax = {span.end:.3f}",
            f'            text = "{span.emotion or ""}"',
        ]
    return "\n".join(lines) + "\n"


def table_csv(spans: Spans, file: str = "") -> str:
    """CSV with a line for each span, silence included, and a column for the mean probability of each emotion."""
    labels = next((list(span.scores) for span in spans if span.scores), [])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "start", "end", "emotion", "confident", *(f"p_{label}" for label in labels)])
    for span in spans:
        confident = str(span.confident).lower()  # as JSON spells it
        scores = [span.scores.get(label, "") for label in labels]
        writer.writerow([file, f"{span.start:.3f}", f"{span.end:.3f}", span.emotion or "", confident, *scores])
    return text.getvalue()


def plain_json(spans: Spans, file: str = "") -> str:
    """JSON object with the name of the file and its spans."""
    return json.dumps({"file": file, "timeline": [span.to_dict() for span in spans]}, indent=1) + "\n"


def write_audformat(spans: Spans, file: str, folder: Path, labels: Sequence[str]) -> None:
    """Write an audformat database with one table, `emotion`, of the segments of a recording.

    Args:
        spans: Spans of the recording.
        file: Name of the recording in the database.
        folder: Folder to write to.
        labels: All emotions of the model.

    Raises:
        MissingExtraError: audformat is not installed.
    """
    try:
        import audformat
    except ImportError as error:
        raise MissingExtraError("audformat", "audformat") from error
    import pandas as pd

    spoken = [span for span in spans if span.emotion is not None]
    database = audformat.Database("emofocus", description=f"Emotions of {file}, recognized by emofocus.")
    database.schemes["emotion"] = audformat.Scheme(labels=list(labels))
    database.schemes["probability"] = audformat.Scheme("float", minimum=0, maximum=1)
    index = audformat.segmented_index(
        [file] * len(spoken),
        [pd.Timedelta(seconds=span.start) for span in spoken],
        [pd.Timedelta(seconds=span.end) for span in spoken],
    )
    table = database["emotion"] = audformat.Table(index)
    for name, values in (("emotion", [s.emotion for s in spoken]), ("probability", [s.probability for s in spoken])):
        table[name] = audformat.Column(scheme_id=name)
        table[name].set(values)
    database.save(str(folder))


TEXTS: dict[str, tuple[str, Callable[..., str]]] = {
    "srt": (".srt", srt),
    "vtt": (".vtt", vtt),
    "audacity": (".txt", audacity),
    "textgrid": (".TextGrid", textgrid),
    "csv": (".csv", table_csv),
    "json": (".json", plain_json),
}
"""Format of text → suffix of its files, and the function that writes a timeline in it."""

FORMATS = ("table", *TEXTS, "audformat", "png")
"""All formats of `emofocus predict --timeline`."""


def write(spans: Spans, format: str, file: str, out: Path, labels: Sequence[str]) -> None:
    """Write the timeline of one recording.

    Args:
        spans: Spans of the recording.
        format: A key of `TEXTS`, or audformat.
        file: Name of the recording.
        out: File to write, or folder of an audformat database.
        labels: All emotions of the model.

    Raises:
        MissingExtraError: The format is audformat, which is not installed.
    """
    if format == "audformat":
        write_audformat(spans, file, out, labels)
    else:
        write_text(out, text(spans, format, file))


def text(spans: Spans, format: str, file: str) -> str:
    """Text of a timeline in a format of `TEXTS`."""
    render = TEXTS[format][1]
    return render(spans, file) if format in ("csv", "json") else render(spans)
