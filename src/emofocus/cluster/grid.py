"""The command `emofocus grid`: models × recipes × protocols × seeds × corpora of one file, as one queue of folds."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated

import yaml
from msgspec import Meta

from emofocus.cluster.connection import absolute_corpus, absolute_if_path
from emofocus.cluster.cross_validation import Run, run_all
from emofocus.cluster.fold_task import Resources
from emofocus.config import Settings, parse
from emofocus.data.feature_store import SpeechSource
from emofocus.errors import ConfigError, EmofocusError
from emofocus.splits.protocols import make_folds
from emofocus.training.experiment import Experiment
from emofocus.training.options import FabricOptions, SourceOptions
from emofocus.training.results import Summary
from emofocus.training.setup import describe, find_source, recipe_of, with_embedding
from emofocus.utils.progress import log_line

Name = Annotated[str, Meta(min_length=1)]
Names = Annotated[tuple[Name, ...], Meta(min_length=1)]


class GridCorpus(Settings, frozen=True, kw_only=True):
    """A corpus of a grid.

    Attributes:
        corpus: A corpus by name, or a manifest; or several, which are trained on together.
        root: Folder of the corpus, or that in which several lie under their names; or folders by name.
        keep: Names of those of several corpora that are only tested.
        labels: Preset or mapping of labels to classes.
        only: Filters, ``column=value``.
        embeddings: Source of speaker embeddings.
        features: A file that `emofocus features` wrote, in place of a corpus.
    """

    corpus: Name | Names | None = None
    root: Name | dict[Name, Name] | None = None
    keep: tuple[Name, ...] = ()
    labels: Name | None = None
    only: tuple[Name, ...] = ()
    embeddings: Name | None = None
    features: Name | None = None


class Grid(Settings, frozen=True, kw_only=True):
    """Content of a grid file. Its paths are relative to its folder.

    Attributes:
        corpora: Corpora.
        models: Networks by name.
        recipes: Recipes by name, or YAML files.
        protocols: Protocols of the folds.
        seeds: Seeds.
        epochs: Length of training in place of the recipes'.
    """

    corpora: Annotated[tuple[GridCorpus, ...], Meta(min_length=1)]
    models: Names
    recipes: Names = ("emofocus",)
    protocols: Names = ("speaker",)
    seeds: Annotated[tuple[int, ...], Meta(min_length=1)] = (0,)
    epochs: Annotated[int, Meta(ge=1)] | None = None


def run_grid(file: Path, address: str, out: Path, cache: Path | None, device: FabricOptions) -> None:
    """Run all cross-validations of a grid; folds that are finished are kept.

    Args:
        file: YAML file with the content of `Grid`.
        address: Address of the cluster, as in `connected`.
        out: Folder of results; a run writes to ``<corpus>/<protocol>/<model>-<recipe>/seed<S>`` below it.
        cache: Folder of the feature cache; the user's by default.
        device: Accelerator, precision and threads of each fold.

    Raises:
        EmofocusError: The file cannot be read or names something that does not exist, and nothing was run; or some
            runs failed, and all others are finished.
    """
    resources = Resources.from_options(device)
    runs = runs_of(load_grid(file), file.parent, out, cache)
    log_line(f"{file}: {len(runs)} runs, {sum(len(run.experiment.folds) for run in runs)} folds")
    outcomes = run_all(address, runs, resources)
    _print(runs, outcomes)
    failures = [outcome for outcome in outcomes if isinstance(outcome, EmofocusError)]
    if failures:
        raise ConfigError(f"{len(failures)} of {len(runs)} runs failed; the first: {failures[0]}")


def load_grid(file: Path) -> Grid:
    """Read a grid file.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or has unknown keys or invalid values.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not YAML ({error})") from error
    return parse(Grid, values, str(file))


def runs_of(grid: Grid, folder: Path, out: Path, cache: Path | None) -> list[Run]:
    """All runs of a grid, with every name in it checked.

    Args:
        grid: Content of the grid file.
        folder: Folder that its paths are relative to.
        out: Folder of results.
        cache: Folder of the feature cache; the user's by default.

    Raises:
        EmofocusError: Something does not exist or does not fit; the message names the valid values.
    """
    runs: dict[Path, Run] = {}
    for settings in grid.corpora:
        options = _source_options(settings, folder, cache)
        source = find_source(options)
        for line in describe(source.corpus):
            log_line(line)
        for experiment in _experiments(grid, source, folder):
            name = f"{experiment.model}-{experiment.recipe_name}"
            path = out / source.corpus.name / experiment.protocol / name / f"seed{experiment.seed}"
            if path in runs:
                raise ConfigError(f"two runs of the grid would write to {path}: something in it is named twice")
            runs[path] = Run.create(experiment, source, cache, options.embeddings, path)
    return list(runs.values())


def _source_options(corpus: GridCorpus, folder: Path, cache: Path | None) -> SourceOptions:
    """Options of a corpus, with absolute paths."""
    names = (corpus.corpus,) if isinstance(corpus.corpus, str) else corpus.corpus or ()
    by_name = corpus.root if isinstance(corpus.root, dict) else {}
    common = (corpus.root,) if isinstance(corpus.root, str) else ()
    return SourceOptions(
        corpus=tuple(absolute_corpus(name, folder) for name in names),
        features=None if corpus.features is None else folder / corpus.features,
        cache=cache,
        root=(*(f"{name}={folder / root}" for name, root in by_name.items()), *(str(folder / root) for root in common)),
        keep=corpus.keep,
        labels=corpus.labels,
        only=corpus.only,
        embeddings=corpus.embeddings and absolute_if_path(corpus.embeddings, folder),
    )


def _experiments(grid: Grid, source: SpeechSource, folder: Path) -> Iterator[Experiment]:
    """All experiments of a grid with one corpus; folds are dealt once for each protocol and seed."""
    dealt = {
        (protocol, seed): make_folds(source.corpus, protocol, seed)
        for protocol, seed in product(grid.protocols, grid.seeds)
    }
    for model, recipe, ((_, seed), folds) in product(grid.models, grid.recipes, dealt.items()):
        name, settings = recipe_of(model, absolute_if_path(recipe, folder), grid.epochs)
        name, settings = with_embedding(model, name, settings, source.embedding)
        yield Experiment(source.corpus, model, name, settings, folds, seed)


def _print(runs: list[Run], outcomes: list[Summary | EmofocusError]) -> None:
    """Print a table with one line per run."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("run", "folds", "WA %", "UA %", "macro-F1 %", box=box.SIMPLE_HEAD, caption="mean ± std over folds")
    for run, outcome in zip(runs, outcomes, strict=True):
        if isinstance(outcome, EmofocusError):
            table.add_row(run.name, "failed")
            continue
        table.add_row(run.name, str(len(outcome.folds)), *map(str, (outcome.wa, outcome.ua, outcome.macro_f1)))
    Console().print(table)
