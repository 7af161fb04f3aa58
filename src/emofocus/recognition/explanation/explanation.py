"""The attention behind a prediction: the numbers of figures and pages, from the outputs of `model.onnx`."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import Waveform
from emofocus.recognition.prediction import Array, Prediction, Times

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREAD = 2.5
"""Range of brightness of a feature, in standard deviations on either side of its mean."""

DARKEST = {"mel bands": 5, "pitch": 50}
"""Groups of features that share a unit, and the percentile of their values that is drawn darkest.

A spectrum and a pitchgram are known by their ridges. If each of their features were drawn over its own mean, the weak
noise between ridges would look as strong as the ridges.
"""

PLACES = (0.6, 0.4, 0.2)
"""Position of the loudest moment in the three segments that are shown, as shares of their length (PAPER: figure 2)."""


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """The prediction for a clip, or for a part of it, and the attention behind it.

    Times are seconds of the clip. There are n frames of F features, S segments of m positions, h heads, C labels.
    `AXES` names the axes of each array, and `coordinates` has the positions of their entries.

    Attributes:
        name: Name of the clip.
        model: Name of the network.
        feature_groups: Names and numbers of the features, in their order.
        prediction: Prediction for the part.
        waveform: Samples of the part (T,), 16 kHz.
        start: Start of the part in the clip.
        loudest: Time of the largest absolute sample.
        frames: Time of each frame's middle (n,).
        features: Features of each frame, before normalization (n, F).
        amplitude: Largest absolute sample that is nearer to a frame's middle than to any other's (n,).
        attention: Attention to each frame over an even share (n,): the mean over segments, queries and, weighted by
            their gates, heads. NaN for frames that only silent segments hold.
        received: Attention to each position of a segment over an even share (S, m); NaN behind the end of a clip that
            is shorter than a segment.
        peaks: Time of the largest absolute sample of each segment (S,).
        peak_positions: Position of that sample in the maps (S,).
        centre: Centre of each head's focus, the mean over queries (S, h); None without focus.
        scope: Width of each head's focus in seconds, two standard deviations of the Gaussian, the mean over queries
            (S, h); None without focus.
        gates: Calibration weight of each head (S, h); None without calibration.
        maps: Attention maps of the segments `mapped`, query by key, before calibration (K, h, m, m).
        mapped: Numbers of these segments (K,).
        position_seconds: Length of a position in seconds.
    """

    AXES: ClassVar[dict[str, tuple[str, ...]]] = {
        "frames": ("frame",),
        "features": ("frame", "feature"),
        "amplitude": ("frame",),
        "attention": ("frame",),
        "received": ("segment", "key"),
        "peaks": ("segment",),
        "peak_positions": ("segment",),
        "centre": ("segment", "head"),
        "scope": ("segment", "head"),
        "gates": ("segment", "head"),
        "maps": ("mapped segment", "head", "query", "key"),
        "mapped": ("mapped segment",),
    }

    name: str
    model: str
    feature_groups: tuple[tuple[str, int], ...]
    prediction: Prediction
    waveform: Waveform
    start: float
    loudest: float
    frames: Times
    features: Array
    amplitude: Array
    attention: Array
    received: Array
    peaks: Times
    peak_positions: NDArray[np.int64]
    centre: Times | None
    scope: Times | None
    gates: Array | None
    maps: Array
    mapped: NDArray[np.int64]
    position_seconds: float

    def __eq__(self, other: object) -> bool:
        """Whether the other one is an explanation with the same prediction and numbers."""
        if not isinstance(other, Explanation):
            return NotImplemented
        return all(_same(getattr(self, item.name), getattr(other, item.name)) for item in fields(self))

    __hash__ = None  # type: ignore[assignment]  # arrays have none

    def __repr__(self) -> str:
        """Name of the clip, prediction, and the loudest moment."""
        shown = f"{self.name!r}, {self.prediction!r}, {self.heads} heads, loudest at {self.loudest:.2f} s"
        return f"Explanation({shown})"

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draw the attention over time above the loudness of the clip.

        Args:
            axes: Axes of matplotlib; None for new ones.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from emofocus.recognition.display import plot_explanation  # imported here: explaining starts without it

        return plot_explanation(self, axes)

    @property
    def end(self) -> float:
        """End of the part in the clip."""
        return self.start + self.prediction.duration

    @property
    def heads(self) -> int:
        """Number of heads."""
        return int(self.maps.shape[1])

    @property
    def brightness(self) -> Array:
        """Features (n, F) from 0 to 1: those of `DARKEST` over their group, others each over its own mean."""
        ends = np.cumsum([count for _, count in self.feature_groups])
        parts = np.split(self.features, ends[:-1], axis=1)
        shown = [_brightness(part, name) for part, (name, _) in zip(parts, self.feature_groups, strict=True)]
        return np.concatenate(shown, axis=1).astype(np.float32)

    def page(self, start: float, end: float) -> "Explanation":
        """The frames and segments from ``start`` to ``end`` seconds, without maps: one page of a long recording."""
        timeline = self.prediction.timeline
        middles = (timeline.starts + timeline.ends) / 2
        first = int(np.searchsorted(middles, start))
        last = max(int(np.searchsorted(middles, end)), first + 1)
        first = min(first, len(middles) - 1)
        kept = {
            "frame": slice(*np.searchsorted(self.frames, (start, end))),
            "segment": slice(first, last),
            "mapped segment": slice(0),
        }
        cut: dict[str, Any] = {}
        for name, (axis, *_) in self.AXES.items():
            values = getattr(self, name)
            cut[name] = None if values is None else values[kept[axis]]
        begins, ends = (round((second - self.start) * SAMPLING_RATE) for second in (start, end))
        cut["prediction"] = replace(self.prediction, timeline=timeline[first:last], duration=end - start)
        return replace(self, waveform=self.waveform[begins:ends], start=start, **cut)

    def nearest(self, second: float) -> int:
        """Number, 0 … K - 1, of the mapped segment whose middle is nearest to a second of the clip."""
        return int(np.abs(self.coordinates()["mapped segment"] - second).argmin())

    def around_the_loudest(self) -> list[float]:
        """Middles of three segments that hold the loudest moment late, near their middle and early."""
        timeline = self.prediction.timeline
        size = float(timeline.ends[0] - timeline.starts[0])
        return [self.loudest + (0.5 - place) * size for place in PLACES]

    def coordinates(self) -> dict[str, NDArray[Any]]:
        """Positions of the entries of each axis: seconds of the clip; for keys and queries, of their segment."""
        timeline = self.prediction.timeline
        middles = (timeline.starts + timeline.ends) / 2
        positions = (np.arange(self.maps.shape[2]) + 0.5) * self.position_seconds
        return {
            "frame": self.frames,
            "feature": np.arange(self.features.shape[1]),
            "segment": middles,
            "mapped segment": middles[self.mapped],
            "head": np.arange(1, self.heads + 1),
            "query": positions,
            "key": positions,
        }


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(first, second, equal_nan=first is not None and first.dtype.kind == "f")
    return bool(first == second)


def _brightness(features: Array, group: str) -> Array:
    """Features (n, F) of a group from 0 to 1."""
    if group in DARKEST:
        low, high = float(np.percentile(features, DARKEST[group])), float(features.max())
        return np.asarray(((features - low) / max(high - low, 1e-9)).clip(0, 1))
    spread = features.std(axis=0)
    even = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.asarray(((even + SPREAD) / (2 * SPREAD)).clip(0, 1))
