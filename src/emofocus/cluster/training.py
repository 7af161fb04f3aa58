"""Training on a Ray cluster: Ray Train starts the workers and restarts them, each runs `emofocus train` as it is."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emofocus.cluster.connection import absolute_if_path, connected, import_ray
from emofocus.errors import ConfigError, EmofocusError
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

NAMES_OR_PATHS = ("corpus", "recipe", "embeddings", "shards")
"""Options that may name files, as those do that are paths."""


def train(address: str, out: Path, devices: int | None, accelerator: str, **arguments: Any) -> None:
    """`emofocus train --ray`: as `emofocus train`, by that many ``devices`` workers anywhere in the cluster.

    After each epoch the checkpoint is stored below ``out``, from where workers that are started again, and the same
    command, go on.

    Raises:
        ConfigError: There is no cluster at the address, or it lacks the resources.
        EmofocusError: The training failed, and why.
    """
    workers = devices or 1
    with connected(address, speaking=True):
        refuse_lack(workers, accelerator)
        told = for_workers(arguments) | {"accelerator": accelerator}
        try:
            result = trainer(told, out.absolute(), workers, accelerator == "gpu").fit()
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


def for_workers(arguments: dict[str, Any]) -> dict[str, Any]:
    """Options as workers understand them, whose working directory is another one."""
    paths = {name: value.absolute() for name, value in arguments.items() if isinstance(value, Path)}
    texts = {name: absolute_if_path(arguments[name]) for name in NAMES_OR_PATHS if arguments.get(name) is not None}
    return arguments | paths | texts


def trainer(arguments: dict[str, Any], out: Path, workers: int, gpus: bool) -> TorchTrainer:
    """The run: its name and place are its identity, by which it is found again."""
    return TorchTrainer(
        work,
        train_loop_config=arguments,
        scaling_config=ray_train.ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=ray_train.RunConfig(
            name=STORE,
            storage_path=str(out),
            failure_config=ray_train.FailureConfig(max_failures=RESTARTS),
            checkpoint_config=ray_train.CheckpointConfig(num_to_keep=1),
        ),
    )


def work(arguments: dict[str, Any]) -> None:
    """What each worker does: `emofocus train` into a folder of its own, whose content goes to Ray after each epoch."""
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

        command(arguments)(out=folder, devices=None, after_epoch=lambda figures: report(asdict(figures)), **arguments)
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


def command(arguments: dict[str, Any]) -> Callable[..., None]:
    """From a corpus, or from shards."""
    if arguments.get("shards"):
        from emofocus.training.shards.training import train as from_shards

        return from_shards
    from emofocus.training.runs import train as from_corpus

    return from_corpus
