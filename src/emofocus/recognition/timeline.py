"""A recording of any length → spans of one emotion each, in bounded memory, with the scores of a stream."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus import audio
from emofocus.audio.loading import SAMPLING_RATE, AudioInput
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.smoothing import Smoothing
from emofocus.recognition.streaming import Event, StreamingRecognizer


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a recording with one emotion.

    Attributes:
        start: Seconds.
        end: Seconds.
        emotion: The likeliest emotion of the span; None where there is no speech.
        scores: Mean probability of each emotion over the segments of the span; empty where there is no speech.
        confident: Whether the mean probability of the emotion reaches the recognizer's threshold.
    """

    start: float
    end: float
    emotion: str | None
    scores: dict[str, float]
    confident: bool

    @property
    def probability(self) -> float:
        """Mean probability of the emotion; 0 where there is no speech."""
        return 0.0 if self.emotion is None else self.scores[self.emotion]

    def later(self, seconds: float) -> "Span":
        """The same span, so many seconds later."""
        return replace(self, start=round(self.start + seconds, 3), end=round(self.end + seconds, 3))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the form of the JSON output."""
        return {
            "start": self.start,
            "end": self.end,
            "emotion": self.emotion,
            "confident": self.confident,
            "scores": self.scores,
        }


def spans(
    recognizer: Recognizer,
    audio_input: AudioInput,
    smoothing: Smoothing | None = None,
    start: float | None = None,
    end: float | None = None,
    channel: int | None = None,
) -> Iterator[Span]:
    """Spans of a recording of any length, or of a part of it, in order.

    Segments overlap. Each stands for the time that is nearer to its middle than to another's, so that spans neither
    overlap nor leave a gap. All times are the recording's.

    Args:
        recognizer: Recognizer whose hop is the resolution.
        audio_input: Path of a file, or ``{"array": samples, "sampling_rate": hertz}``.
        smoothing: How scores are smoothed over time.
        start: Start of the part in seconds; None for the start of the recording.
        end: End of the part in seconds; None for the end of the recording.
        channel: Number of the channel that is heard, from 1; None for the mean of all.

    Raises:
        AudioError: The audio cannot be read, has no such channel, is too short, or ends before the part does. Spans
            before the damage have been given by then.
        ModelError: The model cannot stream.
    """
    stream = StreamingRecognizer(recognizer, smoothing=smoothing)

    def events() -> Iterator[Event]:
        blocks = audio.stream(audio_input, track=recognizer.track, channel=channel)
        for block in audio.part(blocks, audio.name_of(audio_input), start, end):
            yield from stream.feed(block)
        audio.check_length(round(stream.seconds * SAMPLING_RATE), audio.name_of(audio_input))
        yield from stream.finish()

    for span in join(events(), recognizer, lambda: stream.seconds):
        yield span if start is None else span.later(start)


def join(events: Iterable[Event], recognizer: Recognizer, duration: Callable[[], float]) -> Iterator[Span]:
    """Join neighboring events to spans of one emotion.

    Smoothed scores set where a span ends. They follow speech with a delay, so the likeliest emotion of a span may be
    another than the smoothed one: the mean of the span's own segments names it, and neighbors of one name are joined.

    Args:
        events: Events in order.
        recognizer: Has the threshold of confident spans.
        duration: Returns the length of the recording in seconds; called after the last event.
    """
    closed: _OpenSpan | None = None
    for part in _by_smoothed_emotion(events):
        if closed is None:
            closed = part
        elif part.emotion == closed.emotion:
            closed.extend(part)
        else:
            yield closed.to_span(part.start, recognizer.threshold)
            closed = part
    if closed is not None:
        yield closed.to_span(duration(), recognizer.threshold)


def _by_smoothed_emotion(events: Iterable[Event]) -> Iterator["_OpenSpan"]:
    """Stretches of events of one smoothed emotion."""
    stretch: _OpenSpan | None = None
    smoothed: str | None = None
    for event in events:
        if stretch is None:
            stretch = _OpenSpan(0.0, event)
        elif event.emotion == smoothed:
            stretch.add(event)
        else:
            yield stretch
            stretch = _OpenSpan((stretch.middle + event.middle) / 2, event)
        smoothed = event.emotion
    if stretch is not None:
        yield stretch


class _OpenSpan:
    """A span that the next events may continue."""

    def __init__(self, start: float, event: Event) -> None:
        self.start, self.speech, self.labels = start, event.emotion is not None, event.labels
        self.total: NDArray[np.float64] = np.zeros(len(event.labels))
        self.count = 0
        self.add(event)

    def add(self, event: Event) -> None:
        """Extend the span by an event."""
        self.total = self.total + event.scores
        self.count += 1
        self.middle = event.middle

    def extend(self, other: "_OpenSpan") -> None:
        """Extend the span by the one behind it."""
        self.total, self.count, self.middle = self.total + other.total, self.count + other.count, other.middle

    @property
    def emotion(self) -> str | None:
        """The likeliest emotion; None where there is no speech."""
        return self.labels[int(self.total.argmax())] if self.speech else None

    def to_span(self, end: float, threshold: float) -> Span:
        """The span, which ends at ``end`` seconds."""
        times = round(self.start, 3), round(end, 3)
        emotion = self.emotion
        if emotion is None:
            return Span(*times, None, {}, confident=False)
        mean = self.total / self.count
        scores = {label: round(float(score), 6) for label, score in zip(self.labels, mean, strict=True)}
        return Span(*times, emotion, scores, confident=scores[emotion] >= threshold)
