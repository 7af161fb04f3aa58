"""Cross-validation: every fold of an experiment is trained and tested, and the results are written after each."""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from lightning_fabric import Fabric

from emofocus.config import parse
from emofocus.data.feature_store import SpeechSource
from emofocus.errors import SplitError
from emofocus.splits.folds import write_folds
from emofocus.splits.kept_recordings import RECORDINGS
from emofocus.training.distributed import by_first, first_of_machine
from emofocus.training.experiment import (
    Experiment,
    FoldResult,
    provenance,
    refuse_kept_files,
    refuse_leaks,
    run_fold,
)
from emofocus.training.results import (
    Identity,
    PredictionRow,
    Summary,
    csv_text,
    plain,
    read_summary,
)
from emofocus.utils.atomic import write_text
from emofocus.utils.progress import log_line
from emofocus.utils.provenance import PROVENANCE, Record, refuse_other_work, resumes, write_record
from emofocus.version import __version__

FoldRunner = Callable[[Sequence[int]], Iterable[FoldResult]]
"""Numbers of folds → their results, in the order in which the folds finish."""


def cross_validate(
    experiment: Experiment,
    out: Path,
    fabric: Fabric,
    source: SpeechSource,
    runner: FoldRunner | None = None,
    precision: str = "32-true",
) -> Summary:
    """Audit the folds of an experiment, then train and test each of them.

    Files written below ``out``: `folds.json` and `audit.json` before training, of several corpora also `recordings.csv`
    with the hash of each file; `summary.json` and `predictions.csv`
    after each fold. Finished folds of the same experiment are kept, and an unfinished one goes on from its last epoch.

    Args:
        experiment: Experiment whose folds are trained and tested.
        out: Folder of results.
        fabric: Device, precision and processes.
        source: Source of the corpus' features.
        runner: Function that trains folds; one after the other in this process by default.
        precision: Arithmetic of training, as it is recorded.

    Returns:
        The summary.

    Raises:
        ConfigError: ``out`` holds another experiment.
        SplitError: The folds leak.
    """
    summary, rows = by_first(fabric, lambda: _resume(out, provenance(experiment, source, precision)))
    todo = [number for number in range(len(experiment.folds)) if number not in summary.numbers]
    if not todo:
        return summary
    with first_of_machine(fabric):
        speech, fingerprints = source.speech(experiment.recipe), source.fingerprints()
    audited, recordings = refuse_leaks(experiment, fingerprints), refuse_kept_files(experiment, source)
    if fabric.is_global_zero:
        if recordings:
            write_text(out / RECORDINGS, recordings)
        write_folds(experiment.folds, experiment.corpus, out / "folds.json")
        write_text(out / "audit.json", json.dumps(audited.to_plain(), indent=1) + "\n")
    summary = msgspec.structs.replace(summary, audit=audited.counts())

    def one_after_the_other(numbers: Sequence[int]) -> Iterable[FoldResult]:
        for number in numbers:
            yield run_fold(experiment, number, speech, out / f"fold-{number}", fabric)

    for entry, fold_rows in (runner or one_after_the_other)(todo):
        rows = sorted(rows + fold_rows, key=lambda row: int(row["fold"]))  # stable: as if one had followed another
        summary = summary.with_fold(entry)
        if fabric.is_global_zero:
            write_text(out / "predictions.csv", csv_text(rows))
            summary.write(out / "summary.json")
            (out / f"fold-{entry.fold}" / "last.safetensors").unlink(missing_ok=True)
    return summary


def _resume(out: Path, record: Record) -> tuple[Summary, list[PredictionRow]]:
    """Read the results of earlier runs of the same experiment, or write a summary without folds.

    A run of an older version has no record of its recordings. Its summary alone is compared, and it gets a record.

    Args:
        out: Folder of results.
        record: The experiment's provenance, of which its identity is a part.

    Returns:
        The summary, and the lines of `predictions.csv` of its folds.

    Raises:
        ConfigError: ``out`` holds another experiment.
        SplitError: Predictions of finished folds are missing.
    """
    path, summary = out / "summary.json", None
    identity = {name: record[name] for name in Identity.__struct_fields__ if name in record}
    if path.exists():
        summary = read_summary(path)
        refuse_other_work(out, plain(summary), identity)
    if summary and not (out / PROVENANCE).exists():
        log_line(f"{out}: folds of an older version, which did not note its recordings, are kept")
        write_record(out / PROVENANCE, record)
    resumes(out, out / PROVENANCE, record, occupied=bool(summary) or any(out.glob("fold-*/*.safetensors")))
    if summary is None:
        summary = parse(Summary, identity | {"version": __version__}, str(path))
        summary.write(path)
        return summary, []
    done = {str(number) for number in summary.numbers}
    if not done:
        return summary, []
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] in done]
    if {row["fold"] for row in rows} != done:
        raise SplitError(f"{out}: predictions.csv lacks folds that summary.json has; remove both to start again")
    return summary, rows
