"""Figures and tables as Markdown."""

from emofocus.evaluation.report.entries import Entry
from emofocus.metrics.statistics import FIGURES, Difference, Interval

NAMES = dict(zip(FIGURES, ("WA", "UA", "macro-F1"), strict=True))
NOT_MEASURED = "not measured"
NONE = "–"


def spread(mean: float, deviation: float) -> str:
    """Mean ± standard deviation, in percent."""
    return f"{100 * mean:.2f} ± {100 * deviation:.2f}"


def bounds(interval: Interval | Difference) -> str:
    """Interval, in percent or points."""
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]".replace("-", "−")


def points(change: Difference) -> str:
    """Difference in points, with its interval."""
    return f"{100 * change.value:+.2f} {bounds(change)}".replace("-", "−")


def chance(p: float) -> str:
    """p-value."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def figure_with_interval(entry: Entry, number: int) -> str:
    """Mean ± standard deviation over folds of one figure, and the interval of the pooled one."""
    found = entry.intervals[FIGURES[number]]
    return f"{spread(entry.mean[number], entry.deviation[number])} {bounds(found)}"


def seeds(entry: Entry) -> str:
    """How many seeds, whether in one answer, and whether folds are missing."""
    number = len(entry.seeds)
    together = " together" if len(entry.first.together) > 1 else ""
    counted = f"{number} seed" + ("s" if number > 1 else "") + together
    return f"{counted}, {entry.unfinished}" if entry.unfinished else counted
