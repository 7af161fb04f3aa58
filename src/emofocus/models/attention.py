"""Multi-head self-attention with focus and calibration (Kim, An and Kim, Interspeech 2022, equations 1-13).

Each mechanism is a module of its own and knows nothing of the others: `MultiHeadSelfAttention` receives a
`FocusBias`, a `HeadCalibration`, both or neither.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

QUERY_BLOCK = 64
"""Queries scored at a time when maps are not asked for: memory grows with m, not with m²."""


class AttentionMaps(NamedTuple):
    """Weights and parameters of one attention pass, for explanations; h heads over m frames.

    Attributes:
        weights: (B, h, m, m), query down, key across, *before* calibration: valid rows sum to one.
        centre: (B, h, m), where each query's focus lies, in frames from 1 to m (equation 5), or None.
        scope: (B, h, m), how wide it is, in frames (equation 6), or None.
        gates: (B, h), the weight of each head (equation 11), or None.
    """

    weights: Tensor
    centre: Tensor | None
    scope: Tensor | None
    gates: Tensor | None


class Focus(NamedTuple):
    """Centre and scope, each (B, h, m), in frames."""

    centre: Tensor
    scope: Tensor


class FocusBias(nn.Module):
    """Focus-attention: each query predicts a Gaussian over the keys (equations 3-7).

    The projections W_p and W_g are shared by centre and scope and by all heads, then split into heads; each head
    has its own vectors U_c and U_d. Equations 3 and 4 print W_q where W_g is meant.
    """

    def __init__(self, width: int = 512, heads: int = 8, floor: float = 0.5) -> None:
        super().__init__()
        self.heads, self.floor = heads, floor
        self.query_projection = nn.Linear(width, width, bias=False)  # W_p
        self.mean_projection = nn.Linear(width, width, bias=False)  # W_g
        self.centre_vector = nn.Parameter(torch.randn(heads, width // heads) * (width // heads) ** -0.5)  # U_c
        self.scope_vector = nn.Parameter(torch.randn(heads, width // heads) * (width // heads) ** -0.5)  # U_d

    def forward(self, queries: Tensor, lengths: Tensor | None = None) -> Focus:
        """Centre and scope of every query.

        Args:
            queries: Projected queries (B, m, d), not yet split into heads.
            lengths: True lengths (B,) in frames, or None when all are m.
        """
        mean = masked_mean(queries, lengths)  # G, (B, d)
        hidden = torch.tanh(self.query_projection(queries) + self.mean_projection(mean).unsqueeze(1))
        hidden = split_heads(hidden, self.heads).float()  # (B, h, m, d_h)
        length = _true_lengths(queries, lengths)[:, None, None]  # (B, 1, 1)
        centre = length * torch.sigmoid((hidden * self.centre_vector[:, None]).sum(dim=-1))
        scope = length * torch.sigmoid((hidden * self.scope_vector[:, None]).sum(dim=-1))
        return Focus(centre, scope.clamp(min=self.floor))


class HeadCalibration(nn.Module):
    """Calibration-attention: each head's largest weight decides how much every head counts (equations 10-11)."""

    def __init__(self, heads: int = 8) -> None:
        super().__init__()
        self.gate = nn.Linear(heads, heads)  # W_s, b_s

    def forward(self, peaks: Tensor) -> Tensor:
        """Peaks (B, h) → gates (B, h) in (0, 1)."""
        return torch.sigmoid(self.gate(peaks))


class MultiHeadSelfAttention(nn.Module):
    """Scaled dot-product self-attention in h heads (equations 1-2), with a focus (8) and a calibration (12-13).

    Args:
        width: d_m, of input and output.
        heads: h; each is d_h = width / heads wide.
        focus: Focus whose Gaussian bias is added to the scores, if there is one.
        calibration: Calibration that weights the heads, if there is one.
        dropout: Dropout of the attention weights.
        scale: Divisor of the scores; √d_h by default (equation 1's √d_m is for a single head).

    Shape: (B, m, width) → (B, m, width).
    """

    def __init__(
        self,
        width: int = 512,
        heads: int = 8,
        focus: FocusBias | None = None,
        calibration: HeadCalibration | None = None,
        dropout: float = 0.0,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} cannot be split into {heads} heads")
        self.heads = heads
        self.scale = scale or (width // heads) ** 0.5
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.focus = focus
        self.calibration = calibration
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, need_maps: bool = False
    ) -> tuple[Tensor, AttentionMaps | None]:
        """Attend.

        Args:
            x: Frames (B, m, width).
            lengths: True lengths (B,) in frames, or None when all are m. Frames beyond them get no attention.
            need_maps: Return the maps, which needs O(m²) memory. Without them queries are scored in blocks, which
                needs O(m) and gives the same output.
        """
        projected = self.query(x)
        queries = split_heads(projected, self.heads)  # (B, h, m, d_h)
        keys, values = split_heads(self.key(x), self.heads), split_heads(self.value(x), self.heads)
        focus = None if self.focus is None else self.focus(projected, lengths)
        mask = None if lengths is None else valid_frames(lengths, x.shape[1])

        block = x.shape[1] if need_maps else QUERY_BLOCK
        parts = [
            self._attend(queries, keys, values, focus, mask, slice(start, start + block))
            for start in range(0, x.shape[1], block)
        ]
        context = parts[0].context if len(parts) == 1 else torch.cat([part.context for part in parts], dim=2)
        gates = None
        if self.calibration is not None:
            peaks = parts[0].peaks if len(parts) == 1 else torch.stack([p.peaks for p in parts]).amax(dim=0)
            gates = self.calibration(peaks)  # (B, h)
            context = context * gates[:, :, None, None].to(context.dtype)  # s · (H V) = (s · H) V
        output = self.output(context.transpose(1, 2).flatten(2))  # (B, h, m, d_h) → (B, m, width)
        if not need_maps:
            return output, None
        centre, scope = (None, None) if focus is None else focus
        return output, AttentionMaps(parts[0].weights, centre, scope, gates)

    def _attend(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        focus: Focus | None,
        mask: Tensor | None,
        block: slice,
    ) -> "_Block":
        """One block of queries against all keys, recomputed in the backward pass when there are several blocks."""
        queries = queries[:, :, block]
        centre, scope = (None, None) if focus is None else (focus.centre[:, :, block], focus.scope[:, :, block])
        query_mask = None if mask is None else mask[:, block]
        arguments = (queries, keys, values, centre, scope, mask, query_mask)
        whole = queries.shape[2] == keys.shape[2]
        if whole or not torch.is_grad_enabled():
            return self._block(*arguments)
        return _Block(*checkpoint(self._block, *arguments, use_reentrant=False))

    def _block(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        centre: Tensor | None,
        scope: Tensor | None,
        key_mask: Tensor | None,
        query_mask: Tensor | None,
    ) -> "_Block":
        scores = (queries @ keys.transpose(-2, -1)).float() / self.scale  # (B, h, q, m)
        if centre is not None and scope is not None:
            scores = scores + gaussian_bias(centre, scope, keys.shape[2])
        if key_mask is not None:
            scores = scores.masked_fill(~key_mask[:, None, None, :], float("-inf"))
        weights = scores.softmax(dim=-1)
        peaks = weights  # global max pooling (equation 10), before dropout and without padded queries
        if query_mask is not None:
            peaks = peaks.masked_fill(~query_mask[:, None, :, None], 0.0)
        context = self.dropout(weights).to(values.dtype) @ values  # (B, h, q, d_h)
        return _Block(context, peaks.amax(dim=(-2, -1)), weights)


class _Block(NamedTuple):
    context: Tensor  # (B, h, q, d_h)
    peaks: Tensor  # (B, h)
    weights: Tensor  # (B, h, q, m)


def gaussian_bias(centre: Tensor, scope: Tensor, m: int) -> Tensor:
    """Equation 7 with P_j = j, j = 1 … m, in fp32: (B, h, q) → (B, h, q, m)."""
    positions = torch.arange(1, m + 1, device=centre.device, dtype=torch.float32)
    # The quotient is squared, not its parts: narrow scopes far from their centre would overflow nothing but lose
    # digits otherwise.
    return -2.0 * ((positions - centre.float().unsqueeze(-1)) / scope.float().unsqueeze(-1)).square()


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, m, h · d_h) → (B, h, m, d_h)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def valid_frames(lengths: Tensor, m: int) -> Tensor:
    """True where a frame is not padding: (B,) → (B, m)."""
    return torch.arange(m, device=lengths.device)[None, :] < lengths[:, None]


def masked_mean(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean over true frames: (B, m, d) → (B, d)."""
    if lengths is None:
        return x.mean(dim=1)
    kept = x.masked_fill(~valid_frames(lengths, x.shape[1])[:, :, None], 0.0)
    return kept.sum(dim=1) / lengths[:, None].to(x.dtype)


def _true_lengths(x: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return torch.full((1,), x.shape[1], device=x.device, dtype=torch.float32)
    return lengths.float()
