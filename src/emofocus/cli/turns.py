"""`emofocus predict --segments`: a diarization or a transcript, written again with the emotion of each turn."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from emofocus import audio
from emofocus.errors import AudioError, ConfigError, LateTurnError, ShortAudioError, SilentAudioError
from emofocus.recognition.bulk import STANDARD_INPUT, is_list
from emofocus.recognition.channel_choice import ChannelChoice
from emofocus.recognition.options import DEFAULT_OPTIONS, RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.timeline_formats import clock
from emofocus.recognition.turns.recognition import Numbered, recognized
from emofocus.recognition.turns.turn import TurnEmotion
from emofocus.recognition.turns.turn_file import SUFFIXES, TurnFile
from emofocus.utils.atomic import write_text
from emofocus.utils.file_formats import format_of
from emofocus.utils.folder_tree import is_folder
from emofocus.utils.progress import log_line, log_progress

REASONS: dict[type[AudioError], str] = {ShortAudioError: "too short", SilentAudioError: "silent"}
"""Errors of turns that hold nothing to hear, in words."""


def write_turns(
    paths: Sequence[Path],
    segments: Path,
    model: str | None,
    format: str | None = None,
    out: Path | None = None,
    options: RecognitionOptions = DEFAULT_OPTIONS,
    channels: ChannelChoice | None = None,
) -> int:
    """Recognize the turns of one recording, and write their file again with the emotion of each.

    Args:
        paths: The recording, alone.
        segments: Diarization or transcript.
        model: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model.
        format: The format of ``segments``, or one of those that turns of any file can be written in; by default that of
            the suffix of ``out``, or of ``segments``.
        out: File to write; stdout when None.
        options: How the model is loaded and how it recognizes.
        channels: Channels of the turns; None for the mean of all.

    Returns:
        Number of turns that begin behind the end of the recording.

    Raises:
        ConfigError: There is not one recording, the turns cannot be read or written, or are another recording's.
        AudioError: The recording cannot be read, or has no such channel.
        ModelError: The model cannot be loaded.
    """
    recording = _recording(paths)
    file = TurnFile.read(segments, recording.name if recording != STANDARD_INPUT else "")
    by_suffix = {suffix.lower(): name for suffix, name in SUFFIXES.items()}
    format = file.check_format(format_of(format, out, by_suffix, file.format))
    numbers = [None] * len(file.turns) if channels is None else channels.of_turns(file.turns, file.name)
    recognizer = Recognizer.load(model, options)
    for notice in file.notices:
        log_line(notice)
    source = sys.stdin.buffer.read() if recording == STANDARD_INPUT else str(recording)
    notices: list[audio.Notice] = []
    found = recognized(recognizer, source, file.turns, numbers, file.name, notices.append)
    emotions = dict(log_progress(found, lambda numbered, spent: _progress(recording, numbered, spent)))
    for line in dict.fromkeys(f"{recording}: {notice}" for notice in notices):
        log_line(line)
    ordered = [emotions[number] for number in range(len(file.turns))]
    text = file.text(ordered, recognizer.labels, format)
    if out is None:
        sys.stdout.write(text)
    else:
        write_text(out, text)
    return _report(ordered, file.name)


def _recording(paths: Sequence[Path]) -> Path:
    """The only recording.

    Raises:
        ConfigError: There are several, or a folder or list of them.
    """
    if len(paths) != 1 or is_folder(paths[0]) or is_list(paths[0]):
        shown = ", ".join(map(str, paths[:3]))
        raise ConfigError(f"--segments is of one recording, not of {shown}: name one audio file")
    return paths[0]


def _progress(recording: Path, numbered: Numbered, spent: float) -> str:
    end = numbered[1].turn.end
    return f"{recording}: {clock(end, '.')} done, {end / spent:.0f} times as fast as it lasts"


def _report(emotions: Sequence[TurnEmotion], name: str) -> int:
    """Say which turns have no emotion, and which share their time; the number of those behind the recording's end."""
    errors = Counter(type(emotion.error) for emotion in emotions if emotion.error is not None)
    shared, total = sum(emotion.overlap > 0 for emotion in emotions), f"of its {len(emotions)} turns"
    late = errors.pop(LateTurnError, 0)
    if shared:
        log_line(f"{name}: {shared} {total} overlap; in them, several voices are heard at once")
    if errors:
        reasons = ", ".join(f"{count} {REASONS.get(kind, 'not readable')}" for kind, count in errors.items())
        log_line(f"{name}: {errors.total()} {total} have no emotion: {reasons}")
    if late:
        log_line(f"emofocus: {name}: {late} {total} begin behind the end of the recording, and have no emotion")
    return late
