"""What `emofocus alignment` does: trained folds in, the paper's claims about attention measured and written down."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from emofocus.config import Recipe, parse
from emofocus.corpora import read_corpus
from emofocus.data.cache import Cache
from emofocus.data.feature_store import CachedSpeech
from emofocus.errors import ConfigError
from emofocus.evaluation.attention import HEADS, ClaimSettings, keep_settings, measure_fold, write_tables
from emofocus.evaluation.leaderboard import refuse_other_task
from emofocus.evaluation.results import Result, read_run
from emofocus.splits.formats import read_folds
from emofocus.utils.progress import log_line


def measure_claims(
    runs: Sequence[Path],
    out: Path,
    corpus: str | None,
    root: Path | None,
    labels: str | None,
    only: Sequence[str],
    cache: Path | None,
    threads: int | None,
    **choices: Any,
) -> list[Path]:
    """Measure all finished folds of some runs that are not measured yet, then write tables and figures of all.

    Args:
        runs: Folders of `emofocus crossval`, with the weights of their folds; none to write the tables anew.
        out: Folder for the measures.
        corpus: As in `emofocus crossval`.
        root: As there.
        labels: As there.
        only: As there.
        cache: As there.
        threads: Of the CPU.
        choices: Of `ClaimSettings`.

    Returns:
        Tables and figures.

    Raises:
        EmofocusError: A run cannot be read, or has other folds than the others; measures of other settings are there.
    """
    if not runs:
        return write_tables(out)
    if corpus is None:
        raise ConfigError("name the runs' corpus with --corpus (and --root)")
    if threads:
        torch.set_num_threads(threads)
    settings = parse(ClaimSettings, choices, "emofocus alignment")
    first, *others = read = [read_run(run, whole=False) for run in runs]
    for other in others:
        refuse_other_task(first, other)
        if other.predictions.digest != first.predictions.digest:
            raise ConfigError(f"{first.name} and {other.name} cannot stand side by side: their folds differ")
    data = read_corpus(corpus, root, labels, only)
    keep_settings(out, settings, first.predictions.digest, data.name)
    folds = read_folds(runs[0] / "folds.json", data, first.predictions.protocol, first.seed)
    opened = Cache(cache)
    for run, folder in zip(read, runs, strict=True):
        target = out / _name(run)
        finished = [item["fold"] for item in run.summary["folds"]]
        todo = [number for number in finished if not (target / f"fold-{number}" / HEADS).exists()]
        if not todo:
            continue
        recipe = parse(Recipe, run.summary["recipe_settings"], str(folder))
        speech = CachedSpeech(data, opened).speech(msgspec.structs.replace(recipe, speeds=()))[0]
        for number in todo:
            title = f"{_name(run)} fold {number}"
            fold = f"fold-{number}"
            if not (folder / fold / "model.safetensors").exists():
                log_line(f"{title}: left out, its weights are not there")
                continue
            measure_fold(data, folds[number], speech, folder / fold, target / fold, settings, title)
            log_line(f"{title}: measured")
    return write_tables(out)


def _name(run: Result) -> str:
    return f"{run.summary['model']}-{run.summary['recipe']}"
