"""A recording and its turns → the emotion of each turn, in one pass and bounded memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import groupby
from pathlib import Path
from typing import Any

from emofocus import audio
from emofocus.audio.loading import SAMPLING_RATE, AudioInput
from emofocus.audio.samples import Waveform
from emofocus.errors import AudioError, ConfigError, LateTurnError
from emofocus.recognition.channel_choice import ChannelChoice
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.scoring import OpenRecording
from emofocus.recognition.turns.turn import Turn, TurnEmotion
from emofocus.recognition.turns.turn_file import TurnFile, turns_of

MOST_AT_ONCE = 32
"""Turns at most that may lie over each other at one time, because each needs the memory of some seconds."""

TOLERATED_SECONDS = 0.5
"""A turn may end so long after its recording without a word: transcripts round their times."""

THE_TURN = "the turn"
"""Name of a turn in the reasons why it has no emotion."""

Numbered = tuple[int, TurnEmotion]
"""Position of a turn in its list, and its emotion."""


def recognized(
    recognizer: Recognizer,
    audio_input: AudioInput,
    turns: Sequence[Turn],
    channels: Sequence[int | None],
    name: str,
    warn: audio.Warn | None = None,
) -> Iterator[Numbered]:
    """Emotions of turns, each as soon as it has been heard. A turn that holds nothing to hear has a reason instead.

    The recording is read once for each channel. Memory grows by a few numbers for each segment of a turn.

    Args:
        recognizer: Recognizes.
        audio_input: The recording, as `Recognizer` takes it; not a pipe, if there are several channels.
        turns: Turns in any order, with possible times.
        channels: Number of the channel of each turn, from 1; None for the mean of all.
        name: Name of the file of turns in errors.
        warn: Takes notices of reading the recording, as in `audio.load`.

    Raises:
        AudioError: The recording cannot be read, or has no such channel.
        ConfigError: Too many turns lie over each other, or most of them begin behind the end of the recording.
    """
    order = sorted(range(len(turns)), key=lambda number: (channels[number] or 0, turns[number].start))
    groups = groupby(order, key=lambda number: channels[number])
    passes = [(channel, _Pass(recognizer, turns, list(numbers), name)) for channel, numbers in groups]
    for channel, hearing in passes:
        yield from hearing.run(audio.stream(audio_input, track=recognizer.track, warn=warn, channel=channel))
    late = [number for _, hearing in passes for number in hearing.late]
    length = max(hearing.seconds for _, hearing in passes)
    if 2 * len(late) > len(turns):
        first = min(turns[number].start for number in late)
        raise ConfigError(
            f"{name}: a transcript of another recording? {len(late)} of its {len(turns)} turns begin behind the end of "
            f"{audio.name_of(audio_input)}, at {length:.2f} s (the first of them at {first:.2f} s)"
        )
    for number in late:
        error = LateTurnError(f"{THE_TURN}: begins behind the recording's end, at {length:.2f} s")
        yield number, TurnEmotion(turns[number], error=error)


def turn_emotions(
    recognizer: Recognizer, audio_input: AudioInput, segments: str | Path | Iterable[Any], channels: str | None = None
) -> list[TurnEmotion]:
    """Emotions of turns in their order; arguments and errors are those of `Recognizer.turns`."""
    named = isinstance(audio_input, str | os.PathLike)
    if isinstance(segments, str | os.PathLike):
        file = TurnFile.read(Path(segments), audio.name_of(audio_input) if named else "")
        name, turns = file.name, file.turns
    else:
        name, turns = "segments", turns_of(segments)
    choice = None if channels is None else ChannelChoice.parse(channels)
    numbers = [None] * len(turns) if choice is None else choice.of_turns(turns, name)
    found = dict(recognized(recognizer, audio_input, turns, numbers, name))
    return [found[number] for number in range(len(turns))]


class _Open:
    """A turn that is being heard."""

    def __init__(self, recognizer: Recognizer, turn: Turn) -> None:
        self.first, self.last = (round(time * SAMPLING_RATE) for time in (turn.start, turn.end))
        self.turn, self._recording = turn, OpenRecording(recognizer.scorer, THE_TURN, turn.start)

    def feed(self, block: Waveform, begin: int) -> None:
        """Take the part of a block that belongs to the turn; ``begin`` is the number of the block's first sample."""
        piece = block[max(0, self.first - begin) : max(0, self.last - begin)]
        if len(piece):
            self._recording.feed(piece)

    def finish(self, warnings: Sequence[str], overlap: float) -> TurnEmotion:
        """The emotion of the whole turn, or the reason why it has none; arguments are those of `TurnEmotion.of`."""
        try:
            return TurnEmotion.of(self.turn, self._recording.finish(), warnings, overlap)
        except AudioError as error:
            return TurnEmotion.of(self.turn, error, warnings, overlap)


class _Pass:
    """One pass over a recording, or one of its channels.

    Args:
        recognizer: Recognizes.
        turns: All turns.
        numbers: Positions of the turns to hear, in the order in which they begin.
        name: Name of the file of turns in errors.

    Attributes:
        late: Positions of turns that begin behind the end of the recording.
        seconds: Length of the recording, as far as it was read.
    """

    def __init__(self, recognizer: Recognizer, turns: Sequence[Turn], numbers: list[int], name: str) -> None:
        self._recognizer, self._turns = recognizer, turns
        self._shared = _shared_seconds(turns, numbers, name)
        self._waiting, self._open, self._read = numbers[::-1], dict[int, _Open](), 0
        self.late: list[int] = []

    @property
    def seconds(self) -> float:
        """Length of the recording, as far as it was read."""
        return self._read / SAMPLING_RATE

    def run(self, blocks: Iterator[Waveform]) -> Iterator[Numbered]:
        """Hear the recording, which is read up to the end of the last turn."""
        for block in blocks:
            begin, self._read = self._read, self._read + len(block)
            while self._waiting and self._turns[self._waiting[-1]].start * SAMPLING_RATE < self._read:
                number = self._waiting.pop()
                self._open[number] = _Open(self._recognizer, self._turns[number])
            for number, turn in list(self._open.items()):
                turn.feed(block, begin)
                if turn.last <= self._read:
                    yield number, self._finish(number, 0.0)
            if not self._waiting and not self._open:
                return
        for number, turn in list(self._open.items()):
            yield number, self._finish(number, turn.turn.end - self.seconds)
        self.late = self._waiting

    def _finish(self, number: int, lacking: float) -> TurnEmotion:
        """End a turn whose last ``lacking`` seconds the recording does not have."""
        turn, shared = self._open.pop(number), self._shared[number]
        facts = {
            f"overlap: other turns share {shared:.2f} of its {turn.turn.end - turn.turn.start:.2f} s": shared > 0,
            f"cut: the recording ends {lacking:.2f} s before the turn does": lacking > TOLERATED_SECONDS,
        }
        return turn.finish([fact for fact, true in facts.items() if true], shared)


def _shared_seconds(turns: Sequence[Turn], numbers: Sequence[int], name: str) -> dict[int, float]:
    """Seconds of each turn that other turns share.

    Args:
        turns: All turns.
        numbers: Positions of the turns of one channel, in the order in which they begin.
        name: Name of their file in errors.

    Raises:
        ConfigError: More than `MOST_AT_ONCE` turns lie over each other.
    """
    shared = dict.fromkeys(numbers, 0.0)
    known: dict[int, float] = {}  # time up to which the others are counted
    open_turns: list[tuple[float, int]] = []  # by their ends
    for number in numbers:
        start, end = turns[number][:2]
        while open_turns and open_turns[0][0] <= start:
            heappop(open_turns)
        if len(open_turns) == MOST_AT_ONCE:
            raise ConfigError(f"{name}: more than {MOST_AT_ONCE} turns lie over each other at {start:.2f} s")
        known[number] = max((min(end, other_end) for other_end, _ in open_turns), default=start)
        shared[number] = known[number] - start
        for other_end, other in open_turns:
            until = min(end, other_end)
            shared[other] += max(0.0, until - max(start, known[other]))
            known[other] = max(known[other], until)
        heappush(open_turns, (end, number))
    return shared
