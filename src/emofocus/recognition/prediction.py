"""The result of recognition: a label, its probability, and the same for each segment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.notices import Notice
from emofocus.config import ModelConfig

Array = NDArray[np.float32]
Times = NDArray[np.float64]  # float32 cannot tell milliseconds apart after a few hours


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of a timeline.

    The temperature was fitted on whole utterances; how well it suits segments has not been measured.

    Attributes:
        start: Seconds.
        end: Seconds.
        label: The likeliest emotion.
        scores: Probability of each emotion.
    """

    start: float
    end: float
    label: str
    scores: dict[str, float]


class Timeline(Sequence[Segment]):
    """Sequence of `Segment`, each made on access: an hour has 36,000 of them.

    Attributes:
        starts: Start of each segment in seconds (S,).
        ends: End of each segment in seconds (S,).
        probabilities: Probability of each label in each segment (S, C), in the order of ``labels``.
        speech: Whether a segment is loud enough to count for the whole clip (S,).
        labels: Names of the emotions (C,).
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
        """One segment, or the timeline of a slice."""
        if isinstance(index, slice):
            parts = (self.starts[index], self.ends[index], self.probabilities[index], self.speech[index])
            return Timeline(*parts, self.labels)
        scores = self.probabilities[index]
        return Segment(
            start=round(float(self.starts[index]), 3),
            end=round(float(self.ends[index]), 3),
            label=self.labels[int(scores.argmax())],
            scores=scores_by_label(scores, self.labels),
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """The emotion of one clip.

    Attributes:
        label: The likeliest emotion.
        scores: Probability of each emotion, in the order of the model's labels.
        duration: Length of the clip in seconds.
        timeline: One `Segment` after the other.
        confident: Whether the probability of the label reaches the threshold.
        notices: Faults of the recording, each with its kind.
    """

    label: str
    scores: dict[str, float]
    duration: float
    timeline: Timeline
    confident: bool = True
    notices: tuple[Notice, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Faults of the recording as text: the kind, a colon, and the fact."""
        return tuple(map(str, self.notices))

    def with_notices(self, notices: Sequence[Notice]) -> "Prediction":
        """The same prediction whose notices begin with those of reading its file."""
        return replace(self, notices=(*notices, *self.notices)) if notices else self

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the form of the JSON output."""
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


def segment_times(count: int, duration: float, config: ModelConfig) -> tuple[Times, Times]:
    """Start and end of each segment in seconds."""
    frame = config.features.hop / SAMPLING_RATE
    starts: Times = np.arange(count) * np.float64(config.segment.hop * frame)
    ends: Times = np.minimum(starts + config.segment.frames * frame, duration)
    return starts, ends


def scores_by_label(probabilities: Array, labels: tuple[str, ...]) -> dict[str, float]:
    """Probabilities (C,) by their labels, rounded to six decimals."""
    return {label: round(float(score), 6) for label, score in zip(labels, probabilities, strict=True)}
