"""Smoothing of scores over time: averages, and one emotion at a time that changes only by a margin."""

from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

from emofocus.errors import ConfigError

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Smoothing:
    """Settings of smoothing over time.

    Attributes:
        seconds: Time constant of the average of the scores; 0 for none.
        margin: By how much another emotion must be more probable before it replaces the present one.
        release: Seconds without speech after which there is no emotion any more.
    """

    seconds: float = 1.0
    margin: float = 0.1
    release: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values that are not valid (ConfigError)."""
        for name in ("seconds", "margin", "release"):
            value = getattr(self, name)
            if not value >= 0 or (name == "margin" and value >= 1):
                valid = "0 to below 1" if name == "margin" else "0 or more"
                raise ConfigError(f"smoothing: {name} cannot be {value:g} (valid: {valid})")


class Smoother:
    """Running average of scores, and its emotion, segment by segment.

    Args:
        settings: How scores are smoothed.
        hop: Seconds from segment to segment.

    Attributes:
        mean: Averaged scores (C,); None while there is no speech.
        label: Number of the emotion; None while there is no speech.
    """

    def __init__(self, settings: Smoothing, hop: float) -> None:
        self.settings, self.hop = settings, hop
        self.kept = exp(-hop / settings.seconds) if settings.seconds else 0.0
        self.reset()

    def reset(self) -> None:
        """Forget all scores."""
        self.mean: Array | None = None
        self.label: int | None = None
        self._quiet = 0.0

    def update(self, scores: Array, speech: bool) -> None:
        """Add the scores of the next segment (C,), and whether it is speech."""
        if not speech:
            self._quiet += self.hop
            if self._quiet > self.settings.release:
                self.mean = self.label = None
            return
        self._quiet = 0.0
        mean = scores if self.mean is None else self.kept * self.mean + (1 - self.kept) * scores
        self.mean = np.asarray(mean, np.float32)
        best = int(self.mean.argmax())
        if self.label is None or self.mean[best] >= self.mean[self.label] + self.settings.margin:
            self.label = best
