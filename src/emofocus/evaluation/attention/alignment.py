"""Does attention fall on the loudest moment? Measures over attention maps, and a null of loudness turned in time.

Kim, An and Kim (Interspeech 2022) say of their figure 2 that focus makes each query attend to the largest amplitude of
its segment, and that calibration makes the query *of* the largest amplitude attend to what surrounds it. Both are
shares of queries or of attention near a position, so that they can be measured at any position: at the peak, and at
where it would be if it had nothing to do with what attention sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emofocus.recognition.explanation.explainer import head_shares, peaks_of

Array = NDArray[np.float32]
Numbers = NDArray[np.int64]

MEASURES = ("hit", "mass", "ring", "peak_hit", "peak_mass", "peak_ring", "even", "even_ring")
"""In the order of the first axis of what `Alignment.at` returns."""


class Reach(NamedTuple):
    """What counts as near, in positions of the maps.

    Attributes:
        near: Positions on either side that belong to the peak.
        ring: Positions on either side up to which its surroundings reach.
    """

    near: int
    ring: int

    @classmethod
    def of(cls, near_seconds: float, ring_seconds: float, position_seconds: float) -> "Reach":
        """From seconds; surroundings are one position at least."""
        near = int(near_seconds / position_seconds + 1e-9)
        return cls(near, max(near + 1, round(ring_seconds / position_seconds)))


@dataclass(frozen=True)
class Alignment:
    """Measures of each segment and head, were the loudest moment at each of its positions.

    Heads are those of the network and, last, all of them together, weighted by their gates: h + 1.

    Attributes:
        values: (measures, S, h + 1, m), in the order of `MEASURES`:
            hit, the share of queries whose top key is near; mass, the mean share of attention that queries give to what
            is near; ring, to its surroundings; the same three of the query at the position itself; and what equal
            attention would give to what is near, and to its surroundings.
        lengths: Positions of each segment that are no padding (S,).
    """

    values: Array
    lengths: Numbers

    def at(self, peaks: Numbers) -> Array:
        """Measures with the loudest moments at some positions: (S,) → (measures, S, h + 1)."""
        return self.values[:, np.arange(len(peaks)), :, peaks].transpose(1, 0, 2)

    @classmethod
    def joined(cls, parts: Sequence["Alignment"]) -> "Alignment":
        """Several batches as one."""
        return cls(np.concatenate([part.values for part in parts], axis=1), np.concatenate([p.lengths for p in parts]))


def measure(weights: Array, gates: Array | None, lengths: Numbers, reach: Reach) -> Alignment:
    """Measure attention maps around every position.

    Args:
        weights: (S, h, m, m), query down, key across, before calibration.
        gates: (S, h), or None for equal heads.
        lengths: Positions of each segment that are no padding (S,).
        reach: What counts as near.
    """
    maps = with_all_heads(weights, gates)  # (S, h + 1, m, m)
    segments, heads, m, _ = maps.shape
    valid = np.arange(m) < lengths[:, None]  # (S, m)
    share = (valid / lengths[:, None])[:, None, :, None].astype(np.float32)  # of each query
    received = (maps * share).sum(axis=2)  # (S, h + 1, m)
    tops = maps.argmax(axis=3)  # (S, h + 1, m)
    hits = np.zeros((segments, heads, m), np.float32)
    rows, columns = np.ogrid[:segments, :heads]
    for query in range(m):
        np.add.at(hits, (rows, columns, tops[:, :, query]), share[:, :, query, 0])
    own = np.arange(m)
    near, ring = window_sums(maps, reach.near), window_sums(maps, reach.ring)
    even, even_ring = (
        window_sums((valid / lengths[:, None]).astype(np.float32), size)[:, None] for size in (reach.near, reach.ring)
    )
    mass = window_sums(received, reach.near)
    found = {
        "hit": window_sums(hits, reach.near),
        "mass": mass,
        "ring": window_sums(received, reach.ring) - mass,
        "peak_hit": np.abs(tops - own) <= reach.near,
        "peak_mass": near[:, :, own, own],
        "peak_ring": (ring - near)[:, :, own, own],
        "even": even,
        "even_ring": even_ring - even,
    }
    shape = (segments, heads, m)
    return Alignment(np.stack([np.broadcast_to(found[name], shape).astype(np.float32) for name in MEASURES]), lengths)


def with_all_heads(weights: Array, gates: Array | None) -> Array:
    """Heads, and behind them their mean by gates: (S, h, m, m) → (S, h + 1, m, m)."""
    mean = np.einsum("shqk,sh->sqk", weights, head_shares(weights, gates))
    return np.concatenate([weights, mean[:, None]], axis=1)


def window_sums(values: Array, reach: int) -> Array:
    """Sum of the values within ``reach`` of each position of the last axis; beyond its ends there is nothing."""
    m = values.shape[-1]
    total = np.zeros((*values.shape[:-1], m + 1), np.float64)
    np.cumsum(values, axis=-1, out=total[..., 1:])
    places = np.arange(m)
    ends, starts = np.minimum(places + reach + 1, m), np.maximum(places - reach, 0)
    return np.asarray(total[..., ends] - total[..., starts], np.float32)


def turned_peaks(
    amplitude: Array, starts: Numbers, frames: int, step: int, turns: int, generator: np.random.Generator
) -> Numbers:
    """Where peaks would be if loudness were turned by a random time within the speech of the utterance.

    Loudness stays as it is, slow and in bursts, and loses its tie to what is heard: a null that keeps the dependence of
    overlapping segments.

    Args:
        amplitude: As in `peaks_of`.
        starts: As above; speech is from the first one's start to the last one's end.
        frames: As above.
        step: As above.
        turns: How many times.
        generator: Of the times.

    Returns:
        (turns, S).
    """
    first, last = int(starts[0]), min(len(amplitude), int(starts[-1]) + frames)
    found = []
    for shift in generator.integers(1, max(2, last - first), size=turns):
        turned = amplitude.copy()
        turned[first:last] = np.roll(amplitude[first:last], shift)
        found.append(peaks_of(turned, starts, frames, step))
    return np.stack(found)
