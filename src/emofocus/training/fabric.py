"""Device, precision and processes of a training run."""

import ctypes
import sys
from datetime import timedelta
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from lightning_fabric.strategies.ddp import DDPStrategy

from emofocus.errors import ConfigError, MissingExtraError, one_of
from emofocus.training.distributed import processes
from emofocus.training.options import FabricOptions

ACCELERATORS = ("cpu", "gpu", "auto")

LOGS = ("tensorboard",)

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

PATIENCE = timedelta(days=1)
"""Longest time that processes wait for each other, such as for a corpus' features; a dead one is noticed at once."""


def make_fabric(options: FabricOptions, out: Path = Path()) -> Fabric:
    """Start the processes of a run, unless torchrun did, with its device, precision and log.

    Args:
        options: Device, precision, processes and log.
        out: Folder of the log.

    Raises:
        ConfigError: An unknown or absent accelerator, an unknown precision or log, or not as many devices.
        MissingExtraError: The log is tensorboard, which is not installed.
    """
    _refuse_unknown(options)
    local, machines = processes(options.devices)
    if options.accelerator != "cpu" and 0 < torch.cuda.device_count() < local:
        raise ConfigError(
            f"--devices {local}, but torch finds {torch.cuda.device_count()} (valid with cpu: any number)"
        )
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    loggers = [_tensorboard(out)] if options.log else []
    strategy = DDPStrategy(timeout=PATIENCE) if local * machines > 1 else "auto"
    fabric = Fabric(
        accelerator=options.accelerator,
        strategy=strategy,
        devices=local,
        num_nodes=machines,
        precision=options.precision,  # type: ignore[arg-type]
        loggers=loggers,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _refuse_unknown(options: FabricOptions) -> None:
    if options.accelerator not in ACCELERATORS:
        raise ConfigError(f"unknown accelerator {options.accelerator!r} ({one_of(ACCELERATORS)})")
    if options.precision not in PRECISIONS:
        raise ConfigError(f"unknown precision {options.precision!r} ({one_of(PRECISIONS)})")
    if options.accelerator == "gpu" and not torch.cuda.is_available():
        raise ConfigError("accelerator 'gpu' is not there: torch finds no CUDA device; use cpu or auto")
    if options.log not in (None, *LOGS):
        raise ConfigError(f"unknown log {options.log!r} ({one_of(LOGS)})")


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
