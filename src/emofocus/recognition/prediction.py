"""The result of recognition: a label, its probability, and the same for each segment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.notices import Notice
from emofocus.config import ModelConfig
from emofocus.errors import AudioError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float32]
Times = NDArray[np.float64]  # float32 cannot tell milliseconds apart after a few hours


@dataclass(frozen=True, slots=True, repr=False)
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

    def __repr__(self) -> str:
        """Times, and the likeliest emotion."""
        return f"Segment({self.start:g}–{self.end:g} s, {self.label} {self.scores[self.label]:.2f})"


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

    def __eq__(self, other: object) -> bool:
        """Whether the other one is a timeline with the same times, probabilities and labels."""
        if not isinstance(other, Timeline):
            return NotImplemented
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("starts", "ends", "probabilities", "speech"))
        return self.labels == other.labels and all(np.array_equal(*pair) for pair in pairs)

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    def __repr__(self) -> str:
        """Number of segments, times, and how many segments have each emotion."""
        if not len(self):
            return "Timeline(no segments)"
        numbers = np.bincount(self.probabilities.argmax(axis=1), minlength=len(self.labels))
        counts = ", ".join(
            f"{self.labels[number]} {numbers[number]}"
            for number in np.argsort(-numbers, kind="stable")
            if numbers[number]
        )
        return f"Timeline({_counted(self, 'segment')}, {self.starts[0]:.3g}–{self.ends[-1]:.3g} s: {counts})"

    def to_frame(self, library: str | None = None) -> Any:
        """A table with a row for each segment: start, end, label, speech, and the probability of each emotion.

        Args:
            library: ``pandas`` or ``polars``; by default the first of them that is installed.

        Raises:
            MissingExtraError: It is not installed.
            ConfigError: The name is another one.
        """
        from emofocus.recognition.tables import timeline_frame  # imported here: prediction starts without it

        return timeline_frame(self, library)

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draw the probability of each emotion over time.

        Args:
            axes: Axes of matplotlib; None for new ones.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from emofocus.recognition.display import plot_timeline  # imported here: prediction starts without it

        return plot_timeline(self, axes)

    def _repr_html_(self) -> str:
        """A strip of the likeliest emotions, for notebooks."""
        from emofocus.recognition.display import timeline_html

        return timeline_html(self)


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """The emotion of one clip.

    Attributes:
        label: The likeliest emotion.
        scores: Probability of each emotion, in the order of the model's labels.
        duration: Length of the clip in seconds.
        timeline: One `Segment` after the other.
        confident: Whether the probability of the label reaches the threshold.
        notices: Faults of the recording, each with its kind.
        source: The clip as it was given, for the player in notebooks; it does not count in comparisons.
    """

    label: str
    scores: dict[str, float]
    duration: float
    timeline: Timeline
    confident: bool = True
    notices: tuple[Notice, ...] = ()
    source: Any = field(default=None, compare=False)

    __hash__ = None  # type: ignore[assignment]  # dictionaries have none

    @property
    def warnings(self) -> tuple[str, ...]:
        """Faults of the recording as text: the kind, a colon, and the fact."""
        return tuple(map(str, self.notices))

    @property
    def probability(self) -> float:
        """Probability of the label."""
        return self.scores[self.label]

    def top_k(self, count: int = 3) -> dict[str, float]:
        """Probabilities of the likeliest emotions, the likeliest first."""
        ordered = sorted(self.scores.items(), key=lambda item: -item[1])
        return dict(ordered[:count])

    def __repr__(self) -> str:
        """The likeliest emotions, and the length of the clip."""
        listed = ", ".join(f"{label} {score:.2f}" for label, score in self.top_k().items())
        unsure = "" if self.confident else "unsure: "
        return f"Prediction({unsure}{listed}; {self.duration:g} s, {_counted(self.timeline, 'segment')})"

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draw a bar for the probability of each emotion.

        Args:
            axes: Axes of matplotlib; None for new ones.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from emofocus.recognition.display import plot_scores  # imported here: prediction starts without it

        return plot_scores(self, axes)

    def _repr_html_(self) -> str:
        """Bars of all emotions, and a player of a clip of up to 30 seconds, for notebooks."""
        from emofocus.recognition.display import prediction_html

        return prediction_html(self)

    def with_notices(self, notices: Sequence[Notice]) -> "Prediction":
        """The same prediction whose notices begin with those of reading its file."""
        return replace(self, notices=(*notices, *self.notices)) if notices else self

    def with_source(self, clip: Any) -> "Prediction":
        """The same prediction, which keeps its clip for a player. Open files are not kept: they are read once."""
        return self if hasattr(clip, "read") else replace(self, source=clip)

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


Item = TypeVar("Item", bound="Prediction | AudioError")


class Predictions(Sequence[Item], Generic[Item]):
    """Predictions of several clips in their order, and the error of each clip that has none.

    Attributes:
        names: Name of each clip.
    """

    def __init__(self, items: Iterable[Item], names: Iterable[str]) -> None:
        self._items, self.names = tuple(items), tuple(names)

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> "Predictions[Item]": ...
    def __getitem__(self, index: int | slice) -> "Item | Predictions[Item]":
        """One clip's, or those of a slice."""
        if isinstance(index, slice):
            return Predictions(self._items[index], self.names[index])
        return self._items[index]

    def __eq__(self, other: object) -> bool:
        """Whether a sequence holds the same predictions and errors; errors of one kind and message are the same."""
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(_same, self._items, other))

    __hash__ = None  # type: ignore[assignment]

    @property
    def errors(self) -> dict[int, AudioError]:
        """Position of each clip that could not be recognized, and its error."""
        return {number: item for number, item in enumerate(self._items) if isinstance(item, AudioError)}

    def __repr__(self) -> str:
        """Number of clips, and how many have each emotion."""
        labels = [item.label for item in self._items if isinstance(item, Prediction)]
        counts = sorted(((labels.count(label), label) for label in set(labels)), reverse=True)
        shown = [f"{label} {count}" for count, label in counts]
        shown += [f"errors {len(self.errors)}"] if self.errors else []
        return f"Predictions({_counted(self, 'clip')}{': ' if shown else ''}{', '.join(shown)})"

    def to_frame(self, library: str | None = None) -> Any:
        """A table with a row for each clip: file, label, probability, confidence, duration, each emotion, error.

        Args:
            library: ``pandas`` or ``polars``; by default the first of them that is installed.

        Raises:
            MissingExtraError: It is not installed.
            ConfigError: The name is another one.
        """
        from emofocus.recognition.tables import predictions_frame  # imported here: prediction starts without it

        return predictions_frame(self, library)

    def _repr_html_(self) -> str:
        """A table of the first clips, for notebooks."""
        from emofocus.recognition.display import predictions_html

        return predictions_html(self)


def _counted(items: Sequence[object], name: str) -> str:
    """Number of some items, with their name in the right number."""
    return f"{len(items)} {name}{'' if len(items) == 1 else 's'}"


def _same(first: object, second: object) -> bool:
    if isinstance(first, AudioError):
        return type(first) is type(second) and str(first) == str(second)
    return first == second


def segment_times(count: int, duration: float, config: ModelConfig) -> tuple[Times, Times]:
    """Start and end of each segment in seconds."""
    frame = config.features.hop / SAMPLING_RATE
    starts: Times = np.arange(count) * np.float64(config.segment.hop * frame)
    ends: Times = np.minimum(starts + config.segment.frames * frame, duration)
    return starts, ends


def scores_by_label(probabilities: Array, labels: tuple[str, ...]) -> dict[str, float]:
    """Probabilities (C,) by their labels, rounded to six decimals."""
    return {label: round(float(score), 6) for label, score in zip(labels, probabilities, strict=True)}
