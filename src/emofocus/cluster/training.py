"""Training on a Ray cluster: Ray Train starts the workers and restarts them, each runs `emofocus train` as it is."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from emofocus.cluster.connection import absolute_if_path, connected, import_ray
from emofocus.errors import ConfigError, EmofocusError
from emofocus.training.loop import Epoch
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.utils.progress import log_line

ray = import_ray()
from ray import train as ray_train  # noqa: E402  (once it is known to be there)
from ray.exceptions import RayError  # noqa: E402
from ray.train import TrainingFailedError  # noqa: E402
from ray.train.torch import TorchTrainer  # noqa: E402

RESTARTS = 3
"""How often workers that died, or whose machine did, are started again, from the last epoch."""

STORE = "ray"
"""Folder below the results in which Ray keeps the checkpoints of a run; all machines must see it."""

NAMES_OR_PATHS = ("corpus", "recipe", "embeddings")
"""Options that may name files, as those do that are paths."""


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker trains, and on which device.

    Attributes:
        options: The experiment.
        device: Device of each worker.
        fold: Number of the fold.
        shards: Path or URI of shards to train from in place of a corpus.
        buffer: Size of the buffer of features, with shards.
    """

    options: ExperimentOptions
    device: FabricOptions
    fold: int | None = None
    shards: str | None = None
    buffer: str = "256MB"


def train(
    address: str,
    options: ExperimentOptions,
    device: FabricOptions,
    out: Path,
    fold: int | None = None,
    shards: str | None = None,
    buffer: str = "256MB",
) -> None:
    """`emofocus train --ray`: as `emofocus train`, by as many workers anywhere in the cluster as there are devices.

    After each epoch the checkpoint is stored below ``out``, from where workers that are started again, and the same
    command, go on.

    Raises:
        ConfigError: There is no cluster at the address, or it lacks the resources.
        EmofocusError: The training failed, and why.
    """
    workers, gpus = device.devices or 1, device.accelerator == "gpu"
    with connected(address, speaking=True):
        refuse_lack(workers, device.accelerator)
        worker = WorkerOptions(
            options=for_workers(options),
            device=msgspec.structs.replace(device, devices=None),
            fold=fold,
            shards=shards and absolute_if_path(shards),
            buffer=buffer,
        )
        try:
            result = trainer(worker, out.absolute(), workers, gpus).fit()
        except (TrainingFailedError, RayError) as error:
            raise EmofocusError(f"training on Ray failed, the same command goes on: {reason(error)}") from error
    if result.checkpoint is None:
        raise EmofocusError(f"{out}: Ray kept no checkpoint of this training")
    with result.checkpoint.as_directory() as folder:
        shutil.copytree(folder, out, dirs_exist_ok=True)
    log_line(f"model directory: {out}")


def reason(error: Exception) -> str:
    """What a worker says itself, without the traces of all of them."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    return str(next(iter(failures.values()))).strip().splitlines()[-1]


def refuse_lack(workers: int, accelerator: str) -> None:
    """Refuse what would wait for ever.

    Raises:
        ConfigError: Fewer CPUs, or GPUs, than workers.
    """
    kind = "GPU" if accelerator == "gpu" else "CPU"
    there = int(ray.cluster_resources().get(kind, 0))
    if there < workers:
        raise ConfigError(f"--devices {workers} needs as many {kind}s; the cluster has {there}")


def for_workers(options: ExperimentOptions) -> ExperimentOptions:
    """Options with absolute paths, for workers, whose working directory is another one."""
    values = msgspec.structs.asdict(options)
    paths = {name: value.absolute() for name, value in values.items() if isinstance(value, Path)}
    texts = {name: absolute_if_path(values[name]) for name in NAMES_OR_PATHS if values[name] is not None}
    return msgspec.structs.replace(options, **paths, **texts)


def trainer(worker: WorkerOptions, out: Path, workers: int, gpus: bool) -> TorchTrainer:
    """The run: its name and place are its identity, by which it is found again."""
    return TorchTrainer(
        work,
        train_loop_config={"worker": worker},
        scaling_config=ray_train.ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=ray_train.RunConfig(
            name=STORE,
            storage_path=str(out),
            failure_config=ray_train.FailureConfig(max_failures=RESTARTS),
            checkpoint_config=ray_train.CheckpointConfig(num_to_keep=1),
        ),
    )


def work(config: dict[str, WorkerOptions]) -> None:
    """Run `emofocus train` in a worker, into a folder of its own, whose content goes to Ray after each epoch."""
    context = ray_train.get_context()
    os.environ |= as_torchrun(context.get_node_rank(), context.get_local_world_size(), context.get_world_size())
    folder = Path(tempfile.mkdtemp(prefix="emofocus-"))
    try:
        checkpoint = ray_train.get_checkpoint()
        if checkpoint and context.get_world_rank() == 0:
            checkpoint.to_directory(folder)

        def report(figures: dict[str, Any]) -> None:
            mine = ray_train.Checkpoint.from_directory(folder) if context.get_world_rank() == 0 else None
            ray_train.report(figures, checkpoint=mine)

        train_here(config["worker"], folder, lambda figures: report(asdict(figures)))
        report({})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_torchrun(node: int, here: int, everywhere: int) -> dict[str, str]:
    """What torchrun would tell a process, beside what Ray does (RANK and the like): Fabric then starts none itself."""
    return {
        "TORCHELASTIC_RUN_ID": STORE,
        "GROUP_RANK": str(node),
        "LOCAL_WORLD_SIZE": str(here),
        "WORLD_SIZE": str(everywhere),
    }


def train_here(worker: WorkerOptions, folder: Path, after_epoch: Callable[[Epoch], None]) -> None:
    """Train from a corpus, or from shards."""
    if worker.shards:
        from emofocus.training.shards.training import train as train_from_shards

        train_from_shards(worker.shards, worker.buffer, worker.options, worker.device, folder, worker.fold, after_epoch)
        return
    from emofocus.training.runs import train as train_from_corpus

    train_from_corpus(worker.options, worker.device, folder, worker.fold, after_epoch)
