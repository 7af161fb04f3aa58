"""A recording of any length → spans of one emotion each, in bounded memory, with the scores of a stream."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
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
        emotion: Emotion of the span; None where there is no speech.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the form of the JSON output."""
        return {
            "start": self.start,
            "end": self.end,
            "emotion": self.emotion,
            "confident": self.confident,
            "scores": self.scores,
        }


def spans(recognizer: Recognizer, audio_input: AudioInput, smoothing: Smoothing | None = None) -> Iterator[Span]:
    """Spans of a recording of any length, in order.

    Segments overlap. Each stands for the time that is nearer to its middle than to another's, so that spans neither
    overlap nor leave a gap from 0 to the end of the recording.

    Args:
        recognizer: Recognizer whose hop is the resolution.
        audio_input: Path of a file, or ``{"array": samples, "sampling_rate": hertz}``.
        smoothing: How scores are smoothed over time.

    Raises:
        AudioError: The audio cannot be read, or is too short. Spans before the damage have been given by then.
        ModelError: The model cannot stream.
    """
    stream = StreamingRecognizer(recognizer, smoothing=smoothing)

    def events() -> Iterator[Event]:
        for block in audio.stream(audio_input, track=recognizer.track):
            yield from stream.feed(block)
        audio.check_length(round(stream.seconds * SAMPLING_RATE), audio.name_of(audio_input))
        yield from stream.finish()

    yield from join(events(), recognizer, lambda: stream.seconds)


def join(events: Iterable[Event], recognizer: Recognizer, duration: Callable[[], float]) -> Iterator[Span]:
    """Join neighboring events of one emotion to one span.

    Args:
        events: Events in order.
        recognizer: Has the threshold of confident spans.
        duration: Returns the length of the recording in seconds; called after the last event.
    """
    open_span: _OpenSpan | None = None
    for event in events:
        if open_span is None:
            open_span = _OpenSpan(0.0, event)
        elif event.emotion == open_span.emotion:
            open_span.add(event)
        else:
            edge = (open_span.middle + event.middle) / 2
            yield open_span.closed(edge, recognizer.threshold)
            open_span = _OpenSpan(edge, event)
    if open_span is not None:
        yield open_span.closed(duration(), recognizer.threshold)


class _OpenSpan:
    """A span that the next event may continue."""

    def __init__(self, start: float, event: Event) -> None:
        self.start, self.emotion, self.labels = start, event.emotion, event.labels
        self.total: NDArray[np.float64] = np.zeros(len(event.labels))
        self.count = 0
        self.add(event)

    def add(self, event: Event) -> None:
        """Extend the span by an event."""
        self.total = self.total + event.scores
        self.count += 1
        self.middle = event.middle

    def closed(self, end: float, threshold: float) -> Span:
        """The span, which ends at ``end`` seconds."""
        times = round(self.start, 3), round(end, 3)
        if self.emotion is None:
            return Span(*times, None, {}, confident=False)
        mean = self.total / self.count
        scores = {label: round(float(score), 6) for label, score in zip(self.labels, mean, strict=True)}
        return Span(*times, self.emotion, scores, confident=scores[self.emotion] >= threshold)
