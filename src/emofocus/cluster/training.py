"""Training on a Ray cluster: Ray Train starts and restarts workers, each of which runs `emofocus train`."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from emofocus.cluster.connection import absolute_corpus, absolute_if_path, connected, import_ray
from emofocus.corpora import short_name
from emofocus.errors import ConfigError, EmofocusError
from emofocus.training.loop import Epoch
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.utils.progress import log_line

ray = import_ray()
from ray import train as ray_train  # noqa: E402  (after import_ray, which reports a missing installation)
from ray.exceptions import RayError  # noqa: E402
from ray.train import TrainingFailedError  # noqa: E402
from ray.train.torch import TorchTrainer  # noqa: E402

RESTARTS = 3
"""Times that dead workers are restarted from the last epoch."""

STORE = "ray"
"""Folder below the results in which Ray keeps the checkpoints of a run; all machines must share it."""

NAMES_OR_PATHS = ("recipe", "embeddings")
"""Options whose text may be a name or a path."""


class TrainingJob(msgspec.Struct, frozen=True, kw_only=True):
    """A training, by the options of `emofocus train`.

    Attributes:
        options: The experiment.
        device: Device of each worker, and number of workers.
        fold: Number of the fold.
        shards: Path or URI of shards to train from in place of a corpus.
        buffer: Size of the buffer of features, with shards.
    """

    options: ExperimentOptions
    device: FabricOptions
    fold: int | None = None
    shards: str | None = None
    buffer: str = "256MB"


def train(address: str, job: TrainingJob, out: Path) -> None:
    """Run `emofocus train --ray`, with one worker anywhere in the cluster for each device.

    The checkpoint of each epoch is stored below ``out``; restarted workers, and the same command, resume from it.

    Args:
        address: Address of the cluster, as in `connected`.
        job: Experiment or shards, and the device of each worker.
        out: The model directory to write.

    Raises:
        ConfigError: The cluster is unreachable, or lacks the resources.
        EmofocusError: The training failed.
    """
    workers, gpus = job.device.devices or 1, job.device.accelerator == "gpu"
    with connected(address, show_output=True):
        check_resources(workers, gpus)
        portable = msgspec.structs.replace(
            job,
            options=with_absolute_paths(job.options),
            device=msgspec.structs.replace(job.device, devices=None),
            shards=job.shards and absolute_if_path(job.shards),
        )
        try:
            result = make_trainer(portable, out.absolute(), workers, gpus).fit()
        except (TrainingFailedError, RayError) as error:
            raise EmofocusError(f"training on Ray failed, the same command goes on: {reason_of(error)}") from error
    if result.checkpoint is None:
        raise EmofocusError(f"{out}: Ray kept no checkpoint of this training")
    with result.checkpoint.as_directory() as folder:
        shutil.copytree(folder, out, dirs_exist_ok=True)
    log_line(f"model directory: {out}")


def reason_of(error: Exception) -> str:
    """The last line of the first failed worker's error, without traces."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    return str(next(iter(failures.values()))).strip().splitlines()[-1]


def check_resources(workers: int, gpus: bool) -> None:
    """Check that the cluster can start all workers; Ray would wait for missing resources without end.

    Raises:
        ConfigError: There are fewer CPUs, or GPUs, than workers.
    """
    kind = "GPU" if gpus else "CPU"
    available = int(ray.cluster_resources().get(kind, 0))
    if available < workers:
        raise ConfigError(f"--devices {workers} needs as many {kind}s; the cluster has {available}")


def with_absolute_paths(options: ExperimentOptions) -> ExperimentOptions:
    """Options with absolute paths, for workers, whose working directory differs."""
    values = msgspec.structs.asdict(options)
    paths = {name: value.absolute() for name, value in values.items() if isinstance(value, Path)}
    texts = {name: absolute_if_path(values[name]) for name in NAMES_OR_PATHS if values[name] is not None}
    corpora = tuple(absolute_corpus(name) for name in options.corpus)
    roots = tuple(absolute_root(root, corpora) for root in options.root)
    return msgspec.structs.replace(options, **paths, **texts, corpus=corpora, root=roots)


def absolute_root(root: str, corpora: Sequence[str]) -> str:
    """A root with an absolute path; the name before it stays."""
    head, equals, path = root.partition("=")
    named = equals and head in map(short_name, corpora)
    return f"{head}={Path(path).absolute()}" if named else str(Path(root).absolute())


def make_trainer(job: TrainingJob, out: Path, workers: int, gpus: bool) -> TorchTrainer:
    """Ray's trainer, which finds an interrupted run by its name and folder."""
    return TorchTrainer(
        run_worker,
        train_loop_config={"job": job},
        scaling_config=ray_train.ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=ray_train.RunConfig(
            name=STORE,
            storage_path=str(out),
            failure_config=ray_train.FailureConfig(max_failures=RESTARTS),
            checkpoint_config=ray_train.CheckpointConfig(num_to_keep=1),
        ),
    )


def run_worker(config: dict[str, TrainingJob]) -> None:
    """Train in a worker, in a temporary folder whose content Ray stores after each epoch.

    Args:
        config: The training, under the key ``job``.
    """
    context = ray_train.get_context()
    os.environ |= torchrun_environment(
        context.get_node_rank(), context.get_local_world_size(), context.get_world_size()
    )
    folder = Path(tempfile.mkdtemp(prefix="emofocus-"))
    try:
        checkpoint = ray_train.get_checkpoint()
        if checkpoint and context.get_world_rank() == 0:
            checkpoint.to_directory(folder)

        def report(figures: dict[str, Any]) -> None:
            first = context.get_world_rank() == 0
            ray_train.report(figures, checkpoint=ray_train.Checkpoint.from_directory(folder) if first else None)

        train_in_folder(config["job"], folder, lambda epoch: report(asdict(epoch)))
        report({})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def torchrun_environment(node_rank: int, local_size: int, world_size: int) -> dict[str, str]:
    """Environment variables of torchrun that Ray does not set; with them Fabric starts no processes itself."""
    return {
        "TORCHELASTIC_RUN_ID": STORE,
        "GROUP_RANK": str(node_rank),
        "LOCAL_WORLD_SIZE": str(local_size),
        "WORLD_SIZE": str(world_size),
    }


def train_in_folder(job: TrainingJob, folder: Path, after_epoch: Callable[[Epoch], None]) -> None:
    """Train from a corpus or from shards, into a folder."""
    if job.shards:
        from emofocus.training.shards.training import train as train_from_shards

        train_from_shards(job.shards, job.buffer, job.options, job.device, folder, job.fold, after_epoch)
        return
    from emofocus.training.runs import train as train_from_corpus

    train_from_corpus(job.options, job.device, folder, job.fold, after_epoch)
