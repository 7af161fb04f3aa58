"""Processes that train together: their ranks, work of the first process for all, and statistics over all of them.

Fabric (`emofocus train --devices 2`), torchrun or Ray Train starts the processes; this module uses Fabric alone.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from emofocus.data.datasets import ALONE, Rank
from emofocus.errors import ConfigError, EmofocusError

Result = TypeVar("Result")


def started_by_torchrun() -> bool:
    """True if torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def processes(devices: int | None) -> tuple[int, int]:
    """Processes on each machine, and machines.

    Args:
        devices: Number that the user asks for; None for one, or for as many as torchrun started.

    Raises:
        ConfigError: torchrun started another number.
    """
    if not started_by_torchrun():
        return devices or 1, 1
    local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    if devices not in (None, local):
        raise ConfigError(f"--devices {devices}, but torchrun started {local} processes here; leave --devices out")
    return local, world // local


def rank_of(fabric: Fabric | None) -> Rank:
    """Rank of this process."""
    return ALONE if fabric is None else Rank(fabric.global_rank, fabric.world_size)


def by_first(fabric: Fabric, function: Callable[[], Result]) -> Result:
    """Call a function in the first process, and return its result in all of them.

    Machines need no common disk for it.

    Raises:
        EmofocusError: The function raised it; it is raised in all processes.
    """
    result, error = None, None
    if fabric.is_global_zero:
        try:
            result = function()
        except EmofocusError as caught:
            if fabric.world_size == 1:
                raise
            error = caught
    result, error = fabric.broadcast((result, error))
    if error:
        raise error
    return cast(Result, result)


@contextmanager
def first_of_machine(fabric: Fabric) -> Iterator[None]:
    """Let the first process of each machine go through the block before its others, which then find the cache full.

    They follow when it failed, too, and fail by themselves rather than wait for it.
    """
    if fabric.local_rank:
        fabric.barrier()
    try:
        yield
    finally:
        if not fabric.local_rank:
            fabric.barrier()


def sum_of_all(fabric: Fabric | None, values: Tensor | None) -> Tensor:
    """Sum over all processes, on the CPU. The first process has values; others may have None."""
    if fabric is None or fabric.world_size == 1:
        assert values is not None
        return values
    shape = fabric.broadcast(None if values is None else values.shape)
    values = torch.zeros(shape or ()) if values is None else values
    return cast(Tensor, fabric.all_reduce(values.to(fabric.device), reduce_op="sum")).cpu()


def own_draws(fabric: Fabric, seed: int) -> AbstractContextManager[None]:
    """Draw random numbers that differ between processes, for dropout; one process keeps its generator."""
    if fabric.world_size == 1:
        return nullcontext()
    return _drawing_from(fabric, seed)


@contextmanager
def _drawing_from(fabric: Fabric, seed: int) -> Iterator[None]:
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield


class GlobalStatistics(_BatchNorm):
    """Batch norm with the statistics of all processes' segments, as if one process had them all.

    torch's own SyncBatchNorm knows no CPU, and takes the place of `FrameNorm`, which leaves out padding. The sums are
    differentiable, once for the mean and once for the variance around it.

    Shape: (B, C, …) → (B, C, …).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, C, …) → (B, C, …)."""
        if not self.training:
            return super().forward(x)
        over, shape = [0, *range(2, x.ndim)], [1, -1] + [1] * (x.ndim - 2)
        exact = x.float()
        sums = _sum(torch.cat([exact.sum(over), exact.new_tensor([x.numel() / x.shape[1]])]))  # (C + 1,)
        count, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
        centred = exact - mean.view(shape)
        variance = _sum((centred**2).sum(over)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        normed = centred * torch.rsqrt(variance + self.eps).view(shape)
        scaled: Tensor = normed * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, the variance without bias, as batch norm does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


class _Sum(torch.autograd.Function):
    """Sum over all processes; its gradient is the sum of theirs (torch's own is deprecated, without another one)."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        torch.distributed.all_reduce(total)
        return total


def _sum(values: Tensor) -> Tensor:
    return cast(Tensor, _Sum.apply(values))  # type: ignore[no-untyped-call]


def share_statistics(network: nn.Module, processes: int) -> None:
    """Let every batch norm of a network, `FrameNorm` too, use the statistics of all processes; weights stay."""
    if processes == 1:
        return
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            kind = type(module)  # its own forward, if it has one, calls ours instead of torch's
            module.__class__ = type(f"Global{kind.__name__}", (kind, GlobalStatistics), {})
