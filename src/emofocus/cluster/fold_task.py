"""A fold as a task of Ray: on some node, and with the bits of a local run."""

import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import Logger

from emofocus.cluster.connection import Ray, refuse_another_version
from emofocus.cluster.dashboard import RUNNING
from emofocus.data.cache import Cache
from emofocus.data.feature_store import CachedSpeech, Speech
from emofocus.data.speaker_embeddings import with_embeddings
from emofocus.errors import ConfigError, one_of
from emofocus.training.cross_validation import run_fold
from emofocus.training.experiment import Experiment
from emofocus.training.fabric import ACCELERATORS, PRECISIONS, make_fabric
from emofocus.training.options import FabricOptions
from emofocus.training.predictions import PredictionRow
from emofocus.training.summary import FoldEntry
from emofocus.utils.progress import use_plain_lines

RETRIES = 5
"""Times that a fold is begun again, or goes on, after its process or node has died."""


@dataclass(frozen=True)
class Resources:
    """What a fold gets.

    Attributes:
        accelerator: cpu or gpu; auto is gpu where the cluster has some.
        precision: As in `make_fabric`.
        threads: Cores.
    """

    accelerator: str = "cpu"
    precision: str = "32-true"
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse unknown names (ConfigError)."""
        for kind, value, valid in (
            ("accelerator", self.accelerator, ACCELERATORS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in valid:
                raise ConfigError(f"unknown {kind} {value!r} ({one_of(valid)})")

    def options(self, ray: Ray) -> dict[str, Any]:
        """The same as Ray spells it.

        Raises:
            ConfigError: No node has them.
        """
        found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpu = self.accelerator == "gpu" or (self.accelerator == "auto" and any("GPU" in node for node in found))
        if gpu and not any("GPU" in node for node in found):
            raise ConfigError("accelerator 'gpu' is not there: no node of the cluster has one; use cpu or auto")
        most = int(max(node.get("CPU", 0) for node in found))
        if self.threads > most:
            raise ConfigError(f"no node of the cluster has {self.threads} cores for a fold (valid: 1 to {most})")
        return {"num_cpus": self.threads, "num_gpus": int(gpu), "max_retries": RETRIES}


@dataclass(frozen=True)
class Heard:
    """How a node comes by the features of a corpus whose audio it can read: through its own cache."""

    cache: Path | None
    embeddings: str | None

    def speech(self, experiment: Experiment) -> list[Sequence[Speech]]:
        """As `SpeechSource.speech`."""
        cache = Cache(self.cache)
        source = CachedSpeech(experiment.corpus, cache)
        return (with_embeddings(source, cache, self.embeddings) if self.embeddings else source).speech(
            experiment.recipe
        )


def fold_there(
    device: FabricOptions,
    board: Any,
    asked: tuple[str, str],
    name: str,
    experiment: Experiment,
    speech: list[Sequence[Speech]] | None,
    heard: Heard | None,
    mark: Path,
    number: int,
) -> tuple[FoldEntry, list[PredictionRow], dict[str, bytes]]:
    """A fold, on whatever node; a task of Ray.

    Where the folder of results is seen from here, it is trained in, and a fold that was killed goes on from its last
    epoch. Elsewhere a folder of this node serves, and what is in it afterwards travels back.

    Returns:
        What `run_fold` does, and the files that are to be written in the fold's folder.
    """
    refuse_another_version(asked)
    use_plain_lines()
    tell = partial(board.tell.remote, (name, number))
    tell(state=RUNNING, node=platform.node(), note="")
    fabric = make_fabric(device)
    fabric.loggers.append(_Epochs(tell))
    if speech is None:
        assert heard is not None
        speech = heard.speech(experiment)
    if mark.exists():
        return *run_fold(experiment, number, speech, mark.parent / f"fold-{number}", fabric), {}
    with tempfile.TemporaryDirectory(prefix="emofocus-") as folder:
        found = run_fold(experiment, number, speech, Path(folder), fabric)
        kept = [path for path in Path(folder).iterdir() if path.is_file() and path.name != "last.safetensors"]
        return *found, {path.name: path.read_bytes() for path in kept}


class _Epochs(Logger):
    """Tells the board of each epoch what others write for TensorBoard."""

    def __init__(self, tell: Callable[..., Any]) -> None:
        self._tell = tell

    @property
    def name(self) -> str:
        """Of the kind of logger."""
        return "board"

    @property
    def version(self) -> str:
        """There is one."""
        return ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """The epoch's validation UA, or its loss where nothing is validated."""
        told = {name.rsplit("/", 1)[-1]: value for name, value in metrics.items()}
        shown = f"validation UA {told['valid_ua']:.1%}" if "valid_ua" in told else f"loss {told['loss']:.3f}"
        self._tell(note=f"epoch {step}, {shown}")

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """There are none."""
