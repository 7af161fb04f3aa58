"""Sinc filters pass their band and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emofocus.models.baselines.sinc import SincConv
from helpers.properties import cases

RATE = 16_000


def filter_of(lower: float, upper: float) -> SincConv:
    layer = SincConv(1, 251, RATE)
    with torch.no_grad():
        layer.lower.fill_(lower - 50.0)
        layer.width.fill_(upper - lower - 50.0)
    return layer


@pytest.mark.parametrize(("lower", "upper"), [(300, 900), (1_000, 1_500), (2_000, 6_000)])
def test_the_response_is_an_ideal_band_passs_but_for_edges(lower: float, upper: float) -> None:
    response = filter_of(lower, upper).filters()[0].detach().numpy()
    hertz = np.fft.rfftfreq(8_192, 1 / RATE)
    # A band-pass of gain 1 has 2·(f2 − f1) / rate at its centre.
    gain = np.abs(np.fft.rfft(response, 8_192))
    edge = 3.3 * RATE / 251  # of a Hamming window
    inside = (hertz > lower + edge) & (hertz < upper - edge)
    outside = (hertz < lower - edge) | (hertz > upper + edge)
    np.testing.assert_allclose(gain[inside], 1.0, atol=0.01)
    assert gain[outside].max() < 0.01
    at_edges = np.interp([lower, upper], hertz, gain)
    np.testing.assert_allclose(at_edges, 0.5, atol=0.05)


def test_a_tone_passes_its_band_alone() -> None:
    layer = filter_of(900, 1_100 + 300)
    time = torch.arange(RATE) / RATE
    passed, stopped = (layer(torch.sin(2 * torch.pi * hertz * time)[None, None]).std() for hertz in (1_150, 3_000))
    assert passed > 100 * stopped


@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5))
@cases(50)
def test_edges_stay_in_order_and_below_half_of_the_sampling_rate(lower: float, width: float) -> None:
    layer = SincConv(3, 251, RATE)
    with torch.no_grad():
        layer.lower.fill_(lower)
        layer.width.fill_(width)
    below, above = layer.cutoffs()
    assert (below >= 50).all()
    assert (above >= below + 50 - 1e-2).all()
    assert (above <= RATE / 2).all()
    assert torch.isfinite(layer.filters()).all()


def test_fresh_bands_are_mel_spaced_and_cover_the_spectrum() -> None:
    below, above = (edge[:, 0].detach() for edge in SincConv(80, 251, RATE).cutoffs())
    assert below[0] == pytest.approx(80, abs=1)
    assert above[-1] == pytest.approx(RATE / 2, rel=0.01)
    assert (below.diff() > 0).all()
    assert (above - below).diff().min() > -1e-2  # wider and wider


def test_gradients_reach_both_edges() -> None:
    layer = SincConv(8, 251, RATE)
    layer(torch.randn(2, 1, 1_000)).square().sum().backward()
    assert (layer.lower.grad != 0).all()
    assert (layer.width.grad != 0).all()
