"""Alignment of attention with the loudest moment, and a null of loudness shifted in time.

Kim, An and Kim (Interspeech 2022) claim with their figure 2 that focus makes each query attend to the largest amplitude
of its segment, and that calibration makes the query *of* the largest amplitude attend to its surroundings. Both are
shares of queries or of attention near a position. They are measured at the peak, and at positions where the peak would
be if it were independent of the attended input.
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
"""Measures in the order of the first axis of `Alignment.values`."""


class Reach(NamedTuple):
    """Extent of a peak and of its surroundings, in positions of the maps.

    Attributes:
        near: Positions on either side that belong to the peak.
        ring: Positions on either side up to which its surroundings reach; the peak itself is no part of them.
    """

    near: int
    ring: int

    @classmethod
    def of(cls, near_seconds: float, ring_seconds: float, position_seconds: float) -> "Reach":
        """Convert seconds to positions; surroundings are at least one position wide."""
        near = int(near_seconds / position_seconds + 1e-9)
        return cls(near, max(near + 1, round(ring_seconds / position_seconds)))


@dataclass(frozen=True)
class Alignment:
    """Measures of each segment and head for a peak at each position.

    The heads are those of the network, followed by their mean weighted by gates: h + 1.

    Attributes:
        values: (measures, S, h + 1, m), in the order of `MEASURES`:
            hit, the share of queries whose top key is near; mass, the mean share of attention on near positions; ring,
            on their surroundings; the same three for the query at the peak; and the shares of even attention on near
            positions and on their surroundings.
        lengths: Number of positions of each segment without padding (S,).
    """

    values: Array
    lengths: Numbers

    def at(self, peaks: Numbers) -> Array:
        """Measures for peaks at given positions: (…, S) → (…, measures, S, h + 1)."""
        found = self.values[:, np.arange(peaks.shape[-1]), :, peaks]  # (…, S, measures, h + 1)
        return found.swapaxes(-3, -2)

    @classmethod
    def joined(cls, parts: Sequence["Alignment"]) -> "Alignment":
        """Join several batches along the segments."""
        return cls(np.concatenate([part.values for part in parts], axis=1), np.concatenate([p.lengths for p in parts]))


def measure(weights: Array, gates: Array | None, lengths: Numbers, reach: Reach) -> Alignment:
    """Measure attention maps around every position.

    Args:
        weights: Attention before calibration (S, h, m, m), queries in rows, keys in columns.
        gates: Weights of the heads (S, h); None for equal heads.
        lengths: Number of positions of each segment without padding (S,).
        reach: Extent of a peak and of its surroundings.
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
    position = np.arange(m)
    near, ring = window_sums(maps, reach.near), window_sums(maps, reach.ring)
    even, even_ring = (
        window_sums((valid / lengths[:, None]).astype(np.float32), size)[:, None] for size in (reach.near, reach.ring)
    )
    mass = window_sums(received, reach.near)
    values = {
        "hit": window_sums(hits, reach.near),
        "mass": mass,
        "ring": window_sums(received, reach.ring) - mass,
        "peak_hit": np.abs(tops - position) <= reach.near,
        "peak_mass": near[:, :, position, position],
        "peak_ring": (ring - near)[:, :, position, position],
        "even": even,
        "even_ring": even_ring - even,
    }
    shape = (segments, heads, m)
    return Alignment(np.stack([np.broadcast_to(values[name], shape).astype(np.float32) for name in MEASURES]), lengths)


def with_all_heads(weights: Array, gates: Array | None) -> Array:
    """Append the mean of all heads, weighted by gates: (S, h, m, m) → (S, h + 1, m, m)."""
    mean = np.einsum("shqk,sh->sqk", weights, head_shares(weights, gates))
    return np.concatenate([weights, mean[:, None]], axis=1)


def window_sums(values: Array, reach: int) -> Array:
    """Sum of the values within ``reach`` of each position of the last axis, zero-padded at its ends."""
    m = values.shape[-1]
    total = np.zeros((*values.shape[:-1], m + 1), np.float64)
    np.cumsum(values, axis=-1, out=total[..., 1:])
    position = np.arange(m)
    ends, starts = np.minimum(position + reach + 1, m), np.maximum(position - reach, 0)
    return np.asarray(total[..., ends] - total[..., starts], np.float32)


def turned_peaks(
    amplitude: Array, starts: Numbers, frames: int, step: int, turns: int, generator: np.random.Generator, speech: slice
) -> Numbers:
    """Peaks of loudness that is shifted cyclically by a random time within the speech of the utterance.

    Loudness keeps its course, slow and in bursts, but loses its relation to the speech. As a null it keeps the
    dependence of overlapping segments.

    Args:
        amplitude: Amplitude of each frame (n,), as in `peaks_of`.
        starts: First frame of each segment (S,).
        frames: Frames of a segment.
        step: Frames of a position.
        turns: Number of shifts.
        generator: Random generator of the shifts.
        speech: Frames of the speech, as in `segments_span` or `speech_span`.

    Returns:
        Position of the peak of each segment, for each shift (turns, S).
    """
    length = max(2, speech.stop - speech.start)
    shifts = generator.integers(1, length, size=turns)
    sources = (np.arange(speech.stop - speech.start) - shifts[:, None]) % (speech.stop - speech.start)
    turned = np.repeat(amplitude[None], turns, axis=0)  # (turns, n)
    turned[:, speech] = amplitude[speech][sources]
    return peaks_of(turned, starts, frames, step)


def segments_span(starts: Numbers, frames: int, count: int) -> slice:
    """Frames from the first segment's start to the last one's end, in an utterance of ``count`` frames."""
    return slice(int(starts[0]), min(count, int(starts[-1]) + frames))


def speech_span(level: Array, top_db: float, segments: slice) -> slice:
    """Frames from the first to the last one in the segments that is within ``top_db`` of the loudest one's level.

    Segments that are longer than speech hold silence before and behind it. Loudness must not be turned into that:
    attention on speech alone would then pass for attention on its loudest moment.
    """
    within = level[segments]
    loud = segments.start + np.flatnonzero(within >= within.max() - top_db)
    return slice(int(loud[0]), int(loud[-1]) + 1)
