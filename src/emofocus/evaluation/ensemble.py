"""Ensembles: the mean of several runs' probabilities, written as a run: `emofocus combine`.

Networks that see different spans of speech, such as half a second and whole phrases, make different errors, and the
mean of their probabilities is then better than any of them (Kittler, Hatef, Duin and Matas, *On Combining Classifiers*,
PAMI 1998, the sum rule).
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from emofocus.errors import ConfigError
from emofocus.evaluation.leaderboard import refuse_other_corpus
from emofocus.evaluation.results import RunResult, read_run, utterance_of, write_scored_again
from emofocus.metrics.statistics import FIGURES, require_same
from emofocus.training.results import FoldEntry, PredictionRow, Summary, measure_rows, plain
from emofocus.utils.provenance import refuse_other_work
from emofocus.version import __version__

MEMBER_KEYS = ("model", "recipe", "seed", "parameters")
"""Fields of a run's summary that stand under ``members``."""


def combine_runs(folders: Sequence[Path], out: Path) -> str:
    """Combine runs: each utterance gets the mean of the runs' calibrated probabilities.

    Nothing is fitted, so the result has no temperature and no threshold. Its selection is that of its runs; if one of
    them also learned from its validation parts, the result says so.

    Args:
        folders: Folders of at least two finished runs.
        out: Folder for `summary.json`, `predictions.csv`, and the runs' split with its audit.

    Returns:
        One line with mean and deviation of the figures over folds.

    Raises:
        ConfigError: Fewer than two different runs, or ``out`` holds another run.
        ResultError: A folder is no run, lacks folds, or holds a figure that disagrees with its predictions.
        EmofocusError: Runs differ in corpus, classes, utterances, labels, protocol or folds; the message says which.
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
        head = {name: value for name, value in plain(summary).items() if name != "folds"}
        refuse_other_work(out, json.loads((out / "summary.json").read_text(encoding="utf-8")), head)
    source = next(iter(wanted.values()))
    rows = _rows(source / "predictions.csv", runs)
    for number in range(len(first.summary.folds)):
        summary = summary.with_fold(_fold(number, runs, rows))
    summary = write_scored_again(first, source, out, summary, rows)
    spreads = (f"{name} {getattr(summary, name)}" for name in FIGURES)
    return f"{out}: {', '.join(spreads)}"


def _head(runs: Sequence[RunResult]) -> Summary:
    """Summary without folds, with the heads of the runs under ``members``.

    The model's name lists every network, also seeds of one system, because three networks are not one.
    """
    summaries = [run.summary for run in runs]
    names = [f"{summary.model}, {summary.recipe}" for summary in summaries]
    selections = {name: summary.protocol.selection for name, summary in zip(names, summaries, strict=True)}
    shared = set(selections.values())
    selection = shared.pop() if len(shared) == 1 else "; ".join(map(": ".join, selections.items()))
    first = summaries[0]
    return Summary(
        corpus=first.corpus,
        utterances=first.utterances,
        classes=first.classes,
        left_out=first.left_out,
        model="+".join(summary.model for summary in summaries),
        recipe="+".join(dict.fromkeys(summary.recipe for summary in summaries)),
        recipe_settings={name: summary.recipe_settings for name, summary in zip(names, summaries, strict=True)},
        members=[{name: getattr(summary, name) for name in MEMBER_KEYS} for summary in summaries],
        parameters=sum(summary.parameters for summary in summaries),
        protocol=replace(first.protocol, selection=selection),
        seed=first.seed,
    )


def _rows(path: Path, runs: Sequence[RunResult]) -> list[PredictionRow]:
    """Rows of the first run's `predictions.csv` with the mean probabilities."""
    classes = runs[0].summary.classes
    means = np.mean([run.probabilities for run in runs], axis=0)  # (U, C), sorted by utterance
    by_utterance = dict(zip(runs[0].predictions.utterances, means, strict=True))
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            shown = [f"{value:.6g}" for value in by_utterance[utterance_of(row)]]
            best = int(np.argmax([float(value) for value in shown]))
            scores = zip(classes, shown, strict=True)
            rows.append(row | {"prediction": classes[best]} | {f"p_{name}": value for name, value in scores})
    return rows


def _fold(number: int, runs: Sequence[RunResult], rows: Sequence[PredictionRow]) -> FoldEntry:
    """Entry of a fold: the sizes are those of the run that trained on most, the time is the sum."""
    entries = [run.summary.folds[number] for run in runs]
    most = max(entries, key=lambda entry: entry.train)
    tested = [row for row in rows if row["fold"] == str(most.fold)]
    times = [entry.seconds for entry in entries if isinstance(entry.seconds, float)]
    metrics = measure_rows(tested, runs[0].summary.classes)
    return FoldEntry(
        fold=most.fold,
        train=most.train,
        valid=most.valid,
        test=most.test,
        seconds=round(sum(times), 1) if len(times) == len(entries) else None,
        version=__version__,
        **{name: round(value, 6) for name, value in metrics._asdict().items()},
    )
