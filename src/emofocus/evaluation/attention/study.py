"""Study of the paper's claims about attention over trained folds of several runs: `emofocus alignment`."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from emofocus.config import Recipe, parse
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
    for run, folder in zip(results, runs, strict=True):
        _measure_run(run, folder, out / _name(run), data, folds, settings, opened)
    return write_tables(out)


def _measure_run(
    run: RunResult, folder: Path, out: Path, data: Corpus, folds: Folds, settings: ClaimSettings, cache: Cache
) -> None:
    """Measure the finished folds of one run that are not measured yet."""
    finished = [item["fold"] for item in run.summary["folds"]]
    todo = [number for number in finished if not (out / f"fold-{number}" / HEADS).exists()]
    if not todo:
        return
    recipe = parse(Recipe, run.summary["recipe_settings"], str(folder))
    speech = CachedSpeech(data, cache).speech(msgspec.structs.replace(recipe, speeds=()))[0]
    for number in todo:
        fold, title = f"fold-{number}", f"{_name(run)} fold {number}"
        if not (folder / fold / "model.safetensors").exists():
            log_line(f"{title}: left out, its weights are not there")
            continue
        measure_fold(data, folds[number], speech, folder / fold, out / fold, settings, title)
        log_line(f"{title}: measured")


def _name(run: RunResult) -> str:
    return f"{run.summary['model']}-{run.summary['recipe']}"
