"""What `emofocus combine` does: the predictions of several runs in, those of all together out.

Networks that hear different things, such as half a second at a time and whole phrases, get different things wrong, and
the mean of what they say is then better than any of them (Kittler, Hatef, Duin and Matas, *On Combining Classifiers*,
PAMI 1998, the sum rule).
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emofocus.errors import ConfigError
from emofocus.evaluation.leaderboard import refuse_other_corpus
from emofocus.evaluation.results import Result, read_run, utterance_of
from emofocus.metrics.statistics import FIGURES, require_same
from emofocus.training.predictions import Row, csv_text, measure_rows
from emofocus.training.summary import averages
from emofocus.utils.atomic import write_text
from emofocus.utils.provenance import refuse_other_work
from emofocus.version import __version__


def combine_runs(folders: Sequence[Path], out: Path) -> str:
    """Write the results of several runs together: each utterance gets the mean of the runs' calibrated probabilities.

    Nothing is fitted, so there is no temperature and no threshold. The mean is selected by nothing: the result's
    selection is that of its runs, and where one of them learnt from its validation parts too, the result says so.

    Args:
        folders: Of at least two finished runs.
        out: Folder for `summary.json`, `predictions.csv`, and the split and its audit, which are the runs'.

    Returns:
        One line: mean and deviation of the figures over folds.

    Raises:
        ConfigError: Fewer than two different runs, or ``out`` holds another run.
        ResultError: A folder is no run, folds are still to come, or a figure is not what its predictions give.
        EmofocusError: Runs differ in corpus, classes, utterances, labels, protocol or folds; the message says in what.
    """
    wanted = {folder.resolve(): folder for folder in folders}
    if len(wanted) < 2:
        raise ConfigError(f"{folders[0]} alone: combine takes two different runs or more")
    first, *others = runs = [read_run(folder) for folder in wanted.values()]
    for other in others:
        refuse_other_corpus(first, other)
        require_same(first.predictions, other.predictions)
    summary = _head(runs)
    if (out / "summary.json").exists():
        refuse_other_work(out, json.loads((out / "summary.json").read_text(encoding="utf-8")), summary)
    source = next(iter(wanted.values()))
    rows = _rows(source / "predictions.csv", runs)
    folds = [_fold(number, runs, rows) for number in range(len(first.summary["folds"]))]
    averaged = averages(folds)
    summary |= {"version": __version__, "folds": folds, **averaged}
    if first.audit is not None:
        summary["audit"] = first.audit
    for name in ("folds.json", "audit.json"):
        if (source / name).exists():
            write_text(out / name, (source / name).read_text(encoding="utf-8"))
    write_text(out / "predictions.csv", csv_text(rows))
    write_text(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    told = (f"{name} {100 * averaged[name]['mean']:.2f} ± {100 * averaged[name]['std']:.2f}" for name in FIGURES)
    return f"{out}: {', '.join(told)}"


def _head(runs: Sequence[Result]) -> dict[str, Any]:
    """The head of `summary.json`, with each run's own under ``members``.

    The model's name has each network in it, seeds of one system too: three networks are not one.
    """
    told = ("model", "recipe", "seed", "parameters")
    summaries = [run.summary for run in runs]
    names = [f"{summary['model']}, {summary['recipe']}" for summary in summaries]
    selections = {name: summary["protocol"]["selection"] for name, summary in zip(names, summaries, strict=True)}
    shared = set(selections.values())
    selection = shared.pop() if len(shared) == 1 else "; ".join(map(": ".join, selections.items()))
    agreed = {
        name: summaries[0][name] for name in ("corpus", "utterances", "classes", "left_out") if name in summaries[0]
    }
    return agreed | {
        "model": "+".join(summary["model"] for summary in summaries),
        "recipe": "+".join(dict.fromkeys(summary["recipe"] for summary in summaries)),
        "recipe_settings": {name: summary["recipe_settings"] for name, summary in zip(names, summaries, strict=True)},
        "members": [{name: summary[name] for name in told} for summary in summaries],
        "parameters": sum(summary["parameters"] for summary in summaries),
        "protocol": summaries[0]["protocol"] | {"selection": selection},
        "seed": summaries[0]["seed"],
    }


def _rows(path: Path, runs: Sequence[Result]) -> list[Row]:
    """Lines of the first run's predictions.csv, with the means in place of its probabilities."""
    classes = runs[0].summary["classes"]
    means = np.mean([run.probabilities for run in runs], axis=0)  # (U, C), sorted by utterance
    of = dict(zip(runs[0].predictions.utterances, means, strict=True))
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            shown = [f"{value:.6g}" for value in of[utterance_of(row)]]
            best = int(np.argmax([float(value) for value in shown]))
            scores = zip(classes, shown, strict=True)
            rows.append(row | {"prediction": classes[best]} | {f"p_{name}": value for name, value in scores})
    return rows


def _fold(number: int, runs: Sequence[Result], rows: Sequence[Row]) -> dict[str, Any]:
    """A fold's entry in `summary.json`: what any run learnt from was learnt from, and the time is that of all."""
    entries = [run.summary["folds"][number] for run in runs]
    most = max(entries, key=lambda entry: int(entry["train"]))
    own = [row for row in rows if row["fold"] == str(entries[0]["fold"])]
    times = [entry.get("seconds") for entry in entries]
    found = measure_rows(own, runs[0].summary["classes"])
    return {
        **{name: most[name] for name in ("fold", "train", "valid", "test")},
        "seconds": None if None in times else round(sum(times), 1),
        **{name: round(value, 6) for name, value in found._asdict().items()},
        "version": __version__,
    }
