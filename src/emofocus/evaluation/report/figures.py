"""Figures of one entry of the report: confusion matrix, learning curves, speakers, reliability."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from emofocus.evaluation.report.entries import OPTIMISTIC, Entry
from emofocus.metrics.calibration import BINS
from emofocus.metrics.statistics import wilson
from emofocus.utils.atomic import replacing
from emofocus.utils.plotting import BLUE, GREY, MAP, ORANGE, WIDTH, add_title, blank, style

MOST_NAMED = 60
"""Most speakers whose names are shown."""

LONGEST_NAME = 10
"""Most letters of a speaker's name."""

UPRIGHT = 80
"""Letters of all names together above which names are rotated by 90 degrees."""


def draw_all(entry: Entry, folder: Path) -> list[tuple[str, str]]:
    """Draw an entry's figures into a folder.

    Returns:
        Name and caption of each file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    drawn = []
    for kind, (draw, applies, title) in FIGURES.items():
        if applies(entry):
            name = f"{entry.slug}-{kind}.png"
            with style():
                figure = draw(entry)
                add_title(figure, title, _caption(entry))
                with replacing(folder / name) as temporary:
                    figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
            drawn.append((name, f"{title}, {_caption(entry)}"))
    return drawn


def _caption(entry: Entry) -> str:
    mark = f" ({OPTIMISTIC})" if entry.optimistic else ""
    return f"{entry.corpus}: {entry.model}, {entry.recipe}, protocol {entry.protocol}{mark}"


def confusion(entry: Entry) -> Any:
    """Draw the confusion matrix in percent of each true class."""
    totals, classes = entry.counts.sum(axis=1), entry.classes
    shares = entry.counts / np.maximum(totals, 1)[:, None]
    figure = blank(max(2.8, 1.3 + 0.5 * len(classes)))
    axes = figure.add_subplot()
    axes.pcolormesh(shares, cmap=MAP, vmin=0, vmax=1, edgecolors="white", linewidth=1)
    for (row, column), share in np.ndenumerate(shares):
        weight = "bold" if row == column else "normal"
        ink = "white" if share > 0.55 else "black"
        axes.text(column + 0.5, row + 0.5, f"{100 * share:.0f}", ha="center", va="center", color=ink, weight=weight)
    middles = np.arange(len(classes)) + 0.5
    axes.set_yticks(middles, [f"{name} ({total:.0f})" for name, total in zip(classes, totals, strict=True)])
    slanted = max(map(len, classes)) * 0.09 > (WIDTH - 1.5) / len(classes)  # inches
    axes.set_xticks(middles, classes, rotation=30 if slanted else 0, ha="right" if slanted else "center")
    axes.set(ylim=(len(classes), 0), xlabel="recognised as", ylabel="true class (utterances)")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def learning(entry: Entry) -> Any:
    """Draw training loss and validation UA after each epoch: a line per fold and seed, and their mean."""
    folds = [item for result in entry.results for item in result.summary.folds]
    figure = blank(3.5)
    figure.get_layout_engine().set(wspace=0.06)
    for number, (column, scale, label) in enumerate(((0, 1, "training loss"), (2, 100, "validation UA %"))):
        axes = figure.add_subplot(1, 2, number + 1)
        curves = [scale * np.array([epoch[column] for epoch in item.history or ()]) for item in folds]
        for curve in curves:
            axes.plot(np.arange(1, len(curve) + 1), curve, color=BLUE, linewidth=0.9, alpha=0.7)
        chosen = [item.best_epoch or 0 for item in folds]
        heights = [curve[epoch - 1] for curve, epoch in zip(curves, chosen, strict=True)]
        shortest = min(map(len, curves))
        mean = np.mean([curve[:shortest] for curve in curves], axis=0)
        axes.plot(np.arange(1, shortest + 1), mean, color=ORANGE, linewidth=2.4, marker="" if shortest > 1 else "_")
        axes.scatter(chosen, heights, s=26, color=BLUE, zorder=3, clip_on=False)
        axes.set(xlabel="epoch", ylabel=label)
        longest = max(map(len, curves))
        margin = 0.03 * (longest - 1) or 0.5
        axes.set_xlim(1 - margin, longest + margin)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    _name_curves(figure, len(folds), len(entry.results))
    return figure


def _name_curves(figure: Any, number: int, seeds: int) -> None:
    from matplotlib.lines import Line2D

    folds = f"each of {number} folds" + (f" ({seeds} seeds)" if seeds > 1 else "")
    handles = [
        Line2D([], [], color=BLUE, linewidth=0.9, label=folds),
        Line2D([], [], color=BLUE, marker="o", markersize=5, linestyle="", label="the epoch that is kept"),
        Line2D([], [], color=ORANGE, linewidth=2.4, label="mean"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def speakers(entry: Entry) -> Any:
    """Draw WA of each speaker, worst first, with Wilson's interval."""
    ranked = entry.by_speaker
    places, shares = np.arange(len(ranked)), np.array([100 * share for _, share, _ in ranked])
    reach = 100 * np.array([wilson(share * total, total) for _, share, total in ranked])
    figure = blank(3.8)
    axes = figure.add_subplot()
    axes.vlines(places, reach[:, 0], reach[:, 1], color=BLUE, linewidth=1.2, alpha=0.5)
    axes.scatter(places, shares, s=30, color=BLUE, zorder=3, clip_on=False)
    axes.axhline(shares.mean(), color=ORANGE, linewidth=1.5, zorder=1)
    chance = 100 * entry.counts.sum(axis=1).max() / entry.counts.sum()
    axes.axhline(chance, color=GREY, linewidth=1.2, linestyle="--", zorder=1)
    lines = ((shares.mean(), "mean of speakers", ORANGE), (chance, "always the most\nfrequent class", GREY))
    for height, words, color in lines:
        axes.annotate(words, (1.01, height), xycoords=("axes fraction", "data"), va="center", color=color, fontsize=9)
    axes.set(ylim=(0, 100), xlim=(-0.7, len(ranked) - 0.3), ylabel="WA %")
    axes.set_xlabel("speaker, from the worst to the best; lines: 95 % interval of the speaker's utterances")
    _name_speakers(axes, [name for name, _, _ in ranked])
    return figure


def _name_speakers(axes: Any, names: list[str]) -> None:
    if len(names) > MOST_NAMED:
        axes.set_xticks([])
        return
    # Long names usually share their beginning, so the end is kept.
    shorter = [name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}" for name in names]
    upright = len(names) * max(3, *map(len, shorter)) > UPRIGHT
    axes.set_xticks(np.arange(len(names)), shorter, rotation=90 if upright else 0, fontsize=9)


def reliability(entry: Entry) -> Any:
    """Draw accuracy against probability of the predicted class, and the number of utterances in each bin."""
    results = entry.results
    confidence = np.concatenate([result.probabilities.max(axis=1) for result in results])
    correct = np.concatenate([result.predictions.correct for result in results])
    number = np.digitize(confidence, np.arange(1, BINS) / BINS, right=True)  # the bins of the calibration error
    size, hits, total = (np.bincount(number, of, BINS) for of in (None, correct, confidence))
    used = size > 0
    figure = blank(4.9, width=5.5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 100], [0, 100], color=GREY, linewidth=1.2, linestyle="--", label="calibrated")
    reach = [wilson(right, int(of)) for right, of in zip(hits[used], size[used], strict=True)]
    x, y = 100 * total[used] / size[used], 100 * hits[used] / size[used]
    upper.vlines(x, *(100 * np.array(reach).T), color=BLUE, linewidth=1.2, alpha=0.5)
    upper.plot(x, y, color=BLUE, marker="o", markersize=5, clip_on=False, label="pooled over folds")
    upper.set(ylabel="recognized, %", ylim=(0, 100), xlim=(0, 100))
    lower.bar((np.arange(BINS) + 0.5) * 100 / BINS, size, width=0.9 * 100 / BINS, color=BLUE)
    lower.set(xlabel="probability of the predicted class, %", ylabel="utterances")
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def _has_history(entry: Entry) -> bool:
    histories = [item.history for result in entry.results for item in result.summary.folds]
    return all(history and history[-1][2] is not None for history in histories)  # WA is not drawn


def _always(_: Entry) -> bool:
    return True


def _has_speakers(entry: Entry) -> bool:
    return len(entry.by_speaker) > 1


FIGURES: dict[str, tuple[Callable[[Entry], Any], Callable[[Entry], bool], str]] = {
    "confusion": (confusion, _always, "Confusion, % of each true class"),
    "learning": (learning, _has_history, "Learning curves"),
    "speakers": (speakers, _has_speakers, "Weighted accuracy of each speaker"),
    "reliability": (reliability, lambda entry: entry.calibrated, "Reliability of the probabilities"),
}
"""Kind of figure → function that draws it, condition for drawing it, title."""
