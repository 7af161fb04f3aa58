"""Quaternion layers multiply as Hamilton did."""

import math

import numpy as np
import torch
from torch import nn

from emofocus.models.baselines.quaternion import QuaternionConv2d, QuaternionLinear, quaternion_noise

UNITS = ("1", "i", "j", "k")
PRODUCTS = {
    ("1", "1"): (1, "1"), ("1", "i"): (1, "i"), ("1", "j"): (1, "j"), ("1", "k"): (1, "k"),
    ("i", "1"): (1, "i"), ("i", "i"): (-1, "1"), ("i", "j"): (1, "k"), ("i", "k"): (-1, "j"),
    ("j", "1"): (1, "j"), ("j", "i"): (-1, "k"), ("j", "j"): (-1, "1"), ("j", "k"): (1, "i"),
    ("k", "1"): (1, "k"), ("k", "i"): (1, "j"), ("k", "j"): (-1, "i"), ("k", "k"): (-1, "1"),
}  # fmt: skip
"""i² = j² = k² = ijk = −1."""


def hamilton(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product of two quaternions (4,), term by term."""
    product = np.zeros(4)
    for first, x in zip(UNITS, a, strict=True):
        for second, y in zip(UNITS, b, strict=True):
            sign, unit = PRODUCTS[first, second]
            product[UNITS.index(unit)] += sign * x * y
    return product


def test_one_quaternion_times_another() -> None:
    layer = QuaternionLinear(4, 4)
    x = torch.randn(4)
    expected = hamilton(layer.weight.components.detach().numpy().reshape(4), x.numpy())
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-6)


def test_a_layer_sums_hamilton_products_over_its_channels() -> None:
    layer = QuaternionLinear(12, 8)
    nn.init.normal_(layer.weight.bias)
    weights = layer.weight.components.detach().numpy()  # (4, 2, 3)
    x = torch.randn(12)
    parts = x.numpy().reshape(4, 3)  # all real parts, then all i …
    expected = np.stack([sum(hamilton(weights[:, o, c], parts[:, c]) for c in range(3)) for o in range(2)], axis=1)
    np.testing.assert_allclose(layer(x).detach(), expected.reshape(8) + layer.weight.bias.detach().numpy(), atol=1e-5)


def test_a_convolution_is_its_linear_layer_at_every_place() -> None:
    convolution, linear = QuaternionConv2d(8, 12, 1), QuaternionLinear(8, 12)
    with torch.no_grad():
        linear.weight.components.copy_(convolution.weight.components[..., 0, 0])
    x = torch.randn(2, 8, 5, 7)
    torch.testing.assert_close(convolution(x), linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def test_a_convolution_sums_hamilton_products_over_its_kernel() -> None:
    convolution = QuaternionConv2d(8, 4, 3)
    weights = convolution.weight.components.detach().numpy()  # (4, 1, 2, 3, 3)
    x = torch.randn(1, 8, 3, 3)
    parts = x.numpy().reshape(4, 2, 3, 3)
    taps = [(c, row, column) for c in range(2) for row in range(3) for column in range(3)]
    expected = sum(hamilton(weights[:, 0, c, row, column], parts[:, c, row, column]) for c, row, column in taps)
    # The one place at which no tap lies outside.
    np.testing.assert_allclose(convolution(x)[0, :, 1, 1].detach(), expected, atol=1e-5)


def test_i_times_j_is_k_and_not_the_other_way_round() -> None:
    layer = QuaternionLinear(4, 4)
    one, i, j, k = torch.eye(4)
    with torch.no_grad():
        layer.weight.components.copy_(i.reshape(4, 1, 1))
        products = layer(torch.stack([one, i, j, k]))
    torch.testing.assert_close(products, torch.stack([i, -one, k, -j]))


def test_the_norm_of_a_product_is_the_product_of_norms() -> None:
    layer = QuaternionLinear(4, 4)
    x = torch.randn(100, 4)
    torch.testing.assert_close(layer(x).norm(dim=1), layer.weight.components.norm() * x.norm(dim=1))


def test_weights_are_a_quarter_of_a_real_layers() -> None:
    assert QuaternionConv2d(64, 128, 3).weight.components.numel() * 4 == nn.Conv2d(64, 128, 3).weight.numel()
    assert QuaternionLinear(64, 128).weight.components.numel() * 4 == nn.Linear(64, 128).weight.numel()


def test_fresh_weights_have_glorots_scale_and_no_preferred_direction() -> None:
    torch.manual_seed(0)
    noise = quaternion_noise((200, 100, 3, 3))
    scale = 1 / math.sqrt(2 * (200 + 100) * 9)
    modulus = noise.norm(dim=0) / scale
    assert abs(float(modulus.square().mean()) - 4) < 0.05  # of a chi with four degrees of freedom
    assert abs(float(modulus.mean()) - 3 * math.sqrt(math.pi / 8)) < 0.02
    assert float((noise.mean(dim=(1, 2, 3, 4)).abs() / scale).max()) < 0.02
    imaginary = noise[1:].square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(imaginary, imaginary.mean().expand(3), rtol=0.03, atol=0)
