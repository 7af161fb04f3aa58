"""Rich Transcription Time Marked (RTTM), the format of diarizations: NIST's, as pyannote and NeMo write it."""

from collections.abc import Sequence

from emofocus.errors import ConfigError
from emofocus.recognition.turns.parsed import Parsed, names_of_recording
from emofocus.recognition.turns.turn import Turn, TurnEmotion, channel_number

FIELDS = 10
"""Fields of a line: type, file, channel, start, duration, orthography, subtype, speaker, confidence, lookahead."""

SCORES, EMOTION, PROBABILITY = 5, 6, 8
"""Fields that hold the result: orthography, subtype and confidence, which a diarization leaves empty."""

EMPTY = "<NA>"


def parse(text: str, name: str, recording: str) -> Parsed:
    """Read turns from the lines of type SPEAKER; other lines stay.

    Args:
        text: Content of the file.
        name: Name of the file in errors.
        recording: Name of the recording, see `names_of_recording`.

    Raises:
        ConfigError: A line is damaged, or no line is of this recording.
    """
    lines = text.splitlines()
    fields = {number: line.split() for number, line in enumerate(lines) if line.split()[:1] == ["SPEAKER"]}
    turns = {number: _turn(parts, f"{name}, line {number + 1}") for number, parts in fields.items()}
    kept, notices = names_of_recording({parts[1] for parts in fields.values()}, recording, name)
    turns = {number: turn for number, turn in turns.items() if fields[number][1] in kept}

    def render(emotions: Sequence[TurnEmotion], _: Sequence[str]) -> str:
        found = dict(zip(turns, emotions, strict=True))
        known = {number: _line(fields[number], emotion) for number, emotion in found.items()}
        return "".join(f"{known.get(number, line)}\n" for number, line in enumerate(lines))

    return Parsed(tuple(turns.values()), render, notices)


def _turn(fields: Sequence[str], place: str) -> Turn:
    try:
        start, duration, speaker = float(fields[3]), float(fields[4]), fields[7]
    except (ValueError, IndexError) as error:
        raise ConfigError(
            f"{place}: not a line of RTTM (valid: SPEAKER file channel start duration <NA> <NA> speaker <NA> <NA>)"
        ) from error
    return Turn(start, round(start + duration, 6), None if speaker == EMPTY else speaker, "", channel_number(fields[2]))


def _line(fields: Sequence[str], emotion: TurnEmotion) -> str:
    filled = [*fields[:FIELDS], *[EMPTY] * (FIELDS - len(fields))]
    if emotion.emotion is not None:
        filled[SCORES] = ",".join(f"{label}={score:.4f}" for label, score in emotion.scores.items())
        filled[EMOTION], filled[PROBABILITY] = emotion.words, f"{emotion.probability:.4f}"
    return " ".join(filled)
