"""What the training commands do: arguments in, an experiment run, a table out."""

import ctypes
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from lightning_fabric.strategies.ddp import DDPStrategy

from emofocus.config import EmbeddingSettings, Recipe, load_recipe
from emofocus.corpora import Corpus, read_corpus
from emofocus.data.cache import Cache, format_size
from emofocus.data.feature_file import FeaturesFile, write_features
from emofocus.data.feature_store import CachedSpeech, SpeechSource
from emofocus.data.speaker_embeddings import MANIFEST, with_embeddings
from emofocus.errors import ConfigError, MissingExtraError, ModelError, one_of
from emofocus.evaluation import Experiment, cross_validate, refuse_leaks, run_fold
from emofocus.export.to_onnx import export
from emofocus.metrics.classification import Metrics
from emofocus.models import MODELS
from emofocus.prediction_rows import Row
from emofocus.ranks import first_of_machine, processes
from emofocus.refitting import refitted
from emofocus.splits.formats import read_folds
from emofocus.splits.protocols import make_folds
from emofocus.training import Epoch
from emofocus.utils.progress import plain, say

ACCELERATORS = ("cpu", "gpu", "auto")
LOGS = ("tensorboard",)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

PATIENCE = timedelta(days=1)
"""How long processes wait for each other, as for a corpus' features; a dead one is noticed at once."""


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
    plain()
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
        speech, sounds = source.speech(experiment.recipe), source.sounds()
    refuse_leaks(experiment, sounds)
    work = out / "training"
    run_fold(experiment, fold, speech, work, fabric, after_epoch)
    if fabric.is_global_zero:
        extractor = choices.get("embeddings")
        export(work, out, extractor=None if extractor in (None, MANIFEST) else Path(extractor))
        say(f"model directory: {out}")


def make_fabric(
    accelerator: str,
    devices: int | None,
    precision: str,
    threads: int | None,
    log: str | None = None,
    out: Path = Path(),
) -> Fabric:
    """Device, precision and processes of a run (started here, unless torchrun did), and where its figures are logged.

    Raises:
        ConfigError: An unknown or absent accelerator, an unknown precision or log, or not as many devices.
        MissingExtraError: ``log`` is tensorboard, which is not installed.
    """
    if accelerator not in ACCELERATORS:
        raise ConfigError(f"unknown accelerator {accelerator!r} ({one_of(ACCELERATORS)})")
    if precision not in PRECISIONS:
        raise ConfigError(f"unknown precision {precision!r} ({one_of(PRECISIONS)})")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("accelerator 'gpu' is not there: torch finds no CUDA device; use cpu or auto")
    if log not in (None, *LOGS):
        raise ConfigError(f"unknown log {log!r} ({one_of(LOGS)})")
    here, machines = processes(devices)
    if accelerator != "cpu" and 0 < torch.cuda.device_count() < here:
        raise ConfigError(f"--devices {here}, but torch finds {torch.cuda.device_count()} (valid with cpu: any number)")
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    loggers = [_tensorboard(out)] if log else []
    strategy = DDPStrategy(timeout=PATIENCE) if here * machines > 1 else "auto"
    fabric = Fabric(
        accelerator=accelerator,
        strategy=strategy,
        devices=here,
        num_nodes=machines,
        precision=precision,  # type: ignore[arg-type]
        loggers=loggers,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def keep_freed_memory() -> None:
    """Let glibc's allocator keep what a training step frees, as the next step asks for as much again.

    Otherwise it gives large tensors back to the kernel, which clears each page anew: a third of a step's time where
    tensors are large (`benchmarks/freed_memory.py`). Other allocators are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # M_… of malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)
        mallopt(top_pad, 1 << 28)


def _tensorboard(out: Path) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(out, name="tensorboard", version="")
    except ModuleNotFoundError as error:
        raise MissingExtraError("tensorboard", "tensorboard") from error


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


def make_experiment(
    corpus: str | None,
    features: Path | None,
    cache: Path | None,
    root: Path | None,
    labels: str | None,
    only: Sequence[str],
    model: str,
    recipe: str,
    protocol: str | None,
    folds: Path | None,
    epochs: int | None,
    seed: int,
    embeddings: str | None = None,
    refit: Path | None = None,
) -> tuple[Experiment, SpeechSource]:
    """Check all names and deal the folds before any work begins; with ``refit``, see `emofocus.refitting`.

    Returns:
        The experiment, and where its features come from.

    Raises:
        EmofocusError: Something does not exist, or does not fit; the message says what would.
    """
    name, settings = recipe_of(model, recipe, epochs)
    source = find_source(corpus, features, cache, root, labels, only, embeddings)
    name, settings = with_embedding(model, name, settings, source.embedding)
    read = source.corpus
    say(describe(read))
    dealt = make_folds(read, protocol or "speaker", seed) if folds is None else read_folds(folds, read, protocol, seed)
    experiment = Experiment(read, model, name, settings, dealt, seed)
    return refitted(experiment, refit) if refit else experiment, source


def recipe_of(model: str, recipe: str, epochs: int | None) -> tuple[str, Recipe]:
    """A recipe by name or file; ``paper`` is the setting of the model's own paper.

    Returns:
        Its short name, and the recipe.

    Raises:
        ConfigError: No such recipe, or bad values.
        ModelError: No such model.
    """
    if model not in MODELS:
        raise ModelError(f"unknown model {model!r} ({one_of(MODELS)})")
    published = MODELS[model].recipe
    if recipe != "paper" or published is None:
        return load_recipe(recipe, epochs=epochs)
    return recipe, published if epochs is None else msgspec.structs.replace(published, epochs=epochs)


def with_embedding(model: str, name: str, recipe: Recipe, embedding: EmbeddingSettings | None) -> tuple[str, Recipe]:
    """A recipe and its name, told what frames end with.

    Raises:
        ModelError: The model takes no embeddings.
    """
    if embedding is None:
        return name, recipe
    if not MODELS[model].embeds:
        takers = one_of(other for other, item in MODELS.items() if item.embeds)
        raise ModelError(f"{model} takes no embeddings of speakers ({takers})")
    return f"{name}+embeddings", msgspec.structs.replace(recipe, embedding=embedding)


def find_source(
    corpus: str | None,
    features: Path | None,
    cache: Path | None,
    root: Path | None,
    labels: str | None,
    only: Sequence[str],
    embeddings: str | None,
) -> SpeechSource:
    """A corpus by way of the cache, or a file of features.

    Raises:
        EmofocusError: Neither is named, or both, or it cannot be read.
    """
    if (corpus is None) == (features is None):
        raise ConfigError("name either --corpus (with --root) or --features")
    if corpus is not None:
        opened = Cache(cache)
        source = CachedSpeech(read_corpus(corpus, root, labels, only), opened)
        return with_embeddings(source, opened, embeddings) if embeddings else source
    if root or labels or only or embeddings:
        raise ConfigError(
            "--root, --labels, --only and --embeddings were settled when the file of --features was written"
        )
    assert features is not None
    return FeaturesFile(features)


def save_features(model: str, recipe: str, out: Path, half: bool, **choices: Any) -> None:
    """`emofocus features`; ``choices`` are `find_source`'s."""
    settings = recipe_of(model, recipe, epochs=None)[1]
    source = find_source(features=None, **choices)
    settings = with_embedding(model, recipe, settings, source.embedding)[1]
    say(describe(source.corpus))
    write_features(out, source, settings, half)
    say(f"{out}: {format_size(out.stat().st_size)}")


def describe(corpus: Corpus) -> str:
    """One line: how much of a corpus is used, and which labels are left out."""
    line = f"{corpus.name}: {len(corpus)} utterances of {len(corpus.classes)} classes"
    if not corpus.left_out:
        return line
    listed = ", ".join(f"{label} {count}" for label, count in corpus.left_out.items())
    return f"{line}; left out, because no class takes their label: {listed}"
