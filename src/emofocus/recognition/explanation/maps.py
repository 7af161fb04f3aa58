"""Figure of attention maps, models side by side: figure 2 of Kim, An and Kim (Interspeech 2022)."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from emofocus.errors import ConfigError, one_of
from emofocus.recognition.explanation.explanation import Explanation
from emofocus.recognition.explanation.figures import draw_waveform
from emofocus.utils.plotting import GREY, MAP, ORANGE, blank

SEGMENTS = ("#E69F00", "#F0E442", "#009E73")
"""Colors of segments: the paper's orange, yellow and green, from the palette of Okabe and Ito."""

SHOWN_HEADS = 2
"""Number of heads of each model that are shown by default (PAPER: 2); of a single model, twice as many."""

MAP_INCHES = 1.75
"""Width and height of a map."""

CAPTION = (
    "Query down, key across, in seconds of the segment; the darker, the more attention. Orange lines mark the "
    "segment's loudest moment: attention that had found it would be a dark column on the upright line."
)


def draw_maps(explanations: Sequence[Explanation], seconds: Sequence[float] = (), heads: Sequence[int] = ()) -> Any:
    """Draw the waveform and, for each segment and each model, the attention maps of some heads.

    Args:
        explanations: Explanations of one clip, one for each model.
        seconds: For each, the segment whose middle is nearest is shown; by default three around the loudest moment.
        heads: Numbers of heads, from 1; by default those with the highest single weight.

    Returns:
        A matplotlib figure. Call it within `emofocus.utils.plotting.style`.

    Raises:
        ConfigError: A model lacks one of the heads.
    """
    rows = _rows(explanations, seconds or explanations[0].around_the_loudest())
    count = SHOWN_HEADS if len(explanations) > 1 else 2 * SHOWN_HEADS
    chosen = [
        choose_heads(item, [row[number] for row in rows], heads, count) for number, item in enumerate(explanations)
    ]
    columns = sum(map(len, chosen))
    width = max(8.0, 0.8 + MAP_INCHES * columns)
    figure = blank(2.6 + (MAP_INCHES + 0.25) * len(rows), width)
    grid = figure.add_gridspec(len(rows) + 1, columns, height_ratios=(1.5, *(MAP_INCHES + 0.25 for _ in rows)))
    _draw_clip(figure.add_subplot(grid[0, :]), explanations[0], [row[0] for row in rows])
    shown = [(number, head) for number, numbers in enumerate(chosen) for head in numbers]
    for place, row in enumerate(rows):
        for column, (number, head) in enumerate(shown):
            axes = figure.add_subplot(grid[place + 1, column])
            _draw_map(axes, explanations[number], row[number], head, SEGMENTS[place % len(SEGMENTS)])
    figure.suptitle(f"{Path(explanations[0].name).name}: which key each query attends to", fontsize=12)
    figure.supxlabel("\n".join(wrap(CAPTION, int(13 * width))), fontsize=9)
    return figure


def _rows(explanations: Sequence[Explanation], seconds: Sequence[float]) -> list[tuple[int, ...]]:
    """Numbers of the mapped segments of each model that are shown in one row; rows are not repeated."""
    return list(dict.fromkeys(tuple(item.nearest(second) for item in explanations) for second in seconds))


def choose_heads(explanation: Explanation, segments: Sequence[int], heads: Sequence[int], count: int) -> list[int]:
    """Numbers of heads from 0: the chosen ones, or those with the highest weights in some segments.

    Args:
        explanation: Explanation of the clip.
        segments: Numbers of mapped segments.
        heads: Numbers of chosen heads from 1, or none.
        count: Number of heads if none are chosen.

    Raises:
        ConfigError: The model lacks one of the heads.
    """
    for head in heads:
        if not 1 <= head <= explanation.heads:
            raise ConfigError(f"{explanation.model} has no head {head} ({one_of(range(1, explanation.heads + 1))})")
    if heads:
        return [head - 1 for head in heads]
    strongest = explanation.maps[list(segments)].max(axis=(0, 2, 3))
    return sorted(np.argsort(-strongest, kind="stable")[:count].tolist())


def _draw_clip(axes: Any, explanation: Explanation, segments: Sequence[int]) -> None:
    """Draw the waveform, and each segment as a colored bar above it."""
    draw_waveform(explanation, axes)
    reach = axes.get_ylim()[1]
    timeline = explanation.prediction.timeline
    for row, number in enumerate(segments):
        index = int(explanation.mapped[number])
        begins, ends = float(timeline.starts[index]), float(timeline.ends[index])
        color = SEGMENTS[row % len(SEGMENTS)]
        floor = reach * (1.05 + 0.25 * (len(segments) - 1 - row))
        axes.broken_barh([(begins, ends - begins)], (floor, 0.2 * reach), color=color)
        axes.axvspan(begins, ends, color=color, alpha=0.18, linewidth=0)
    axes.set_ylim(-reach, reach * (1.1 + 0.25 * len(segments)))
    axes.set_xlim(explanation.start, explanation.end)
    axes.set(xlabel="seconds; bars are the segments below, the line is the loudest moment")


def _draw_map(axes: Any, explanation: Explanation, segment: int, head: int, color: str) -> None:
    """Draw the map of one head."""
    position = explanation.position_seconds
    index = int(explanation.mapped[segment])
    weights = explanation.maps[segment, head]
    edges = np.arange(len(weights) + 1) * position
    axes.pcolormesh(edges, edges, weights, cmap=MAP, vmin=0, vmax=float(weights.max()))
    peak = (explanation.peak_positions[index] + 0.5) * position
    axes.axvline(peak, color=ORANGE, linewidth=1.0, linestyle=(0, (4, 2)))
    axes.axhline(peak, color=ORANGE, linewidth=1.0, linestyle=(0, (1, 2)))
    axes.set(xlim=(0, edges[-1]), ylim=(edges[-1], 0), aspect="equal")
    axes.tick_params(labelsize=7, length=2, color=GREY)
    axes.spines[:].set_visible(True)
    axes.spines[:].set(color=color, linewidth=2.0)
    gate = "" if explanation.gates is None else f", gate {explanation.gates[index, head]:.2f}"
    axes.set_title(f"{explanation.model}\nhead {head + 1}{gate}, to {weights.max():.2f}", fontsize=8)
