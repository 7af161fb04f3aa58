"""One turn of a speaker, and the emotion that is heard in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.prediction import Prediction

LONGEST_NUMBER = 4
"""Digits of a channel's number, at most."""


class Turn(NamedTuple):
    """A part of a recording in which one person speaks.

    Attributes:
        start: Seconds.
        end: Seconds.
        speaker: Name of the speaker; None if it is not known.
        text: Words that are spoken; empty if they are not known.
        channel: Number of the channel that the speaker is recorded on, from 1; None if it is not known.
    """

    start: float
    end: float
    speaker: str | None = None
    text: str = ""
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class TurnEmotion:
    """The emotion of one turn.

    Attributes:
        turn: Turn in which it is heard.
        emotion: The likeliest emotion; None if there is nothing to hear, for the reason in ``error``.
        scores: Probability of each emotion; empty without an emotion.
        confident: Whether the probability of the emotion reaches the recognizer's threshold.
        warnings: Facts that its listener should know: faults of the sound, and turns at the same time.
        overlap: Seconds that other turns of the same channel share.
        error: Reason why there is no emotion; None where there is one.
    """

    turn: Turn
    emotion: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    confident: bool = False
    warnings: tuple[str, ...] = ()
    overlap: float = 0.0
    error: AudioError | None = None

    @classmethod
    def of(cls, turn: Turn, found: Prediction | AudioError, warnings: Sequence[str], overlap: float) -> "TurnEmotion":
        """The emotion that was recognized, or the reason why none was.

        Args:
            turn: Turn in which it is heard.
            found: Prediction of its samples, or their error.
            warnings: Facts beside those of the prediction.
            overlap: Seconds that other turns share.
        """
        if isinstance(found, AudioError):
            return cls(turn, warnings=tuple(warnings), overlap=overlap, error=found)
        known = (*found.warnings, *warnings)
        return cls(turn, found.label, found.scores, found.confident, known, overlap)

    @property
    def reason(self) -> str | None:
        """Reason why there is no emotion, for a reader; None where there is one."""
        return None if self.error is None else str(self.error)

    @property
    def probability(self) -> float:
        """Probability of the emotion; 0 where there is none."""
        return 0.0 if self.emotion is None else self.scores[self.emotion]

    @property
    def words(self) -> str:
        """The emotion with a question mark where it is unsure; empty where there is none."""
        return "" if self.emotion is None else f"{self.emotion}{'' if self.confident else '?'}"

    def findings(self) -> dict[str, Any]:
        """Fields that stand beside those of the turn: plain data, the form of the JSON output."""
        reason = {} if self.reason is None else {"reason": self.reason}
        found = {"emotion": self.emotion, "confident": self.confident, "scores": dict(self.scores)}
        return found | {"warnings": list(self.warnings)} | reason

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the turn and its emotion."""
        return {name: value for name, value in self.turn._asdict().items() if value is not None} | self.findings()


def checked_turns(turns: Iterable[Turn], name: str) -> tuple[Turn, ...]:
    """Turns, if their times are possible.

    Args:
        turns: Turns, in any order.
        name: Name of their file in errors.

    Raises:
        ConfigError: A time is negative or no number, a turn ends before it begins, or there are no turns.
    """
    checked = tuple(turns)
    for number, turn in enumerate(checked, start=1):
        if not (isfinite(turn.start) and isfinite(turn.end) and turn.start >= 0):
            raise ConfigError(f"{name}: turn {number} has no times (it has {turn.start} to {turn.end} s)")
        if turn.end < turn.start:
            raise ConfigError(f"{name}: turn {number} ends at {turn.end:g} s, before it begins, at {turn.start:g} s")
    if not checked:
        raise ConfigError(f"{name}: holds no turns")
    return checked


def channel_number(value: object) -> int | None:
    """Number of a channel in a file of turns; None for anything that is no number of a few digits."""
    text = str(value)
    return int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else None
