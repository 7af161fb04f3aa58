"""A fold of a cross-validation as a Ray task, with the bits of a local run."""

import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from lightning_fabric.loggers.logger import Logger

from emofocus.cluster.connection import Ray, Requester, check_version
from emofocus.cluster.dashboard import RUNNING
from emofocus.data.cache import Cache
from emofocus.data.feature_store import CachedSpeech, Speech
from emofocus.data.speaker_embeddings import with_embeddings
from emofocus.errors import ConfigError, one_of
from emofocus.training.experiment import Experiment, run_fold
from emofocus.training.fabric import ACCELERATORS, PRECISIONS, make_fabric
from emofocus.training.options import FabricOptions
from emofocus.training.results import FoldEntry, PredictionRow
from emofocus.utils.progress import use_plain_lines

RETRIES = 5
"""Times that a fold is resumed or begun again after its process or node has died."""


@dataclass(frozen=True)
class Resources:
    """Resources of each fold.

    Attributes:
        accelerator: cpu, gpu or auto, which is gpu where the cluster has some.
        precision: Arithmetic of training, as in `FabricOptions`.
        threads: Cores.

    Raises:
        ConfigError: An unknown accelerator or precision.
    """

    accelerator: str = "cpu"
    precision: str = "32-true"
    threads: int = 1

    def __post_init__(self) -> None:
        """Check the names."""
        for kind, value, valid in (
            ("accelerator", self.accelerator, ACCELERATORS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in valid:
                raise ConfigError(f"unknown {kind} {value!r} ({one_of(valid)})")

    @classmethod
    def from_options(cls, device: FabricOptions) -> "Resources":
        """Resources that options of a training request; one core by default."""
        return cls(device.accelerator, device.precision, device.threads or 1)

    def find_device(self, ray: Ray) -> FabricOptions:
        """The device of each fold on a cluster.

        Raises:
            ConfigError: No node has the resources.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        has_gpu = any("GPU" in node for node in nodes)
        gpu = self.accelerator == "gpu" or (self.accelerator == "auto" and has_gpu)
        if gpu and not has_gpu:
            raise ConfigError("accelerator 'gpu' is not there: no node of the cluster has one; use cpu or auto")
        most = int(max(node.get("CPU", 0) for node in nodes))
        if self.threads > most:
            raise ConfigError(f"no node of the cluster has {self.threads} cores for a fold (valid: 1 to {most})")
        accelerator = "gpu" if gpu else "cpu"
        return FabricOptions(accelerator=accelerator, devices=1, precision=self.precision, threads=self.threads)


@dataclass(frozen=True)
class NodeFeatures:
    """Features that a node computes from audio that it can read, by way of its own cache.

    Attributes:
        cache: Folder of the cache; the user's by default.
        embeddings: Source of speaker embeddings, as in `SourceOptions`.
    """

    cache: Path | None
    embeddings: str | None

    def speech(self, experiment: Experiment) -> list[Sequence[Speech]]:
        """Features of a corpus at each speed, as `SpeechSource.speech` returns them."""
        cache = Cache(self.cache)
        source = CachedSpeech(experiment.corpus, cache)
        return (with_embeddings(source, cache, self.embeddings) if self.embeddings else source).speech(
            experiment.recipe
        )


@dataclass(frozen=True)
class FoldTask:
    """Everything that the folds of one run share; it travels through Ray's object store once.

    Attributes:
        run: Name of the run.
        experiment: Experiment of the folds.
        features: The features, or how nodes compute them.
        marker: A file in the folder of results, by which a node sees whether it shares that folder.
        device: Device of each fold.
        requester: The process that runs the command.
    """

    run: str
    experiment: Experiment
    features: list[Sequence[Speech]] | NodeFeatures
    marker: Path
    device: FabricOptions
    requester: Requester


class FoldOutcome(NamedTuple):
    """Results of a fold.

    Attributes:
        entry: The fold's entry of `summary.json`.
        rows: The fold's rows of `predictions.csv`.
        files: Files to write to the fold's folder, by name; none where the node shares it.
    """

    entry: FoldEntry
    rows: list[PredictionRow]
    files: dict[str, bytes]


def train_fold(task: FoldTask, dashboard: Any, number: int) -> FoldOutcome:
    """Train and test a fold on this node; a Ray task.

    A node that shares the folder of results trains in it, and resumes a fold that was killed from its last epoch. Other
    nodes use a temporary folder, whose files are returned.

    Args:
        task: Everything that the folds of the run share.
        dashboard: Handle of the `Dashboard`.
        number: Number of the fold.

    Raises:
        ConfigError: This node has another version of emofocus.
    """
    check_version(task.requester)
    use_plain_lines()
    update = partial(dashboard.update.remote, (task.run, number))
    update(state=RUNNING, node=platform.node(), note="")
    fabric = make_fabric(task.device)
    fabric.loggers.append(_DashboardLogger(update))
    features, experiment = task.features, task.experiment
    speech = features.speech(experiment) if isinstance(features, NodeFeatures) else features
    if task.marker.exists():
        return FoldOutcome(*run_fold(experiment, number, speech, task.marker.parent / f"fold-{number}", fabric), {})
    with tempfile.TemporaryDirectory(prefix="emofocus-") as folder:
        entry, rows = run_fold(experiment, number, speech, Path(folder), fabric)
        files = [path for path in Path(folder).iterdir() if path.is_file() and path.name != "last.safetensors"]
        return FoldOutcome(entry, rows, {path.name: path.read_bytes() for path in files})


class _DashboardLogger(Logger):
    """Sends each epoch's figures to the dashboard.

    Args:
        update: Changes fields of the fold's status.
    """

    def __init__(self, update: Callable[..., Any]) -> None:
        self._update = update

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "dashboard"

    @property
    def version(self) -> str:
        """Version of the run, which Fabric requires and nothing uses."""
        return ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Send the epoch's validation UA, or its loss where there is no validation part."""
        figures = {name.rsplit("/", 1)[-1]: value for name, value in metrics.items()}
        shown = f"validation UA {figures['valid_ua']:.1%}" if "valid_ua" in figures else f"loss {figures['loss']:.3f}"
        self._update(note=f"epoch {step}, {shown}")

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing; the dashboard shows no hyperparameters."""
