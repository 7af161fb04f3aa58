"""Figures of the measures of attention."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from emofocus.evaluation.attention.faithfulness import RANKINGS, SHARES
from emofocus.evaluation.attention.measurements import ModelMeasures
from emofocus.utils.plotting import BLUE, EMOTIONS, GREY, ORANGE, blank

NAMES = {
    "attention": "attention",
    "random": "random frames",
    "loudest": "loudest frames",
    "gradients": "integrated gradients",
    "occlusion": "occlusion",
}
"""Ranking → its name in tables and figures."""

COLORS = dict(zip(RANKINGS, (BLUE, GREY, ORANGE, EMOTIONS[5], EMOTIONS[6]), strict=True))


def draw_heads(models: Sequence[ModelMeasures]) -> Any:
    """Draw attention near the loudest moment over an even share: heads of each fold, all heads, and the null."""
    figure = blank(1.6 + 0.6 * len(models))
    axes = figure.add_subplot()
    for number, item in enumerate(models):
        lift = np.array([float(row["mass"]) / float(row["even"]) for row in item.heads if row["head"] != "all"])
        axes.scatter(lift, np.full(len(lift), number + 0.15), s=14, color=BLUE, alpha=0.5, linewidth=0)
        every = item.figure(lambda x: x["mass"] / x["even"])
        null = item.figure(lambda x: x["mass_null"] / x["even_null"])
        axes.hlines(number - 0.1, every.low, every.high, color=BLUE, linewidth=2)
        axes.scatter([every.value], [number - 0.1], s=50, color=BLUE, zorder=3)
        axes.scatter([null.value], [number - 0.1], s=50, marker="d", color=ORANGE, zorder=3)
    axes.axvline(1, color=GREY, linewidth=1, linestyle="--")
    axes.set(ylim=(len(models) - 0.5, -0.5), xlabel="attention near the loudest moment, over an equal share (dashed)")
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(models)), [item.name for item in models])
    from matplotlib.lines import Line2D

    kinds = (
        ("o", BLUE, 4, "each head of each fold"),
        ("o", BLUE, 7, "all heads"),
        ("d", ORANGE, 7, "loudness turned in time"),
    )
    handles = [
        Line2D([], [], marker=marker, color=color, markersize=size, linestyle="", label=label)
        for marker, color, size, label in kinds
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_curves(models: Sequence[ModelMeasures]) -> Any:
    """Draw curves of deletion (top) and insertion (bottom), with a column per model."""
    figure = blank(5.6, max(8.0, 2.6 * len(models)))
    grid = figure.subplots(2, len(models), sharex=True, sharey=True, squeeze=False)
    shares = 100 * np.array([0.0, *SHARES, 1.0])
    for item, column in zip(models, grid.T, strict=True):
        for axes, kind, words in zip(column, ("deletion", "insertion"), ("taken away", "given back"), strict=True):
            for ranking in RANKINGS:
                curve = 100 * item.curves(ranking, kind).mean(axis=0)
                axes.plot(shares, curve, color=COLORS[ranking], linewidth=1.8, label=NAMES[ranking])
            axes.set_xlabel(f"frames {words}, %")
        column[0].set_title(item.name)
    for row in grid:
        row[0].set_ylabel("probability of\nthe answer, %")
        row[0].set_ylim(0, 100)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure
