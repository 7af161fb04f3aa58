"""Figures of an explanation: a clip over time, and attention maps of chosen segments.

The figure of maps follows figure 2 of Kim, An and Kim (Interspeech 2022).
"""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.errors import ConfigError, one_of
from emofocus.recognition.explanation.explanation import Explanation
from emofocus.segments import runs
from emofocus.utils.plotting import BLUE, EMOTIONS, GREY, MAP, ORANGE, blank

WIDTH = 9.0
"""Width of the figure in inches."""

ENVELOPE_FROM = 20_000
"""Longest waveform, in samples, that is drawn as a line; a longer one is drawn as an envelope."""

SPREAD = 2.5
"""Range of colors, in standard deviations of a feature on either side of its mean."""

ROW_MARGIN = 0.12
"""Share of a head's row that stays empty above and below."""

SEGMENT_COLORS = ("#E69F00", "#F0E442", "#009E73")
"""Colors of segments: the paper's orange, yellow and green, from the palette of Okabe and Ito."""

SHOWN_HEADS = 2
"""Number of heads of each model that are shown by default (PAPER: 2); of a single model, twice as many."""

MAP_INCHES = 1.75
"""Width and height of a map."""

MAPS_CAPTION = (
    "Query down, key across, in seconds of the segment; the darker, the more attention. Orange lines mark the "
    "segment's loudest moment: attention that had found it would be a dark column on the upright line."
)


def heading(explanation: Explanation) -> str:
    """The emotion and its probability."""
    prediction = explanation.prediction
    return f"{prediction.label}, {prediction.scores[prediction.label]:.0%}"


def caption(explanation: Explanation) -> str:
    """Sentences on the emotion, the seconds with most attention, and the loudest moment."""
    prediction = explanation.prediction
    sure = "" if prediction.confident else " (unsure)"
    text = f"Heard as {prediction.label}{sure}, {prediction.scores[prediction.label]:.0%}"
    best = int(np.nanargmax(explanation.attention))
    first, last = stretch(explanation.attention >= 0.5 * explanation.attention[best], best)
    half = (explanation.frames[1] - explanation.frames[0]) / 2 if len(explanation.frames) > 1 else 0.0
    begins = max(explanation.start, explanation.frames[first] - half)
    ends = min(explanation.end, explanation.frames[last] + half)
    return (
        f"{text}. Attention falls most on {begins:.2f} to {ends:.2f} s, up to {explanation.attention[best]:.1f} times "
        f"an even share; the loudest moment is at {explanation.loudest:.2f} s."
    )


def stretch(held: NDArray[np.bool_], position: int) -> tuple[int, int]:
    """First and last position of the run of true values around a true position."""
    return next((first, last) for first, last in runs(held) if first <= position <= last)


def draw_story(explanation: Explanation, start: float | None = None, end: float | None = None) -> Any:
    """Draw a clip, or a page of it.

    Args:
        explanation: Explanation of the clip.
        start: Start of the page in seconds; None for the whole clip.
        end: End of the page in seconds; None for the whole clip.

    Returns:
        A matplotlib figure. Call it within `emofocus.utils.plotting.style`.
    """
    panels: list[tuple[Any, float]] = [
        (_draw_waveform_panel, 1.0),
        (_draw_attention, 0.4),
        (_draw_features, 1.3),
        (_draw_probabilities, 1.3),
    ]
    if explanation.centre is not None:
        panels.append((_draw_focus, 0.34 * explanation.heads))
    if explanation.gates is not None:
        panels.append((_draw_gates, 0.2 * explanation.heads + 0.1))
    figure = blank(1.6 + 1.15 * sum(height for _, height in panels), WIDTH)
    rows = figure.subplots(
        len(panels), 2, sharex="col", gridspec_kw={"width_ratios": (1, 0.17), "height_ratios": [h for _, h in panels]}
    )
    page = explanation if start is None or end is None else explanation.page(start, end)
    for (draw, _), (axes, side) in zip(panels, rows, strict=True):
        side.set_axis_off()
        draw(page, axes, side)
        axes.set_xlim(page.start, page.end)
        axes.tick_params(labelbottom=False)
    last = rows[-1][0]
    last.tick_params(labelbottom=True)
    last.set_xlabel("seconds")
    title = f"{Path(explanation.name).name}: {heading(explanation)}"
    figure.suptitle(f"{title}\nwhat {explanation.model} heard, and where it listened", fontsize=12)
    text = caption(explanation)
    if np.isnan(explanation.attention).any():
        text += " Grey: in no segment that counts."
    figure.supxlabel("\n".join(wrap(text, 125)), fontsize=9)
    return figure


def draw_waveform(explanation: Explanation, axes: Any) -> None:
    """Draw samples over seconds, and mark the loudest moment."""
    waveform, start = explanation.waveform, explanation.start
    if len(waveform) <= ENVELOPE_FROM:
        axes.plot(start + np.arange(len(waveform)) / SAMPLING_RATE, waveform, color="#333333", linewidth=0.5)
    else:
        size = len(waveform) // (ENVELOPE_FROM // 2)
        blocks = waveform[: len(waveform) // size * size].reshape(-1, size)
        times = start + (np.arange(len(blocks)) + 0.5) * size / SAMPLING_RATE
        axes.fill_between(times, blocks.min(axis=1), blocks.max(axis=1), color="#333333", linewidth=0.3)
    reach = 1.1 * float(np.abs(waveform).max())
    axes.axvline(explanation.loudest, color=ORANGE, linewidth=1.4)
    axes.set(ylim=(-reach, reach), yticks=[])


def _draw_waveform_panel(explanation: Explanation, axes: Any, side: Any) -> None:
    draw_waveform(explanation, axes)
    axes.set_ylabel("wave-\nform")
    note(side, "the line marks\nthe loudest moment", ORANGE)


def _draw_attention(explanation: Explanation, axes: Any, side: Any) -> None:
    """Draw attention as a strip of colors, gray where no segment counts."""
    values = explanation.attention[None]
    edges = edges_of(explanation.frames, explanation.start, explanation.end)
    axes.set_facecolor("#dddddd")
    mesh = axes.pcolormesh(edges, [0, 1], values, cmap=MAP, vmin=0, vmax=max(2.0, float(np.nanmax(values))))
    axes.axvline(explanation.loudest, color=ORANGE, linewidth=1.4)
    axes.set(yticks=[])
    axes.set_ylabel("atten-\ntion")
    scale(side, mesh, "1: an even share")


def _draw_features(explanation: Explanation, axes: Any, side: Any) -> None:
    shown = explanation.even_features
    edges = edges_of(explanation.frames, explanation.start, explanation.end)
    axes.pcolormesh(
        edges, np.arange(shown.shape[1] + 1), shown.T, cmap="cividis", vmin=-SPREAD, vmax=SPREAD, rasterized=True
    )
    axes.set_ylabel("features")
    names, counts = zip(*explanation.feature_groups, strict=True)
    ends = np.cumsum(counts)
    axes.set_yticks(ends - np.array(counts) / 2, [name.replace(" ", "\n", 1) for name in names], fontsize=8)
    axes.tick_params(left=False)
    for edge in ends[:-1]:
        axes.axhline(edge, color="white", linewidth=1)
    note(side, "each over its mean;\nyellow: above it")


def _draw_probabilities(explanation: Explanation, axes: Any, side: Any) -> None:
    timeline = explanation.prediction.timeline
    edges = segment_edges(explanation)
    floor = np.zeros(len(timeline))
    for number, label in enumerate(timeline.labels):
        top = floor + 100 * timeline.probabilities[:, number]
        color = EMOTIONS[number % len(EMOTIONS)]
        axes.stairs(top, edges, baseline=floor, fill=True, color=color, label=label)
        floor = top
    for first, last in runs(~timeline.speech):
        axes.axvspan(edges[first], edges[last + 1], facecolor="white", alpha=0.75, hatch="///", edgecolor=GREY, lw=0)
    axes.set(ylim=(0, 100))
    axes.set_ylabel("probability\n%")
    handles, labels = axes.get_legend_handles_labels()
    side.legend(handles, labels, loc="center left", frameon=False, fontsize=8, reverse=True, borderpad=0)


def _draw_focus(explanation: Explanation, axes: Any, side: Any) -> None:
    """Draw a row for each head: the centre and the width of its focus within the segment."""
    assert explanation.centre is not None
    assert explanation.scope is not None
    timeline = explanation.prediction.timeline
    size = float((timeline.ends - timeline.starts)[0])
    place = (explanation.centre - timeline.starts[:, None]) / size  # (S, h), shares of the segment
    half = explanation.scope / size / 2  # one standard deviation
    edges = segment_edges(explanation)
    for head in range(explanation.heads):
        floor = explanation.heads - 1 - head
        low, middle, high = (
            floor + ROW_MARGIN + (1 - 2 * ROW_MARGIN) * (place[:, head] + sign * half[:, head]).clip(0, 1)
            for sign in (-1, 0, 1)
        )
        axes.stairs(high, edges, baseline=low, fill=True, color=BLUE, alpha=0.3)
        axes.stairs(middle, edges, baseline=None, color=BLUE, linewidth=1.4)
        axes.axhline(floor, color="#bbbbbb", linewidth=0.8)
    axes.set(ylim=(0, explanation.heads))
    axes.set_yticks(
        np.arange(explanation.heads) + 0.5, [f"head {explanation.heads - i}" for i in range(explanation.heads)]
    )
    axes.tick_params(left=False)
    axes.set_ylabel("focus")
    note(
        side,
        f"of each {size:.2g} s segment:\nbottom its start, top its\nend; line: centre, band:\n± a standard deviation",
        BLUE,
    )


def _draw_gates(explanation: Explanation, axes: Any, side: Any) -> None:
    assert explanation.gates is not None
    edges = segment_edges(explanation)
    heads = np.arange(explanation.heads + 1)
    mesh = axes.pcolormesh(
        edges, heads, explanation.gates.T, cmap=MAP, vmin=0, vmax=1, edgecolors="white", linewidth=0.3
    )
    axes.set_yticks(heads[:-1] + 0.5, [f"head {head + 1}" for head in heads[:-1]])
    axes.tick_params(left=False)
    axes.invert_yaxis()
    axes.set_ylabel("gates")
    scale(side, mesh, "weight of a head")


def segment_edges(explanation: Explanation) -> NDArray[np.float64]:
    """Edges between the middles of segments, in seconds (S + 1,)."""
    timeline = explanation.prediction.timeline
    return edges_of((timeline.starts + timeline.ends) / 2, explanation.start, explanation.end)


def edges_of(middles: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    """Edges of cells around increasing middles (n,), the outer edges at ``start`` and ``end``: (n + 1,)."""
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[start], between, [max(end, float(middles[-1]))]])


def note(side: Any, text: str, color: str = "#333333") -> None:
    """Write a text at the right of a panel."""
    side.text(0, 0.5, text, transform=side.transAxes, va="center", ha="left", fontsize=8, color=color)


def scale(side: Any, mesh: Any, title: str) -> None:
    """Draw a color scale at the right of a panel."""
    inner = side.inset_axes((0.0, 0.3, 0.9, 0.25))
    bar = side.figure.colorbar(mesh, cax=inner, orientation="horizontal")
    bar.ax.tick_params(labelsize=7, length=2)
    bar.ax.set_title(title, fontsize=8, loc="left", pad=2)


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
            _draw_map(axes, explanations[number], row[number], head, SEGMENT_COLORS[place % len(SEGMENT_COLORS)])
    figure.suptitle(f"{Path(explanations[0].name).name}: which key each query attends to", fontsize=12)
    figure.supxlabel("\n".join(wrap(MAPS_CAPTION, int(13 * width))), fontsize=9)
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
        color = SEGMENT_COLORS[row % len(SEGMENT_COLORS)]
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
