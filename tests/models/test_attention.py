"""The mechanisms equal the paper's equations, in every form that they are computed in."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emofocus.models import AttentionMaps, FocusBias, HeadCalibration, MultiHeadSelfAttention
from emofocus.models import attention as module
from helpers.properties import cases

VARIANTS = [(False, False), (True, False), (False, True), (True, True)]


def make(focus: bool = True, calibration: bool = True, width: int = 32, heads: int = 4) -> MultiHeadSelfAttention:
    torch.manual_seed(0)
    return MultiHeadSelfAttention(
        width,
        heads,
        focus=FocusBias(width, heads) if focus else None,
        calibration=HeadCalibration(heads) if calibration else None,
    ).eval()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def transcription(x: np.ndarray, attention: MultiHeadSelfAttention) -> dict[str, np.ndarray]:
    """Equations 1-13 for one sequence x (m, d), head by head and query by query, as the paper prints them."""
    p = {name: value.detach().double().numpy() for name, value in attention.state_dict().items()}
    m, width, heads = len(x), x.shape[1], attention.heads
    d_h = width // heads
    Q = x @ p["query.weight"].T + p["query.bias"]
    K = x @ p["key.weight"].T + p["key.bias"]
    V = x @ p["value.weight"].T + p["value.bias"]
    weights, centres, scopes = np.zeros((heads, m, m)), np.zeros((heads, m)), np.zeros((heads, m))
    for h in range(heads):
        part = slice(h * d_h, (h + 1) * d_h)
        for i in range(m):
            row = Q[i, part] @ K[:, part].T / np.sqrt(d_h)  # 1
            if attention.focus is not None:
                G = sum(Q) / m
                hidden = np.tanh(p["focus.query_projection.weight"] @ Q[i] + p["focus.mean_projection.weight"] @ G)
                mu = p["focus.centre_vector"][h] @ hidden[part]  # 3
                sigma = p["focus.scope_vector"][h] @ hidden[part]  # 4
                centres[h, i], scopes[h, i] = m * sigmoid(mu), max(0.5, m * sigmoid(sigma))  # 5, 6
                for j in range(1, m + 1):
                    row[j - 1] += -((j - centres[h, i]) ** 2) / (scopes[h, i] ** 2 / 2)  # 7, 8
            weights[h, i] = np.exp(row - row.max()) / np.exp(row - row.max()).sum()  # 9
    gates = np.ones(heads)
    if attention.calibration is not None:
        g = weights.max(axis=(1, 2))  # 10
        gates = sigmoid(p["calibration.gate.weight"] @ g + p["calibration.gate.bias"])  # 11
    calibrated = gates[:, None, None] * weights  # 12
    context = np.concatenate([calibrated[h] @ V[:, h * d_h : (h + 1) * d_h] for h in range(heads)], axis=1)  # 13
    output = context @ p["output.weight"].T + p["output.bias"]  # 2
    return {"output": output, "weights": weights, "centre": centres, "scope": scopes, "gates": gates}


@pytest.mark.parametrize(("focus", "calibration"), VARIANTS)
@pytest.mark.parametrize("m", [1, 2, 50])
def test_equations_1_to_13(focus: bool, calibration: bool, m: int) -> None:
    attention, x = make(focus, calibration), torch.randn(2, m, 32)
    output, maps = attention(x, need_maps=True)
    for row in range(2):
        expected = transcription(x[row].double().numpy(), attention)
        np.testing.assert_allclose(output[row].detach(), expected["output"], atol=1e-5)
        np.testing.assert_allclose(maps.weights[row].detach(), expected["weights"], atol=1e-5)
        if focus:
            np.testing.assert_allclose(maps.centre[row].detach(), expected["centre"], atol=1e-5 * m)
            np.testing.assert_allclose(maps.scope[row].detach(), expected["scope"], atol=1e-5 * m)
        if calibration:
            np.testing.assert_allclose(maps.gates[row].detach(), expected["gates"], atol=1e-5)


def fix_scope(attention: MultiHeadSelfAttention, m: int, scope: float) -> None:
    """Make every scope the given number of frames (or the floor, or m), whatever is heard."""
    focus = attention.focus
    assert focus is not None

    class Fixed(torch.nn.Module):
        def forward(self, queries, lengths=None):
            centre, free = FocusBias.forward(focus, queries, lengths)
            return module.Focus(centre, torch.full_like(free, scope))

    attention.focus = Fixed()


@pytest.mark.parametrize("m", [1, 50, 400, 3_000])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("width_of_scope", ["half a frame", "tenth", "m"])
def test_the_form_with_linear_memory_equals_the_explicit_one(m: int, padded: bool, width_of_scope: str) -> None:
    attention = make()
    fix_scope(
        attention,
        m,
        {"half a frame": 0.5, "tenth": max(0.5, m / 10), "m": max(0.5, float(m))}[width_of_scope],
    )
    x = torch.randn(2, m, 32)
    lengths = torch.tensor([m, max(1, m * 2 // 3)]) if padded else None
    with torch.inference_mode():
        explicit, maps = attention(x, lengths, need_maps=True)
        blocks, none = attention(x, lengths)
    assert none is None
    assert isinstance(maps, AttentionMaps)
    ends = [m, m] if lengths is None else lengths.tolist()
    for row, end in enumerate(ends):
        torch.testing.assert_close(blocks[row, :end], explicit[row, :end], atol=1e-5, rtol=0)


def test_the_form_with_linear_memory_gives_the_same_gradients() -> None:
    attention, x = make(), torch.randn(2, 200, 32)
    lengths = torch.tensor([200, 150])
    gradients = []
    for need_maps in (True, False):
        attention.zero_grad()
        output, _ = attention(x, lengths, need_maps)
        output[0].square().sum().backward()
        gradients.append([p.grad.clone() for p in attention.parameters()])
    for explicit, blocks in zip(*gradients, strict=True):
        torch.testing.assert_close(blocks, explicit, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_memory_of_a_long_recording_grows_with_m_and_not_with_its_square() -> None:
    # 12,000 frames: each of the explicit maps would need 4 · 12,000² · 4 bytes = 2.3 GB.
    attention = make()
    with torch.inference_mode():
        output, _ = attention(torch.randn(1, 12_000, 32))
    assert bool(torch.isfinite(output).all())


@given(m=st.integers(1, 40), extra=st.integers(0, 40), seed=st.integers(0, 10_000))
@cases(30)
def test_padding_changes_nothing_and_gets_nothing(m: int, extra: int, seed: int) -> None:
    attention = make()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, m, 32, generator=generator)
    rubbish = 100 * torch.randn(1, extra, 32, generator=generator)
    with torch.inference_mode():
        alone, expected = attention(x, need_maps=True)
        padded, maps = attention(torch.cat((x, rubbish), 1), torch.tensor([m]), need_maps=True)
    torch.testing.assert_close(padded[:, :m], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(maps.weights[:, :, :m, :m], expected.weights, atol=1e-5, rtol=0)
    torch.testing.assert_close(maps.gates, expected.gates, atol=1e-5, rtol=0)
    assert float(maps.weights[:, :, :m, m:].abs().sum()) == 0.0


@torch.inference_mode()
def test_rows_sum_to_one_before_calibration_and_to_the_gate_after_it() -> None:
    _, maps = make()(torch.randn(3, 50, 32), need_maps=True)
    torch.testing.assert_close(maps.weights.sum(-1), torch.ones(3, 4, 50))
    calibrated = maps.weights * maps.gates[:, :, None, None]
    torch.testing.assert_close(calibrated.sum(-1), maps.gates[:, :, None].expand(3, 4, 50))
    assert bool(((maps.gates > 0) & (maps.gates < 1)).all())


def test_focus_pulls_attention_to_its_centre() -> None:
    bias = module.gaussian_bias(torch.tensor([[[30.0]]]), torch.tensor([[[2.0]]]), 50)
    weights = bias.softmax(-1)[0, 0, 0]
    assert int(weights.argmax()) + 1 == 30
    assert float(weights[27:32].sum()) > 0.95


@torch.inference_mode()
def test_centres_and_scopes_stay_within_the_true_length() -> None:
    focus, lengths = FocusBias(32, 4), torch.tensor([50, 7])
    centre, scope = focus(100 * torch.randn(2, 50, 32), lengths)
    for row, length in enumerate(lengths.tolist()):
        assert float(centre[row].min()) >= 0
        assert float(centre[row].max()) <= length
        assert float(scope[row].min()) >= 0.5
        assert float(scope[row].max()) <= length


@torch.inference_mode()
def test_the_bias_is_computed_in_fp32_under_bf16() -> None:
    attention = make()
    with torch.autocast("cpu", torch.bfloat16):
        _, maps = attention(torch.randn(1, 50, 32), need_maps=True)
    assert maps.weights.dtype == maps.centre.dtype == torch.float32


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="width 30 cannot be split into 4 heads"):
        MultiHeadSelfAttention(30, 4)
