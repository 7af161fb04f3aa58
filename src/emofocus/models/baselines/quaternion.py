"""Layers over quaternions: channels come in four groups, the real and the three imaginary parts.

Gaudet and Maida, *Deep Quaternion Networks*, IJCNN 2018; Parcollet et al., *Quaternion Recurrent Neural Networks*, ICLR
2019, for the initialization. A layer's weights are a quarter of a real layer's: the same four multiply all four parts.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class QuaternionWeight(nn.Module):
    """Four component weights, and the real weight that their Hamilton product with an input amounts to.

    Args:
        channels_in: Real channels, a multiple of four.
        channels_out: Real channels, a multiple of four.
        kernel: Shape of the kernel; empty for a linear layer.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: tuple[int, ...] = ()) -> None:
        super().__init__()
        shape = (channels_out // 4, channels_in // 4, *kernel)
        self.components = nn.Parameter(quaternion_noise(shape))  # (4, C' / 4, C / 4, …)
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self) -> Tensor:
        """(C', C, …): what multiplies (r, i, j, k) from the left."""
        r, i, j, k = self.components
        rows = ((r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r))
        return torch.cat([torch.cat(row, dim=1) for row in rows], dim=0)


class QuaternionConv2d(nn.Module):
    """Convolution whose products are Hamilton's."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.weight = QuaternionWeight(channels_in, channels_out, (kernel, kernel))
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H, W)."""
        return F.conv2d(x, self.weight(), self.weight.bias, padding=self.padding)


class QuaternionLinear(nn.Module):
    """Linear layer whose products are Hamilton's."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = QuaternionWeight(channels_in, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) → (…, C')."""
        return F.linear(x, self.weight(), self.weight.bias)


def quaternion_noise(shape: tuple[int, ...]) -> Tensor:
    """Quaternions of random direction, (4, *shape): modulus from a chi distribution with four degrees of freedom.

    Its scale is Glorot's, 1 / √(2 · (fan in + fan out)); the angle to the real axis is uniform, and so is the imaginary
    axis.
    """
    fans = (shape[0] + shape[1]) * math.prod(shape[2:])
    modulus = torch.randn(4, *shape).norm(dim=0) / math.sqrt(2 * fans)
    axis = F.normalize(torch.randn(3, *shape), dim=0)
    angle = math.pi * (2 * torch.rand(shape) - 1)
    return torch.cat([(modulus * angle.cos())[None], modulus * angle.sin() * axis])
