"""What the training commands do: arguments in, an experiment run, a table out."""

from pathlib import Path
from typing import Any

from emofocus.config import load_recipe
from emofocus.corpora import read_corpus
from emofocus.errors import ConfigError, MissingExtraError, ModelError, one_of

try:
    import torch
    from lightning_fabric import Fabric
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "train") from error

from emofocus.datasets import FeatureCache
from emofocus.evaluation import Experiment, cross_validate, load_speech, run_fold
from emofocus.export import export
from emofocus.metrics import Metrics
from emofocus.models import MODELS
from emofocus.progress import say

ACCELERATORS = ("cpu", "gpu", "auto")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def crossval(
    corpus: str,
    root: Path,
    out: Path,
    model: str,
    recipe: str,
    protocol: str,
    epochs: int | None,
    seed: int,
    cache: Path | None,
    **hardware: Any,
) -> None:
    """`emofocus crossval`."""
    experiment = _experiment(corpus, root, model, recipe, protocol, epochs, seed)
    fabric = make_fabric(**hardware)
    summary = cross_validate(experiment, out, fabric, FeatureCache(cache))
    if fabric.is_global_zero:
        print_summary(summary)


def train(
    corpus: str,
    root: Path,
    out: Path,
    model: str,
    recipe: str,
    protocol: str,
    fold: int,
    epochs: int | None,
    seed: int,
    cache: Path | None,
    **hardware: Any,
) -> None:
    """`emofocus train`."""
    experiment = _experiment(corpus, root, model, recipe, protocol, epochs, seed)
    folds = experiment.folds()
    if fold >= len(folds):
        raise ConfigError(f"there is no fold {fold} ({one_of(range(len(folds)))})")
    fabric = make_fabric(**hardware)
    speech = load_speech(experiment, FeatureCache(cache))
    work = out / "training"
    run_fold(experiment, fold, folds[fold], speech, work, fabric)
    if fabric.is_global_zero:
        export(work, out)
        say(f"model directory: {out}")


def export_model(source: Path, out: Path, packed: bool) -> None:
    """`emofocus export`."""
    export(source, out, packed)
    say(f"model directory: {out}")


def make_fabric(accelerator: str, devices: int, precision: str, threads: int | None) -> Fabric:
    """Device, precision and processes of a run.

    Raises:
        ConfigError: An unknown or absent accelerator, or an unknown precision.
    """
    if accelerator not in ACCELERATORS:
        raise ConfigError(f"unknown accelerator {accelerator!r} ({one_of(ACCELERATORS)})")
    if precision not in PRECISIONS:
        raise ConfigError(f"unknown precision {precision!r} ({one_of(PRECISIONS)})")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("accelerator 'gpu' is not there: torch finds no CUDA device; use cpu or auto")
    if threads:
        torch.set_num_threads(threads)
    fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


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
        f"{protocol['note']}; {protocol['selection']}; seed {summary['seed']}",
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


def _experiment(
    corpus: str, root: Path, model: str, recipe: str, protocol: str, epochs: int | None, seed: int
) -> Experiment:
    """Check all names before any work begins."""
    if model not in MODELS:
        raise ModelError(f"unknown model {model!r} ({one_of(MODELS)})")
    name, settings = load_recipe(recipe, epochs=epochs)
    experiment = Experiment(read_corpus(corpus, root), model, name, settings, protocol, seed)
    experiment.folds()
    return experiment
