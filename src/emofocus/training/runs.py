"""The commands `emofocus crossval`, `train` and `features`, from options to results."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

import msgspec

from emofocus.data.cache import format_size
from emofocus.data.feature_file import write_features
from emofocus.data.feature_store import SpeechSource
from emofocus.data.speaker_embeddings import MANIFEST
from emofocus.errors import ConfigError
from emofocus.splits.kept_recordings import RECORDINGS
from emofocus.training.cross_validation import FoldRunner, cross_validate
from emofocus.training.distributed import by_first, first_of_machine, processes
from emofocus.training.experiment import (
    Experiment,
    FoldResult,
    provenance,
    refuse_kept_files,
    refuse_leaks,
    run_fold,
)
from emofocus.training.fabric import make_fabric
from emofocus.training.loop import Epoch
from emofocus.training.model_training import ModelTraining
from emofocus.training.options import ExperimentOptions, FabricOptions, SourceOptions
from emofocus.training.results import print_summary
from emofocus.training.setup import describe, find_source, make_experiment, recipe_of, with_embedding
from emofocus.utils.atomic import write_text
from emofocus.utils.progress import log_line, use_plain_lines

LOOK_EVERY = 0.5
"""Seconds between two looks at folds that are trained side by side."""


def crossval(options: ExperimentOptions, device: FabricOptions, out: Path, jobs: int = 1) -> None:
    """Run `emofocus crossval`.

    With several ``jobs``, as many folds are trained side by side, each in a process of its own, on the same device. A
    process then has its share of the cores, unless the number of threads is given.
    """
    if jobs > 1:
        if processes(device.devices) != (1, 1):
            raise ConfigError(f"--jobs {jobs} trains folds side by side, each on one device: leave out --devices")
        share = max(1, (os.cpu_count() or 1) // jobs)
        device = msgspec.structs.replace(device, threads=device.threads or share)
    experiment, source = make_experiment(options)
    fabric = make_fabric(device, out)
    runner = side_by_side(experiment, source, out, device, jobs) if jobs > 1 else None
    summary = cross_validate(experiment, out, fabric, source, runner, device.precision)
    if fabric.is_global_zero:
        print_summary(summary)


def side_by_side(
    experiment: Experiment, source: SpeechSource, out: Path, device: FabricOptions, jobs: int
) -> FoldRunner:
    """Run folds in processes, which receive the experiment and the source of its features.

    Ctrl-C ends them at once; each fold goes on from its last checkpoint.
    """

    def run(numbers: Sequence[int]) -> Iterator[FoldResult]:
        # Spawned, not forked: a fork of a process that has used CUDA or threads may hang.
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), ignore_interruption) as pool:
            folds = {pool.submit(_one_fold, experiment, number, source, out, device) for number in numbers}
            try:
                while folds:  # with a timeout: a wait without end did not always see Ctrl-C
                    done, folds = wait(folds, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED)
                    for fold in done:
                        yield fold.result()
            except (KeyboardInterrupt, GeneratorExit):
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()
                raise

    return run


def ignore_interruption() -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the one that has started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _one_fold(
    experiment: Experiment, number: int, source: SpeechSource, out: Path, device: FabricOptions
) -> FoldResult:
    """Train and test a fold in this process, which serves it alone."""
    use_plain_lines()
    fabric = make_fabric(device, out)
    return run_fold(experiment, number, source.speech(experiment.recipe), out / f"fold-{number}", fabric)


def train(
    options: ExperimentOptions,
    device: FabricOptions,
    out: Path,
    fold: int | None = None,
    after_epoch: Callable[[Epoch], None] | None = None,
) -> None:
    """`emofocus train`: train one fold of an experiment, and export it."""
    experiment, source = make_experiment(options)
    number = fold or 0
    experiment.require_fold(number)
    fabric = make_fabric(device, out)
    training = ModelTraining(out)
    if by_first(fabric, lambda: training.begin(provenance(experiment, source, device.precision) | {"fold": number})):
        return
    with first_of_machine(fabric):
        speech, fingerprints = source.speech(experiment.recipe), source.fingerprints()
    refuse_leaks(experiment, fingerprints)
    recordings = refuse_kept_files(experiment, source)
    if recordings and fabric.is_global_zero:
        write_text(training.work / RECORDINGS, recordings)
    run_fold(experiment, number, speech, training.work, fabric, after_epoch)
    if fabric.is_global_zero:
        extractor = options.embeddings
        training.finish(None if extractor in (None, MANIFEST) else Path(extractor))


def save_features(options: SourceOptions, model: str, recipe: str, out: Path, half: bool) -> None:
    """`emofocus features`: write the features of a corpus to one file."""
    settings = recipe_of(model, recipe, epochs=None)[1]
    source = find_source(options)
    settings = with_embedding(model, recipe, settings, source.embedding)[1]
    for line in describe(source.corpus):
        log_line(line)
    written = write_features(out, source, settings, half)
    log_line(f"{out}: {format_size(out.stat().st_size)}{'' if written else ' (written before)'}")
