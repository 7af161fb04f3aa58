"""What `emofocus grid` does: models × recipes × protocols × seeds × corpora out of one file, as one queue of folds."""

from itertools import product
from pathlib import Path
from typing import Annotated

import yaml
from msgspec import Meta

from emofocus.cluster.connection import absolute_if_path
from emofocus.cluster.cross_validation import Run, run_all
from emofocus.cluster.fold_task import Resources
from emofocus.config import Settings, parse
from emofocus.data.feature_store import SpeechSource
from emofocus.errors import ConfigError, EmofocusError
from emofocus.splits.folds import Folds
from emofocus.splits.protocols import make_folds
from emofocus.training.experiment import Experiment
from emofocus.training.options import FabricOptions, SourceOptions
from emofocus.training.setup import describe, find_source, recipe_of, with_embedding
from emofocus.training.summary import Summary
from emofocus.utils.progress import log_line

Name = Annotated[str, Meta(min_length=1)]
Names = Annotated[tuple[Name, ...], Meta(min_length=1)]


class GridCorpus(Settings, frozen=True, kw_only=True):
    """One corpus of a grid: the options of `emofocus crossval` that say which utterances are meant."""

    corpus: Name | None = None
    root: Name | None = None
    labels: Name | None = None
    only: tuple[Name, ...] = ()
    embeddings: Name | None = None
    features: Name | None = None


class Grid(Settings, frozen=True, kw_only=True):
    """What `GRID.yaml` says. Paths are relative to it."""

    corpora: Annotated[tuple[GridCorpus, ...], Meta(min_length=1)]
    models: Names
    recipes: Names = ("emofocus",)
    protocols: Names = ("speaker",)
    seeds: Annotated[tuple[int, ...], Meta(min_length=1)] = (0,)
    epochs: Annotated[int, Meta(ge=1)] | None = None


def run_grid(file: Path, address: str, out: Path, cache: Path | None, device: FabricOptions) -> None:
    """Run all of a grid, or what is left of it.

    Args:
        file: As `Grid`.
        address: As in `connected`.
        out: Folder of results: ``<corpus>/<protocol>/<model>-<recipe>/seed<S>`` of each run.
        cache: As in `make_experiment`.
        device: Accelerator, precision and threads of each fold.

    Raises:
        EmofocusError: The file is none, or names something that does not exist: then nothing has been run. Or some
            runs failed: then all others are finished.
    """
    resources = Resources(device.accelerator, device.precision, device.threads or 1)
    runs = runs_of(load_grid(file), file.parent, out, cache)
    log_line(f"{file}: {len(runs)} runs, {sum(len(run.experiment.folds) for run in runs)} folds")
    found = run_all(address, runs, resources)
    _print(runs, found)
    failed = [told for told in found if isinstance(told, EmofocusError)]
    if failed:
        raise ConfigError(f"{len(failed)} of {len(runs)} runs failed; the first: {failed[0]}")


def load_grid(file: Path) -> Grid:
    """Read a grid file.

    Raises:
        ConfigError: It cannot be read, is no YAML, or has unknown keys or bad values.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not YAML ({error})") from error
    return parse(Grid, values, str(file))


def runs_of(grid: Grid, beside: Path, out: Path, cache: Path | None) -> list[Run]:
    """All runs of a grid, with every name in it checked.

    Raises:
        EmofocusError: Something does not exist, or does not fit; the message says what would.
    """
    runs: dict[Path, Run] = {}
    for settings in grid.corpora:
        source, embeddings = _source(settings, beside, cache)
        folds = {
            (protocol, seed): make_folds(source.corpus, protocol, seed)
            for protocol, seed in product(grid.protocols, grid.seeds)
        }
        for model, recipe, (protocol, seed) in product(grid.models, grid.recipes, folds):
            experiment = _experiment(
                source, model, absolute_if_path(recipe, beside), grid.epochs, folds, protocol, seed
            )
            folder = out / source.corpus.name / protocol / f"{model}-{experiment.recipe_name}" / f"seed{seed}"
            if folder in runs:
                raise ConfigError(f"two runs of the grid would write to {folder}: something in it is named twice")
            runs[folder] = Run.of(experiment, source, cache, embeddings, folder)
    return list(runs.values())


def _source(settings: GridCorpus, beside: Path, cache: Path | None) -> tuple[SpeechSource, str | None]:
    embeddings = settings.embeddings and absolute_if_path(settings.embeddings, beside)
    source = find_source(
        SourceOptions(
            corpus=settings.corpus and absolute_if_path(settings.corpus, beside),
            features=None if settings.features is None else beside / settings.features,
            cache=cache,
            root=None if settings.root is None else beside / settings.root,
            labels=settings.labels,
            only=settings.only,
            embeddings=embeddings,
        )
    )
    log_line(describe(source.corpus))
    return source, embeddings


def _experiment(
    source: SpeechSource,
    model: str,
    recipe: str,
    epochs: int | None,
    folds: dict[tuple[str, int], Folds],
    protocol: str,
    seed: int,
) -> Experiment:
    name, settings = with_embedding(model, *recipe_of(model, recipe, epochs), source.embedding)
    return Experiment(source.corpus, model, name, settings, folds[protocol, seed], seed)


def _print(runs: list[Run], found: list[Summary | EmofocusError]) -> None:
    """One line a run."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("run", "folds", "WA %", "UA %", "macro-F1 %", box=box.SIMPLE_HEAD, caption="mean ± std over folds")
    for run, told in zip(runs, found, strict=True):
        if isinstance(told, EmofocusError):
            table.add_row(run.name, "failed")
            continue
        table.add_row(run.name, str(len(told.folds)), *map(str, (told.wa, told.ua, told.macro_f1)))
    Console().print(table)
