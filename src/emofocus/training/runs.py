"""What the training commands do: arguments in, an experiment run, a table out."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from emofocus.data.cache import format_size
from emofocus.data.feature_file import write_features
from emofocus.data.speaker_embeddings import MANIFEST
from emofocus.errors import ConfigError, one_of
from emofocus.export.to_onnx import export
from emofocus.training.cross_validation import cross_validate, run_fold
from emofocus.training.distributed import first_of_machine, processes
from emofocus.training.experiment import refuse_leaks
from emofocus.training.fabric import make_fabric
from emofocus.training.loop import Epoch
from emofocus.training.predictions import Row
from emofocus.training.setup import describe, find_source, make_experiment, recipe_of, with_embedding
from emofocus.training.summary import print_summary
from emofocus.utils.progress import log_line, use_plain_lines


def crossval(
    out: Path,
    cache: Path | None,
    accelerator: str,
    devices: int | None,
    precision: str,
    threads: int | None,
    log: str | None,
    jobs: int,
    **choices: Any,
) -> None:
    """`emofocus crossval`; ``choices`` are `make_experiment`'s.

    That many ``jobs``, folds, are trained side by side, each in a process of its own, on the same device; a process
    then has its share of the cores, unless ``threads`` says otherwise.
    """
    if jobs > 1:
        if processes(devices) != (1, 1):
            raise ConfigError(f"--jobs {jobs} trains folds side by side, each on one device: leave out --devices")
        threads = threads or max(1, (os.cpu_count() or 1) // jobs)
    experiment, source = make_experiment(cache=cache, **choices)
    fabric = make_fabric(accelerator, devices, precision, threads, log, out)
    device = {"accelerator": accelerator, "devices": devices, "precision": precision, "threads": threads, "log": log}

    def side_by_side(numbers: Sequence[int]) -> Iterator[tuple[dict[str, Any], list[Row]]]:
        # Spawned, not forked: a fork of a process that has used CUDA or threads may hang.
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            runs = [pool.submit(_one_fold, number, out, device, choices | {"cache": cache}) for number in numbers]
            for run in as_completed(runs):
                yield run.result()

    summary = cross_validate(experiment, out, fabric, source, side_by_side if jobs > 1 else None)
    if fabric.is_global_zero:
        print_summary(summary)


def _one_fold(
    number: int, out: Path, device: dict[str, Any], choices: dict[str, Any]
) -> tuple[dict[str, Any], list[Row]]:
    """A fold in a process of its own."""
    use_plain_lines()
    experiment, source = make_experiment(**choices)
    fabric = make_fabric(**device, out=out)
    return run_fold(experiment, number, source.speech(experiment.recipe), out / f"fold-{number}", fabric)


def train(
    out: Path,
    fold: int | None,
    cache: Path | None,
    accelerator: str,
    devices: int | None,
    precision: str,
    threads: int | None,
    log: str | None,
    after_epoch: Callable[[Epoch], None] | None = None,
    **choices: Any,
) -> None:
    """`emofocus train`; ``choices`` are `make_experiment`'s."""
    experiment, source = make_experiment(cache=cache, **choices)
    folds, fold = experiment.folds, fold or 0
    if fold >= len(folds):
        raise ConfigError(f"there is no fold {fold} ({one_of(range(len(folds)))})")
    fabric = make_fabric(accelerator, devices, precision, threads, log, out)
    with first_of_machine(fabric):
        speech, fingerprints = source.speech(experiment.recipe), source.fingerprints()
    refuse_leaks(experiment, fingerprints)
    work = out / "training"
    run_fold(experiment, fold, speech, work, fabric, after_epoch)
    if fabric.is_global_zero:
        extractor = choices.get("embeddings")
        export(work, out, extractor=None if extractor in (None, MANIFEST) else Path(extractor))
        log_line(f"model directory: {out}")


def save_features(model: str, recipe: str, out: Path, half: bool, **choices: Any) -> None:
    """`emofocus features`; ``choices`` are `find_source`'s."""
    settings = recipe_of(model, recipe, epochs=None)[1]
    source = find_source(features=None, **choices)
    settings = with_embedding(model, recipe, settings, source.embedding)[1]
    log_line(describe(source.corpus))
    write_features(out, source, settings, half)
    log_line(f"{out}: {format_size(out.stat().st_size)}")
