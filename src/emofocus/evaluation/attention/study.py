"""Study of the paper's claims about attention over trained folds of several runs: `emofocus alignment`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from emofocus.config import Recipe, SegmentSettings, parse
from emofocus.corpora import Corpus
from emofocus.data.cache import Cache
from emofocus.data.feature_store import CachedSpeech
from emofocus.errors import ConfigError
from emofocus.evaluation.attention import HEADS, ClaimSettings, keep_settings, measure_fold, write_tables
from emofocus.evaluation.leaderboard import refuse_other_task
from emofocus.evaluation.results import RunResult, read_run
from emofocus.splits.folds import Folds
from emofocus.splits.formats import read_folds
from emofocus.utils.progress import log_line
from emofocus.utils.provenance import PROVENANCE, content_hash, resumes

WHOLE = SegmentSettings(frames=sys.maxsize)
"""Segment that is longer than any recording: a frame has one row of features, which all segments share.

A pretrained encoder then hears more around a segment of a longer recording than it does in training.
"""


def measure_claims(
    runs: Sequence[Path], out: Path, data: Corpus, settings: ClaimSettings, cache: Path | None = None
) -> list[Path]:
    """Measure all finished folds of some runs that are not measured yet, then write tables and figures of all.

    Args:
        runs: Folders that `emofocus crossval` wrote, with the weights of their folds.
        out: Folder for the measures.
        data: Corpus of the runs.
        settings: Settings of the measures.
        cache: Folder of the feature cache; the user's by default.

    Returns:
        Paths of the tables and figures.

    Raises:
        EmofocusError: A run cannot be read, its folds differ from the others', or ``out`` holds measures of other
            settings.
    """
    first, *others = results = [read_run(run, whole=False) for run in runs]
    for other in others:
        refuse_other_task(first, other)
        if other.predictions.digest != first.predictions.digest:
            raise ConfigError(f"{first.name} and {other.name} cannot stand side by side: their folds differ")
    keep_settings(out, settings, first.predictions.digest, data.name)
    folds = read_folds(runs[0] / "folds.json", data, first.predictions.protocol, first.seed)
    opened = Cache(cache)
    source = CachedSpeech(data, opened)
    recordings = source.content()
    for run, folder in zip(results, runs, strict=True):
        _measure_run(run, folder, out / _name(run), source, recordings, folds, settings)
    return write_tables(out)


def _measure_run(
    run: RunResult,
    folder: Path,
    out: Path,
    source: CachedSpeech,
    recordings: str,
    folds: Folds,
    settings: ClaimSettings,
) -> None:
    """Measure the finished folds of one run that are not measured yet."""
    todo = _begin(run, folder, out, recordings)
    if not todo:
        return
    recipe = parse(Recipe, run.summary.recipe_settings, str(folder))
    speech = source.speech(msgspec.structs.replace(recipe, speeds=(), copies=(), segment=WHOLE))[0]
    for number in todo:
        fold, title = f"fold-{number}", f"{_name(run)} fold {number}"
        measure_fold(source.corpus, folds[number], speech, folder / fold, out / fold, settings, title)
        log_line(f"{title}: measured")


def _begin(run: RunResult, folder: Path, target: Path, recordings: str) -> list[int]:
    """Folds of a run that are still to be measured; those without their weights are left out.

    Raises:
        ConfigError: A fold was measured with other weights or recordings.
    """
    todo = []
    for number in (item.fold for item in run.summary.folds):
        fold = f"fold-{number}"
        weights, done = folder / fold / "model.safetensors", (target / fold / HEADS).exists()
        if weights.exists():
            record = {"seed": run.seed, "weights": content_hash(weights), "recordings": recordings}
            if not resumes(target / fold, target / fold / PROVENANCE, record, done):
                todo.append(number)
        elif not done:
            log_line(f"{_name(run)} {fold.replace('-', ' ')}: left out, its weights are not there")
    return todo


def _name(run: RunResult) -> str:
    return f"{run.summary.model}-{run.summary.recipe}"
