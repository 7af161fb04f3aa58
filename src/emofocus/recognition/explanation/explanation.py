"""What a model listened to in a clip: the numbers behind the figures, out of `model.onnx`'s own outputs."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE, Waveform
from emofocus.recognition.prediction import Array, Prediction, Times

PLACES = (0.6, 0.4, 0.2)
"""Where the loudest moment lies in the three segments that are shown of it: as in the paper's figure 2."""


@dataclass(frozen=True)
class Explanation:
    """What a model heard in a clip, or in a part of it, and where it listened.

    Times are seconds of the clip. n frames, F features, S segments of m positions, h heads, C labels. `AXES` names the
    axes of each array, `coordinates` says where their entries lie.

    Attributes:
        name: Of the clip.
        model: Of the network.
        feature_groups: What `features` are, in their order: a name, and how many.
        prediction: What was heard, whole and in each segment.
        waveform: Samples (T,), 16 kHz.
        start: Where the part begins in the clip.
        loudest: When the largest sample of all is.
        frames: Middle of each frame (n,), in seconds.
        features: What the network hears of each frame (n, F).
        amplitude: Largest absolute sample nearer to a frame's middle than to any other's (n,).
        attention: What each frame gets over what it would get if all positions got the same (n,): the mean over
            segments, heads (by their gates) and queries. NaN of frames that only silent segments hold.
        received: The same of each position of a segment (S, m); NaN behind the end of a clip shorter than a segment.
        peaks: When the largest sample of a segment is (S,).
        peak_positions: Position in the maps where it is (S,).
        centre: Mean over queries of where a head's focus lies (S, h); None without focus.
        scope: Mean over queries of how wide it is, in seconds: two standard deviations of the Gaussian; or None.
        gates: Weight of each head (S, h); None without calibration.
        maps: Attention of the segments `mapped`, query down, key across, before calibration (K, h, m, m).
        mapped: Numbers of these segments (K,).
        position_seconds: Seconds of a position.
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

    @property
    def end(self) -> float:
        """Where the part ends in the clip."""
        return self.start + self.prediction.duration

    @property
    def heads(self) -> int:
        """How many heads there are."""
        return int(self.maps.shape[1])

    @property
    def even_features(self) -> Array:
        """Features over their own means, in their own standard deviations, so that soft ones show too (n, F)."""
        spread = self.features.std(axis=0)
        return np.asarray((self.features - self.features.mean(axis=0)) / np.where(spread > 0, spread, 1), np.float32)

    @property
    def calibrated_maps(self) -> Array:
        """Maps times gates, as the network uses them: rows sum to their head's gate."""
        if self.gates is None:
            return self.maps
        return np.asarray(self.maps * self.gates[self.mapped][:, :, None, None], np.float32)

    def page(self, start: float, end: float) -> "Explanation":
        """The frames and segments of some seconds, without maps: what a page of a long recording shows."""
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
        """Which of the mapped segments, 0 … K - 1, has its middle nearest to a second of the clip."""
        return int(np.abs(self.coordinates()["mapped segment"] - second).argmin())

    def around_the_loudest(self) -> list[float]:
        """Middles of three segments that hold the loudest moment late, in their middle and early."""
        timeline = self.prediction.timeline
        size = float(timeline.ends[0] - timeline.starts[0])
        return [self.loudest + (0.5 - place) * size for place in PLACES]

    def coordinates(self) -> dict[str, NDArray[Any]]:
        """Where the entries of each axis lie: seconds of the clip; keys and queries count from a segment's start."""
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
