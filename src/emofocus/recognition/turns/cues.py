"""Subtitles, SubRip and WebVTT, with the emotion of each cue below its words."""

import json
import re
from collections.abc import Sequence

from emofocus.errors import ConfigError
from emofocus.recognition.turns.parsed import Parsed
from emofocus.recognition.turns.turn import Turn, TurnEmotion

CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
TIMES = re.compile(rf"\s*{CLOCK}\s*-->\s*{CLOCK}(?:\s|$)")
"""Line of a cue's times; settings of WebVTT may follow."""

BRACKETS = re.compile(r"\s*\[([^\]]+)\]:\s*")
"""Speaker before the words, as whisperX writes it: ``[SPEAKER_00]: …``."""

VOICE = re.compile(r"\s*<v(?:\.[^\s>]*)?\s([^>]+)>")
"""Speaker of WebVTT's voice span: ``<v Anna>…``."""

TAGS = re.compile(r"</?[a-z][^<>]*>")  # without <, so that a stranger's text takes no longer than its length

SHOWN = 0.05
"""Least probability of an emotion that a cue shows, beside the likeliest one."""


def parse_srt(text: str, name: str, recording: str) -> Parsed:
    """Read SubRip; arguments and errors are those of `parse_cues`."""
    return parse_cues(text, name)


def parse_vtt(text: str, name: str, recording: str) -> Parsed:
    """Read WebVTT, whose comments take all scores; arguments and errors are those of `parse_cues`.

    Raises:
        ConfigError: The text does not begin as WebVTT does.
    """
    if not text.startswith("WEBVTT"):
        raise ConfigError(f"{name}: not WebVTT, whose first line is WEBVTT")
    return parse_cues(text, name, notes=True)


def parse_cues(text: str, name: str, notes: bool = False) -> Parsed:
    """Read cues; whatever stands between them stays.

    Args:
        text: Content of the file.
        name: Name of the file in errors.
        notes: Whether a comment before each cue holds its scores as JSON.

    Raises:
        ConfigError: The times of a cue cannot be read.
    """
    blocks = [block.strip("\n").split("\n") for block in re.split(r"\n[ \t]*\n", "\n".join(text.splitlines()))]
    places = {number: place for number, block in enumerate(blocks) if (place := _times_line(block)) is not None}
    turns = [_turn(blocks[number], place, f"{name}, cue {number + 1}") for number, place in places.items()]

    def render(emotions: Sequence[TurnEmotion], _: Sequence[str]) -> str:
        found = dict(zip(places, emotions, strict=True))
        written = [_block(block, found.get(number), notes) for number, block in enumerate(blocks)]
        return "\n\n".join("\n".join(block) for block in written) + "\n"

    return Parsed(turns, render)


def _times_line(block: Sequence[str]) -> int | None:
    """Number of a block's line with the times of a cue: the first or the second one; None if it is no cue."""
    return next((number for number, line in enumerate(block[:2]) if "-->" in line), None)


def _turn(block: Sequence[str], place: int, name: str) -> Turn:
    times = TIMES.match(block[place])
    if times is None:
        raise ConfigError(f"{name}: {block[place]!r} are no times (valid: 00:00:01,000 --> 00:00:02,500)")
    words = "\n".join(block[place + 1 :])
    speaker = BRACKETS.match(words) or VOICE.match(words)
    text = TAGS.sub("", words[speaker.end() :] if speaker else words).strip()
    start, end = (_seconds(times.groups()[4 * side : 4 * side + 4]) for side in (0, 1))
    return Turn(start, end, speaker[1].strip() if speaker else None, text)


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    return 3600 * int(hours) + 60 * int(minutes) + float(f"{int(seconds)}.{fraction}")


def _block(block: list[str], emotion: TurnEmotion | None, notes: bool) -> list[str]:
    """Lines of a block, with what is known of its emotion."""
    if emotion is None:
        return block
    note = [f"NOTE {json.dumps(emotion.findings(), ensure_ascii=False)}", ""] if notes else []
    if emotion.emotion is None:
        return note + block
    ranked = sorted(emotion.scores.items(), key=lambda item: -item[1])
    others = [f"{label} {score:.0%}" for label, score in ranked if label != emotion.emotion and score >= SHOWN]
    return [*note, *block, f"({', '.join([f'{emotion.words} {emotion.probability:.0%}', *others])})"]
