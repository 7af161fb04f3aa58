"""Forward and backward pass of a training step as CUDA graphs, so that a GPU does not wait for launches.

A step of these networks is a thousand kernels of microseconds, most of them the LSTM's, which are launched one by one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from emofocus.models import SpeechNetwork

LogitsOf = Callable[[Tensor, Tensor | None], Tensor]
"""Features (B, m, F) and true lengths (B,), or None when all are m → logits (B, C)."""


def logits_of(model: nn.Module, network: SpeechNetwork, fabric: Fabric) -> LogitsOf:
    """Function from a batch to its logits, which uses CUDA graphs where that is possible.

    Graphs serve one process on a GPU and batches without padding. They are captured at the first such batch, which
    alters neither the network nor any random number. All other batches go through the network directly.

    Args:
        model: The network as the fabric has wrapped it.
        network: The network itself.
        fabric: Device, precision and number of processes.
    """

    def plain(features: Tensor, lengths: Tensor | None) -> Tensor:
        logits: Tensor = model(features, lengths).logits
        return logits

    if fabric.device.type != "cuda" or fabric.world_size > 1:
        return plain
    captured: dict[torch.Size, Callable[[Tensor], Tensor]] = {}

    def graphed(features: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None and not captured:
            captured[features.shape] = _capture(network, fabric, features)
        pass_through = captured.get(features.shape) if lengths is None else None
        return plain(features, lengths) if pass_through is None else pass_through(features)

    return graphed


def _capture(network: SpeechNetwork, fabric: Fabric, features: Tensor) -> Callable[[Tensor], Tensor]:
    """Graphs of batches of this shape."""
    with torch.random.fork_rng(devices=[fabric.device]), _as_before(network):
        graphed = torch.cuda.make_graphed_callables(_Logits(network, fabric), (features.clone(),))
    return cast(Callable[[Tensor], Tensor], graphed)


@contextmanager
def _as_before(network: nn.Module) -> Iterator[None]:
    """Undo what passes do to running statistics: some warm up before they are captured."""
    kept = [buffer.clone() for buffer in network.buffers()]
    yield
    with torch.no_grad():
        for buffer, before in zip(network.buffers(), kept, strict=True):
            buffer.copy_(before)


class _Logits(nn.Module):
    """A network in the fabric's precision; graphs return nothing but tensors."""

    def __init__(self, network: SpeechNetwork, fabric: Fabric) -> None:
        super().__init__()
        self.network, self._fabric = network, fabric

    def forward(self, features: Tensor) -> Tensor:
        """(B, m, F) → logits (B, C), in fp32."""
        with self._fabric.autocast():
            logits: Tensor = self.network(features).logits
        return logits.float()
