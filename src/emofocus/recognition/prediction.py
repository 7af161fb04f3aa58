"""What was heard in a clip: a label, its probability, and the same for each segment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.quality import Quality
from emofocus.config import ModelConfig
from emofocus.segments import active_segments, energy, softmax, utterance_logits

Array = NDArray[np.float32]
Times = NDArray[np.float64]  # float32 cannot tell milliseconds apart after a few hours


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of a timeline: seconds, the likeliest label, and the probability of each.

    The temperature is that of whole utterances, on which it was fitted: nobody has measured how well it suits segments.
    """

    start: float
    end: float
    label: str
    scores: dict[str, float]


class Timeline(Sequence[Segment]):
    """Segments in order, made when they are looked at: an hour has 36,000 of them.

    Attributes:
        starts: Seconds (S,).
        ends: Seconds (S,).
        probabilities: (S, C), in the order of ``labels``.
        speech: Whether a segment is loud enough to count for the whole (S,).
    """

    def __init__(
        self,
        starts: Times,
        ends: Times,
        probabilities: Array,
        speech: NDArray[np.bool_],
        labels: tuple[str, ...],
    ) -> None:
        self.starts, self.ends = starts, ends
        self.probabilities, self.speech, self.labels = probabilities, speech, labels

    def __len__(self) -> int:
        """Number of segments."""
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> "Timeline": ...
    def __getitem__(self, index: int | slice) -> "Segment | Timeline":
        """One segment, or a stretch of the timeline."""
        if isinstance(index, slice):
            parts = (self.starts[index], self.ends[index], self.probabilities[index], self.speech[index])
            return Timeline(*parts, self.labels)
        scores = self.probabilities[index]
        return Segment(
            start=round(float(self.starts[index]), 3),
            end=round(float(self.ends[index]), 3),
            label=self.labels[int(scores.argmax())],
            scores=_named(scores, self.labels),
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was heard in one clip.

    Attributes:
        label: The likeliest emotion.
        scores: Probability of each emotion, in the order of the model's labels.
        duration: Seconds.
        timeline: One entry a segment.
        confident: Whether the probability of the label reaches the threshold.
        warnings: What is wrong with the recording, if anything is: soft, clipped, narrow, noisy, sparse, unlike.
    """

    label: str
    scores: dict[str, float]
    duration: float
    timeline: Timeline
    confident: bool = True
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in the JSON output."""
        timeline = [
            {"start": item.start, "end": item.end, "label": item.label, "scores": item.scores} for item in self.timeline
        ]
        return {
            "label": self.label,
            "confident": self.confident,
            "warnings": list(self.warnings),
            "scores": self.scores,
            "duration": self.duration,
            "timeline": timeline,
        }


def predict(
    logits: Array, level: Array, quality: Quality, config: ModelConfig, threshold: float, start: float = 0.0
) -> Prediction:
    """Make a prediction of what a model gave.

    Args:
        logits: Of each segment (S, C).
        level: Of each frame (n,), in dB.
        quality: Has watched the recording.
        config: The model's.
        threshold: Top probability from which on the prediction is confident.
        start: Where it begins, in seconds; all times are counted from there.
    """
    speech = active_segments(level, config.segment)
    mean = utterance_logits(logits, speech)
    scores = softmax(mean, config.temperature)
    duration = quality.samples / SAMPLING_RATE
    starts, ends = segment_times(len(logits), duration, config)
    timeline = Timeline(start + starts, start + ends, softmax(logits, config.temperature), speech, config.labels)
    named, label = _named(scores, config.labels), config.labels[int(scores.argmax())]
    warnings = quality.warnings(level, float(energy(mean)), config.energy)
    return Prediction(label, named, round(duration, 3), timeline, named[label] >= threshold, warnings)


def segment_times(count: int, duration: float, config: ModelConfig) -> tuple[Times, Times]:
    """Start and end of each segment in seconds."""
    frame = config.features.hop / SAMPLING_RATE
    starts: Times = np.arange(count) * np.float64(config.segment.hop * frame)
    ends: Times = np.minimum(starts + config.segment.frames * frame, duration)
    return starts, ends


def _named(scores: Array, labels: tuple[str, ...]) -> dict[str, float]:
    return {label: round(float(score), 6) for label, score in zip(labels, scores, strict=True)}
