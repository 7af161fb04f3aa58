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
from emofocus.utils.plotting import EMOTIONS, GREY, MAP, ORANGE, blank

WIDTH = 9.0
"""Width of the figure in inches."""

ENVELOPE_FROM = 20_000
"""Longest waveform, in samples, that is drawn as a line; a longer one is drawn as an envelope."""

MOST_LANES = 6
"""Lanes of a head at most, in which segments that overlap are drawn one below the other."""

NARROWEST = 0.004
"""Width of a head's bar at least, as a share of the picture."""

NAMED_FROM = (0.12, 12.0)
"""Share of the picture's width, and percent of probability, from which an emotion's name is written into its area."""

SEGMENT_COLORS = ("#E69F00", "#F0E442", "#009E73")
"""Colors of segments: the paper's orange, yellow and green, from the palette of Okabe and Ito."""

SHOWN_HEADS = 2
"""Number of heads of each model that are shown by default (PAPER: 2); of a single model, twice as many."""

MAPS_WIDTH = 8.6
"""Width of the figure of maps in inches."""

MAPS_CAPTION = (
    "How to read a map: each row is a moment of the segment, from top to bottom, and shows how much of its attention "
    "goes to each moment along the bottom; darker is more. The orange lines mark the segment's loudest moment. A head "
    "that attended to it would have a dark column on the dashed line."
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
        (_draw_sound, 1.0),
        (_draw_probabilities, 1.2),
        (_draw_attention, 0.4),
        (_draw_heads, 0.36 * explanation.heads + 0.1),
        (_draw_features, 1.5),
    ]
    if explanation.centre is None and explanation.gates is None:
        panels.remove((_draw_heads, 0.36 * explanation.heads + 0.1))
    figure = blank(1.7 + 1.15 * sum(height for _, height in panels), WIDTH)
    rows = figure.subplots(
        len(panels), 2, sharex="col", gridspec_kw={"width_ratios": (1, 0.2), "height_ratios": [h for _, h in panels]}
    )
    page = explanation if start is None or end is None else explanation.page(start, end)
    for (draw, _), (axes, side) in zip(panels, rows, strict=True):
        side.set_axis_off()
        draw(page, axes, side)
        axes.yaxis.label.set(rotation=0, ha="right", va="center", fontsize=11)
        axes.set_xlim(page.start, page.end)
        axes.tick_params(labelbottom=False)
    last = rows[-1][0]
    last.tick_params(labelbottom=True)
    last.set_xlabel("seconds")
    title = f"{Path(explanation.name).name}: {heading(explanation)}"
    figure.suptitle(f"{title}\nwhat {explanation.model} heard, and where it listened", fontsize=12)
    text = caption(explanation)
    if np.isnan(explanation.attention).any():
        text += " Gray attention: no segment that counts holds this moment."
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


def _draw_sound(explanation: Explanation, axes: Any, side: Any) -> None:
    draw_waveform(explanation, axes)
    axes.set_ylabel("sound")
    note(side, "line: the loudest\nmoment", ORANGE)


def _draw_attention(explanation: Explanation, axes: Any, side: Any) -> None:
    """Draw attention as a strip of colors, gray where no segment counts."""
    values = explanation.attention[None]
    edges = edges_of(explanation.frames, explanation.start, explanation.end)
    axes.set_facecolor("#dddddd")
    mesh = axes.pcolormesh(edges, [0, 1], values, cmap=MAP, vmin=0, vmax=max(2.0, float(np.nanmax(values))))
    axes.axvline(explanation.loudest, color=ORANGE, linewidth=1.4)
    axes.set(yticks=[], ylabel="attention")
    scale(side, mesh, "times an even share", height=0.3)


def _draw_features(explanation: Explanation, axes: Any, side: Any) -> None:
    edges = edges_of(explanation.frames, explanation.start, explanation.end)
    shown = explanation.brightness
    axes.pcolormesh(edges, np.arange(shown.shape[1] + 1), shown.T, cmap="cividis", vmin=0, vmax=1, rasterized=True)
    axes.set_ylabel("input")
    names, counts = zip(*explanation.feature_groups, strict=True)
    ends = np.cumsum(counts)
    axes.set_yticks(ends - np.array(counts) / 2, [name.replace(" ", "\n", 1) for name in names], fontsize=9)
    axes.tick_params(left=False)
    for edge in ends[:-1]:
        axes.axhline(edge, color="white", linewidth=1.5)
    note(side, "what the network is given:\nlow at the bottom, high\nat the top; brighter is\nstronger")


def _draw_probabilities(explanation: Explanation, axes: Any, side: Any) -> None:
    """Draw stacked areas over time, with the names of the large ones."""
    timeline = explanation.prediction.timeline
    edges = segment_edges(explanation)
    floor = np.zeros(len(timeline))
    for number, label in enumerate(timeline.labels):
        top = floor + 100 * timeline.probabilities[:, number]
        color = EMOTIONS[number % len(EMOTIONS)]
        axes.stairs(top, edges, baseline=floor, fill=True, color=color, label=label)
        _name_area(axes, label, edges, floor, top)
        floor = top
    for first, last in runs(~timeline.speech):
        axes.axvspan(edges[first], edges[last + 1], facecolor="white", alpha=0.75, hatch="///", edgecolor=GREY, lw=0)
    axes.set(ylim=(0, 100), yticks=(0, 50, 100), ylabel="emotion,\nprobability\nin %")
    handles, labels = axes.get_legend_handles_labels()
    side.legend(handles, labels, loc="center left", frameon=False, fontsize=8, reverse=True, borderpad=0)


def _name_area(
    axes: Any, label: str, edges: NDArray[np.float64], floor: NDArray[np.float64], top: NDArray[np.float64]
) -> None:
    """Write an emotion's name into the longest part of its area that has room for it."""
    share, percent = NAMED_FROM
    found = [(edges[last + 1] - edges[first], first, last) for first, last in runs(top - floor >= percent)]
    if not found or max(found)[0] < share * (edges[-1] - edges[0]):
        return
    _, first, last = max(found)
    number = first + int((top - floor)[first : last + 1].argmax())
    place = (edges[number] + edges[number + 1]) / 2
    axes.text(place, (floor + top)[number] / 2, label, ha="center", va="center", fontsize=9)


def _draw_heads(explanation: Explanation, axes: Any, side: Any) -> None:
    """Draw a row for each head: a strip for each segment, and in it the stretch of its focus, as dark as its gate."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable

    timeline, heads = explanation.prediction.timeline, explanation.heads
    starts, ends = timeline.starts, timeline.ends
    lanes = lanes_of(starts, ends)
    tall = 0.8 / lanes
    gates = np.full((len(starts), heads), 0.7) if explanation.gates is None else explanation.gates
    centre, scope = _stretches(explanation)
    wide = np.maximum(scope, NARROWEST * (explanation.end - explanation.start))
    for head in range(heads):
        rows = head + 0.1 + tall * (np.arange(len(starts)) % lanes)
        axes.barh(rows, ends - starts, 0.85 * tall, starts, align="edge", color="#e6e8ea", linewidth=0)
        colors = colormaps[MAP](gates[:, head])
        left = np.maximum(centre[:, head] - wide[:, head] / 2, starts)
        right = np.minimum(centre[:, head] + wide[:, head] / 2, ends)
        axes.barh(rows, right - left, 0.85 * tall, left, align="edge", color=colors, linewidth=0)
    axes.set(ylim=(heads, 0), ylabel="heads")
    axes.set_yticks(np.arange(heads) + 0.5, [f"head {head + 1}" for head in range(heads)], fontsize=9)
    axes.tick_params(left=False)
    size = float((ends - starts)[0])
    strip = f"strip: a segment of {size:.2g} s"
    looks = "" if explanation.centre is None else "\nbar: what its focus favors"
    if explanation.gates is None:
        note(side, strip + looks)
        return
    note(side, f"{strip}{looks}\ndarker: it counts more", place=0.72)
    scale(side, ScalarMappable(cmap=MAP), "gate: its weight", height=0.08, place=0.25)


def lanes_of(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> int:
    """Number of lanes in which segments do not overlap, `MOST_LANES` at most."""
    if len(starts) < 2:
        return 1
    overlapping = int(np.ceil((ends[0] - starts[0]) / (starts[1] - starts[0]) - 1e-6))
    return int(np.clip(overlapping, 1, min(len(starts), MOST_LANES)))


def _stretches(explanation: Explanation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle and width of what each head looks at in each segment (S, h), in seconds: all of it without focus."""
    if explanation.centre is not None and explanation.scope is not None:
        return explanation.centre, explanation.scope
    timeline = explanation.prediction.timeline
    shape = (len(timeline), explanation.heads)
    middle, size = (timeline.starts + timeline.ends) / 2, timeline.ends - timeline.starts
    return np.broadcast_to(middle[:, None], shape), np.broadcast_to(size[:, None], shape)


def segment_edges(explanation: Explanation) -> NDArray[np.float64]:
    """Edges between the middles of segments, in seconds (S + 1,)."""
    timeline = explanation.prediction.timeline
    return edges_of((timeline.starts + timeline.ends) / 2, explanation.start, explanation.end)


def edges_of(middles: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    """Edges of cells around increasing middles (n,), the outer edges at ``start`` and ``end``: (n + 1,)."""
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[start], between, [max(end, float(middles[-1]))]])


def note(side: Any, text: str, color: str = "#333333", place: float = 0.5) -> None:
    """Write a text at the right of a panel, around a height from 0 to 1."""
    side.text(0, place, text, transform=side.transAxes, va="center", ha="left", fontsize=8, color=color)


def scale(side: Any, mesh: Any, title: str, height: float, place: float = 0.3) -> None:
    """Draw a color scale at the right of a panel, of a height and at a place from 0 to 1."""
    inner = side.inset_axes((0.0, place, 0.9, height))
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
    grid = _arranged(chosen, len(rows))
    columns = max(len(row) for row in grid)
    side = (MAPS_WIDTH - 0.6) / max(columns, 3)  # inches of a map with its title
    figure = blank(3.1 + (side + 0.5) * len(grid), MAPS_WIDTH)
    cells = figure.add_gridspec(len(grid) + 1, columns, height_ratios=(1.4, *(side + 0.5 for _ in grid)))
    _draw_clip(figure.add_subplot(cells[0, :]), explanations[0], [row[0] for row in rows])
    for line, row in enumerate(grid):
        for column, (place, number, head) in enumerate(row):
            axes = figure.add_subplot(cells[line + 1, column])
            color = SEGMENT_COLORS[place % len(SEGMENT_COLORS)]
            _draw_map(axes, explanations[number], rows[place][number], head, color)
            axes.set_xlabel("attends to second …" if line == len(grid) - 1 else "", fontsize=8, labelpad=1)
            axes.set_ylabel("the moment at second …" if not column else "", fontsize=8, labelpad=1)
    figure.suptitle(f"{Path(explanations[0].name).name}: which moments attend to which", fontsize=12)
    figure.supxlabel("\n".join(wrap(MAPS_CAPTION, int(13 * MAPS_WIDTH))), fontsize=9)
    return figure


def _arranged(chosen: Sequence[Sequence[int]], segments: int) -> list[list[tuple[int, int, int]]]:
    """Rows of maps: segment, model and head of each. A column is a model, or a head of a single model."""
    if len(chosen) == 1:
        return [[(place, 0, head) for head in chosen[0]] for place in range(segments)]
    return [
        [(place, number, heads[line]) for number, heads in enumerate(chosen)]
        for place in range(segments)
        for line in range(min(map(len, chosen)))
    ]


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
    axes.set_xlabel("seconds; colored: the segments of the maps below; line: the loudest moment", fontsize=9)


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
    axes.set_title(f"{explanation.model}\nhead {head + 1}{gate}\ndarkest: {weights.max():.0%}", fontsize=9)
