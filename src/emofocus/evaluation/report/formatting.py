"""Figures of the report as Markdown."""

from emofocus.evaluation.report.entries import Entry
from emofocus.metrics.statistics import FIGURES, Difference, Interval

NAMES = dict(zip(FIGURES, ("WA", "UA", "macro-F1"), strict=True))
NOT_MEASURED = "not measured"
NONE = "–"


def spread(mean: float, deviation: float) -> str:
    """Mean ± standard deviation, in percent."""
    return f"{100 * mean:.2f} ± {100 * deviation:.2f}"


def bounds(interval: Interval | Difference) -> str:
    """Bounds of an interval, in percent or points."""
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]".replace("-", "−")


def points(change: Difference) -> str:
    """Difference in points, with its interval."""
    return f"{100 * change.value:+.2f} {bounds(change)}".replace("-", "−")


def p_value(p: float) -> str:
    """A p-value with three digits."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def figure_with_interval(entry: Entry, number: int) -> str:
    """Mean ± standard deviation over folds of one figure, and the interval of the pooled figure."""
    return f"{spread(entry.mean[number], entry.deviation[number])} {bounds(entry.intervals[FIGURES[number]])}"


def seeds(entry: Entry) -> str:
    """Number of seeds, whether an ensemble combines them, and whether folds are missing."""
    number = len(entry.seeds)
    together = " together" if len(entry.first.member_seeds) > 1 else ""
    counted = f"{number} seed" + ("s" if number > 1 else "") + together
    return f"{counted}, **{entry.unfinished}**" if entry.unfinished else counted
