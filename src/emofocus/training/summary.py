"""Head and figures of summary.json: averages, reading and printing."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emofocus.config import Recipe, parse, to_plain
from emofocus.metrics.calibration import CalibrationFigures
from emofocus.metrics.classification import Metrics


def averages(folds: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and sample standard deviation over folds of each figure, over those that have it.

    A fold in which nothing was answered has no `selective_wa`, and folds of older versions have no calibration.
    """
    found = {}
    for name in (*Metrics._fields, *CalibrationFigures._fields):
        values = [item[name] for item in folds if item.get(name) is not None]
        if not values:
            continue
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        found[name] = {"mean": round(statistics.fmean(values), 6), "std": round(deviation, 6)}
    return found


def read_summary(path: Path) -> dict[str, Any]:
    """A `summary.json`; settings that its recipe did not have yet when it ran are at their defaults."""
    return with_defaults(json.loads(path.read_text(encoding="utf-8")), str(path))


def with_defaults(record: dict[str, Any], source: str) -> dict[str, Any]:
    """A record whose recipe has all settings; those that an older version did not have are at their defaults."""
    settings = parse(Recipe, record.get("recipe_settings", {}), source)
    return record | {"recipe_settings": to_plain(settings)}


def print_summary(summary: dict[str, Any]) -> None:
    """The table of a cross-validation."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    protocol = summary["protocol"]
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{summary['corpus']} · {summary['model']} · {summary['recipe']} · protocol {protocol['name']}",
        caption="utterances: train/valid/test; mean ± sample standard deviation over folds; "
        f"{protocol['note']}; {protocol['selection']}; seed {summary['seed']}{_calibration(summary)}",
    )
    for name in ("fold", "utterances", "epoch", "WA %", "UA %", "macro-F1 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in summary["folds"]:
        parts = "/".join(str(item[part]) for part in ("train", "valid", "test"))
        figures = (f"{100 * item[name]:.2f}" for name in Metrics._fields)
        table.add_row(str(item["fold"]), parts, str(item["best_epoch"]), *figures)
    spread = (f"{100 * summary[name]['mean']:.2f} ± {100 * summary[name]['std']:.2f}" for name in Metrics._fields)
    table.add_section()
    table.add_row("mean", "", "", *spread)
    Console().print(table)


def _calibration(summary: dict[str, Any]) -> str:
    """What temperature and threshold did on the test parts, as far as a summary has it."""
    if "ece" not in summary:
        return ""
    before, after, coverage = (f"{summary[name]['mean']:.1%}" for name in ("ece_before", "ece", "coverage"))
    right = f" with {summary['selective_wa']['mean']:.1%} of them right" if "selective_wa" in summary else ""
    return f"; calibration error {before} → {after}; answers above the threshold: {coverage}{right}"
