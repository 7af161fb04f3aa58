"""`emofocus predict --timeline`: the emotions of recordings over time, as text, tables, subtitles or figures."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofocus.cli.interruption import resumable
from emofocus.cli.tally import Tally
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.recognition import timeline_formats
from emofocus.recognition.bulk import NO_VOICES, Item, items_of
from emofocus.recognition.channel_choice import ChannelChoice
from emofocus.recognition.options import DEFAULT_OPTIONS, RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.results_file import settings_of
from emofocus.recognition.smoothing import Smoothing
from emofocus.recognition.timeline import Span, spans
from emofocus.recognition.timeline_formats import FORMATS, TEXTS, clock
from emofocus.utils.atomic import is_device, replacing
from emofocus.utils.file_formats import format_of
from emofocus.utils.plotting import EMOTIONS, GREY, add_title, blank, style
from emofocus.utils.progress import log_line, log_progress
from emofocus.utils.provenance import Record, file_state, read_record, record_path, refuse_other_work, resumes

if TYPE_CHECKING:
    from emofocus.recognition.speakers import VoiceGroups

SUFFIXES = {name: suffix for name, (suffix, _) in TEXTS.items()} | {"png": ".png", "table": ".txt", "audformat": ""}

NAMED = {suffix: name for name, suffix in SUFFIXES.items() if suffix}
"""Suffixes, and the formats that they name: a .txt is the table, unless the labels of Audacity are asked for."""

MOST_ROWS = 20
"""Rows of a figure at most: longer recordings have longer rows."""

ROW_SECONDS = 30.0
"""Seconds of a row, at least."""

LETTERS_A_SECOND = 4.5
"""Letters that fit in a second of a row of 30 seconds; names that do not fit in their span stand upright."""

NARROWEST_NAMED = 0.5
"""Length of a span, in seconds of a row of 30 seconds, from which its name stands upright in it."""


def write_timelines(
    paths: Sequence[Path],
    model: str | None,
    format: str | None = None,
    out: Path | None = None,
    options: RecognitionOptions = DEFAULT_OPTIONS,
    smoothing_seconds: float = 1.0,
    groups: "VoiceGroups | None" = None,
    channels: ChannelChoice | None = None,
) -> int:
    """Recognize recordings of any length, and write their timelines.

    A file that cannot be recognized is named on stderr with its reason and does not stop the others.

    Args:
        paths: Files, folders that are walked, lists of clips, and ``-`` for the standard input.
        model: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
        format: One of `FORMATS`; by default that of the file's suffix, or a table, which is plain text.
        out: File to write, or folder for several recordings or for audformat; stdout when None.
        options: How the model is loaded; its hop is the resolution of the timeline.
        smoothing_seconds: Time constant of the averaged scores in seconds.
        groups: How recordings are divided by voice, as in `emofocus.cli.predict.predict_files`.
        channels: Channels that have a timeline each; None for one timeline of their mean.

    Returns:
        Number of recordings that could not be recognized.

    Raises:
        ConfigError: The format is unknown, a setting is not valid, or the format needs another output.
        ModelError: The model cannot be loaded, or cannot stream.
        MissingExtraError: The package that writes the format is not installed.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"unknown format {format!r} of timelines ({one_of(FORMATS)})")
    smoothing = Smoothing(seconds=smoothing_seconds)
    tally = Tally()
    items = (items_of if groups is None else groups.items)(paths, tally.report)
    clips = list(items if channels is None else channels.items(items, options.track))
    format = format_of(format, out if len(clips) == 1 else None, NAMED, "table")
    _refuse_output(format, out, clips)
    recognizer = Recognizer.load(model, options).for_stream(window=options.window)
    voices = NO_VOICES if groups is None else groups.recognizers(recognizer, paths)
    settings = settings_of(recognizer) | {"format": format, "smoothing": smoothing_seconds} if out else {}
    with resumable(out) if len(clips) > 1 and out is not None else nullcontext():
        for number, clip in enumerate(clips):
            adapted = recognizer if clip.voice is None else voices.get(clip.voice, recognizer)
            profile = None if adapted.profile is None else adapted.profile.digest
            try:
                target = _target(out, clips, format, number)
                if target is None or is_device(target) or _begin(target, clip, {**settings, "voice": profile}):
                    _write_timeline(adapted, clip, format, target, smoothing)
                    tally.done += 1
                    tally.unadapted += groups is not None and adapted is recognizer
                else:
                    tally.present += 1
            except AudioError as error:
                tally.report(error)
    if out is not None or tally.unadapted:
        log_line(f"{out or 'predict'}: {tally}")
    return tally.failed


def _begin(target: Path, clip: Item, settings: Record) -> bool:
    """Whether a recording's timeline is still to be written: not when it is there, of the same recording.

    Raises:
        ConfigError: The target holds a timeline of other settings, or something of which there is no record.
    """
    try:
        times = {name: time for name, time in (("start", clip.start), ("end", clip.end)) if time is not None}
        recording = {"recording": str(clip.path.absolute()), "state": file_state(clip.path)}
        wanted = {**settings, **times, "channel": clip.channel_number, **recording}
    except OSError as error:
        raise AudioError(f"{clip.name}: {error.strerror}") from error
    record, occupied = record_path(target), target.is_file() or (target.is_dir() and any(target.iterdir()))
    before = read_record(record) if occupied else None
    if before is not None and before.get("state") != wanted["state"]:
        refuse_other_work(target, before, {name: value for name, value in wanted.items() if name != "state"})
        log_line(f"{target}: {clip.name} was replaced since; it is recognized again")
        remove(target)
        occupied = False
    if resumes(target, record, wanted, occupied):
        log_line(f"{target}: written before")
        return False
    return True


def remove(target: Path) -> None:
    """Delete a file or folder."""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()


def _refuse_output(format: str, out: Path | None, clips: Sequence[Item]) -> None:
    if format in ("audformat", "png") and out is None:
        raise ConfigError(f"{format} needs --out: a {'folder' if format == 'audformat' else 'file'} to write")
    kind = "channels" if any(clip.channel for clip in clips) else "recordings"
    if len(clips) > 1 and out is not None and (out.is_file() or (out.suffix and not out.is_dir())):
        raise ConfigError(f"{out}: timelines of {len(clips)} {kind} need a folder (--out FOLDER)")


def _target(out: Path | None, clips: Sequence[Item], format: str, number: int) -> Path | None:
    """File for the timeline of a recording: in a folder, one of its name, with a number where that name is taken."""
    if out is None or (len(clips) == 1 and not (out.is_dir() and format != "audformat")):
        return out
    name = _file_name(clips[number])
    same = sum(_file_name(other) == name for other in clips[:number])
    return out / f"{name}{f'-{same + 1}' if same else ''}{SUFFIXES[format]}"


def _file_name(clip: Item) -> str:
    """Name of a timeline's file without its suffix: the recording's, and the channel's behind it."""
    return clip.path.stem if clip.channel is None else f"{clip.path.stem}-{clip.channel.name}".replace("/", "-")


def _write_timeline(recognizer: Recognizer, clip: Item, format: str, out: Path | None, smoothing: Smoothing) -> None:
    found = spans(recognizer, clip.path, smoothing, clip.start, clip.end, clip.channel_number)
    timeline = log_progress(found, lambda span, spent: _progress(clip, span, spent))
    if format == "table":
        _write_table(timeline, clip.title, out)
        return
    whole = list(timeline)
    if format == "png":
        assert out is not None
        draw(whole, recognizer.labels, replace(clip, name=clip.path.name).source, out)
    elif out is None:
        sys.stdout.write(timeline_formats.text(whole, format, clip.source))
    else:
        timeline_formats.write(whole, format, clip.source, out, recognizer.labels)


def _progress(clip: Item, span: Span, spent: float) -> str:
    speed = (span.end - (clip.start or 0.0)) / spent
    return f"{clip.name}: {clock(span.end, '.')} done, {speed:.0f} times as fast as it lasts"


def _write_table(timeline: Iterable[Span], name: str, out: Path | None) -> None:
    if out is None:
        for line in _lines(timeline, name):
            print(line, flush=True)
        return
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in _lines(timeline, name))


def _lines(timeline: Iterable[Span], name: str) -> Iterator[str]:
    """The name of a recording and a line for each span, as it comes."""
    yield name
    for span in timeline:
        times = f"{clock(span.start, '.')[:-2]} – {clock(span.end, '.')[:-2]}"
        if span.emotion is None:
            yield f"  {times}  ·"
            continue
        bar = f"{'█' * round(10 * span.probability):░<10}"
        others = sorted(((score, label) for label, score in span.scores.items() if label != span.emotion), reverse=True)
        yield f"  {times}  {timeline_formats.words(span):<16} {bar}  {others[0][1]} {others[0][0]:.0%}"


def draw(timeline: Sequence[Span], labels: Sequence[str], name: str, out: Path) -> None:
    """Draw the timeline of a recording: spans in the colors of their emotions, as high as they are probable.

    Args:
        timeline: Spans of the recording.
        labels: All emotions of the model.
        name: Name of the recording in the title.
        out: PNG file to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with style():
        end = timeline[-1].end
        size = min(max(ROW_SECONDS, end / MOST_ROWS), max(end, 1.0))
        rows = max(1, -int(-end // size))
        figure = blank(1.5 + 0.95 * rows, 9.0)
        colors = {label: EMOTIONS[number % len(EMOTIONS)] for number, label in enumerate(labels)}
        for number, axes in enumerate(figure.subplots(rows, 1, squeeze=False)[:, 0]):
            _draw_row(axes, timeline, number * size, size, colors)
        axes.set_xlabel("seconds" if end <= 600 else "minutes")
        figure.supylabel("probability of the emotion", fontsize=10)
        _draw_legend(figure, timeline, labels, colors)
        add_title(
            figure,
            f"{name}: what is heard, and when",
            "a bar is as high as its emotion is probable; pale: unsure; empty: no speech",
        )
        with replacing(out) as temporary:
            figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})


def _draw_row(axes: Any, timeline: Sequence[Span], start: float, size: float, colors: dict[str, str]) -> None:
    unit = 60.0 if timeline[-1].end > 600 else 1.0
    for span in timeline:
        if span.emotion is None or span.end <= start or span.start >= start + size:
            continue
        left, right = max(span.start, start) / unit, min(span.end, start + size) / unit
        height, pale = 100 * span.probability, 1.0 if span.confident else 0.45
        color = colors[span.emotion]
        axes.bar(left, height, right - left, align="edge", color=color, alpha=pale, edgecolor="white", linewidth=0.8)
        _name_bar(axes, span, (left + right) / 2, (right - left) * unit / size * ROW_SECONDS)
    if start + 0.95 * size > timeline[-1].end:
        axes.axvline(timeline[-1].end / unit, color=GREY, linewidth=1)
        axes.text(timeline[-1].end / unit, 97, " end", va="top", fontsize=8, color=GREY)
    axes.set(xlim=(start / unit, (start + size) / unit), ylim=(0, 100))
    axes.set_yticks((0, 50, 100), ("0%", "50%", "100%"))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, length=2)
    axes.spines["bottom"].set_color(GREY)


def _name_bar(axes: Any, span: Span, middle: float, seconds: float) -> None:
    """Write the emotion and its probability into a bar; the emotion alone, upright, where the bar is narrow.

    Args:
        axes: Axes of the row.
        span: Span of the bar.
        middle: Middle of the bar, in the unit of the axes.
        seconds: Width of the bar in seconds of a row of 30 seconds.
    """
    name = span.emotion or ""
    if seconds * LETTERS_A_SECOND > len(name):
        axes.text(middle, 4, f"{name}\n{span.probability:.0%}", ha="center", va="bottom", fontsize=8, linespacing=1.1)
    elif seconds >= NARROWEST_NAMED:
        axes.text(middle, 4, name, ha="center", va="bottom", fontsize=8, rotation=90)


def _draw_legend(figure: Any, timeline: Sequence[Span], labels: Sequence[str], colors: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    present = {span.emotion for span in timeline}
    handles = [Patch(color=colors[label], label=label) for label in labels if label in present]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=8, frameon=False, fontsize=8)
