"""Turns that come with a recording: a diarization or a transcript in a request, and the emotion of each turn."""

from typing import NamedTuple

from emofocus.audio.loading import SAMPLING_RATE, AudioArray
from emofocus.audio.samples import Waveform
from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.turns.recognition import recognized
from emofocus.recognition.turns.turn import TurnEmotion
from emofocus.recognition.turns.turn_file import TurnFile, format_by_suffix
from emofocus.serving.limits import Limits, Refusal

TURNS_BYTES = 1 << 20
"""Size of a file of turns at most."""

MOST_TURNS = 5_000
"""Turns of a request at most."""

LENGTHS = 2.0
"""Turns together may last so many times as long as a recording may, because they overlap."""


class Transcript(NamedTuple):
    """A diarization or a transcript as it came.

    Attributes:
        content: Its bytes.
        name: Name of its file, whose suffix tells the format; empty for JSON.
    """

    content: bytes
    name: str = ""


def turns_in(recognizer: Recognizer, waveform: Waveform, transcript: Transcript, limits: Limits) -> list[TurnEmotion]:
    """Emotions of the turns of a recording.

    Args:
        recognizer: Recognizes.
        waveform: The recording (T,), 16 kHz.
        transcript: Its turns.
        limits: Duration that a recording may have.

    Raises:
        Refusal: The turns cannot be read or are another recording's (422), or too many (413).
    """
    if len(transcript.content) > TURNS_BYTES:
        raise Refusal(413, "too_large", f"turns of {len(transcript.content)} bytes; they have {TURNS_BYTES} at most")
    source: AudioArray = {"array": waveform, "sampling_rate": SAMPLING_RATE}
    name = transcript.name[-80:] or "segments"  # the end has the suffix
    try:
        format = format_by_suffix(name) if transcript.name else "json"
        turns = TurnFile.parse(transcript.content, format, name).turns
        seconds = sum(turn.end - turn.start for turn in turns)
        if len(turns) > MOST_TURNS or seconds > LENGTHS * limits.seconds:
            allowed = f"{MOST_TURNS} turns of {LENGTHS * limits.seconds:g} s together"
            raise Refusal(
                413, "too_long", f"{len(turns)} turns of {seconds:.0f} s together; at most {allowed} are heard"
            )
        found = dict(recognized(recognizer, source, turns, [None] * len(turns), name))
    except ConfigError as error:
        raise Refusal(422, "wrong_segments", str(error)) from error
    except AudioError as error:
        raise Refusal(422, "nothing_to_recognize", str(error)) from error
    return [found[number] for number in range(len(turns))]
