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

ACCELERATORS = ("cpu", "gpu", "auto")


LOGS = ("tensorboard",)


PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


PATIENCE = timedelta(days=1)
"""How long processes wait for each other, as for a corpus' features; a dead one is noticed at once."""


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
