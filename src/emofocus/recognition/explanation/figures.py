"""Figure of one clip over time: waveform, attention, features, probabilities, focus and gates."""

from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.recognition.explanation.explanation import Explanation
from emofocus.segments import runs
from emofocus.utils.plotting import BLUE, EMOTIONS, GREY, MAP, ORANGE, blank

WIDTH = 9.0
"""Width of the figure in inches."""

ENVELOPE_FROM = 20_000
"""Longest waveform, in samples, that is drawn as a line; a longer one is drawn as an envelope."""

SPREAD = 2.5
"""Range of colors, in standard deviations of a feature on either side of its mean."""

ROW_AIR = 0.12
"""Share of a head's row that stays empty above and below."""


def heading(explanation: Explanation) -> str:
    """The emotion and its probability."""
    prediction = explanation.prediction
    return f"{prediction.label}, {prediction.scores[prediction.label]:.0%}"


def caption(explanation: Explanation) -> str:
    """Sentences on the emotion, the seconds with most attention, and the loudest moment."""
    prediction = explanation.prediction
    sure = "" if prediction.confident else " (unsure)"
    heard = f"Heard as {prediction.label}{sure}, {prediction.scores[prediction.label]:.0%}"
    best = int(np.nanargmax(explanation.attention))
    first, last = stretch(explanation.attention >= 0.5 * explanation.attention[best], best)
    half = (explanation.frames[1] - explanation.frames[0]) / 2 if len(explanation.frames) > 1 else 0.0
    begins = max(explanation.start, explanation.frames[first] - half)
    ends = min(explanation.end, explanation.frames[last] + half)
    return (
        f"{heard}. Attention falls most on {begins:.2f} to {ends:.2f} s, up to {explanation.attention[best]:.1f} times "
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
    panels: list[tuple[Any, float]] = [(_waveform, 1.0), (_attention, 0.4), (_features, 1.3), (_probabilities, 1.3)]
    if explanation.centre is not None:
        panels.append((_focus, 0.34 * explanation.heads))
    if explanation.gates is not None:
        panels.append((_gates, 0.2 * explanation.heads + 0.1))
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


def _waveform(explanation: Explanation, axes: Any, side: Any) -> None:
    draw_waveform(explanation, axes)
    axes.set_ylabel("wave-\nform")
    note(side, "the line marks\nthe loudest moment", ORANGE)


def _attention(explanation: Explanation, axes: Any, side: Any) -> None:
    """Draw attention as a strip of colors, gray where no segment counts."""
    values = explanation.attention[None]
    edges = edges_of(explanation.frames, explanation.start, explanation.end)
    axes.set_facecolor("#dddddd")
    mesh = axes.pcolormesh(edges, [0, 1], values, cmap=MAP, vmin=0, vmax=max(2.0, float(np.nanmax(values))))
    axes.axvline(explanation.loudest, color=ORANGE, linewidth=1.4)
    axes.set(yticks=[])
    axes.set_ylabel("atten-\ntion")
    scale(side, mesh, "1: an even share")


def _features(explanation: Explanation, axes: Any, side: Any) -> None:
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


def _probabilities(explanation: Explanation, axes: Any, side: Any) -> None:
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


def _focus(explanation: Explanation, axes: Any, side: Any) -> None:
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
            floor + ROW_AIR + (1 - 2 * ROW_AIR) * (place[:, head] + sign * half[:, head]).clip(0, 1)
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


def _gates(explanation: Explanation, axes: Any, side: Any) -> None:
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
