"""What networks over padded sequences share: nothing behind a sequence's end may count."""

import torch
from torch import Tensor, nn

from emofocus.models.attention import valid_frames


class FrameNorm(nn.BatchNorm1d):
    """Batch norm over the true frames of padded sequences; behind their ends there are zeros afterwards.

    Shape: (B, C, m), lengths (B,) → (B, C, m).
    """

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """See the class."""
        if lengths is None:
            return super().forward(x)
        if not self.training:  # each frame by itself, and a graph without loose ends
            return silence(super().forward(x), lengths)
        valid = valid_frames(lengths.to(x.device), x.shape[2])  # (B, m)
        frames = x.transpose(1, 2)  # (B, m, C)
        normed = torch.zeros_like(frames)
        normed[valid] = super().forward(frames[valid]).to(normed.dtype)
        return normed.transpose(1, 2)


def silence(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Zero what lies behind each sequence's end: (B, C, m), (B,) → (B, C, m)."""
    if lengths is None:
        return x
    return x.masked_fill(~valid_frames(lengths.to(x.device), x.shape[2])[:, None], 0.0)


def blank(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The same for frames in rows: (B, m, F), (B,) → (B, m, F)."""
    if lengths is None:
        return x
    return x.masked_fill(~valid_frames(lengths.to(x.device), x.shape[1])[:, :, None], 0.0)


def fixed(x: Tensor, lengths: Tensor | None, frames: int) -> Tensor:
    """Blank what is behind the end, then pad with zeros or cut: (B, m, F), (B,) → (B, frames, F)."""
    x = blank(x, lengths)
    return nn.functional.pad(x, (0, 0, 0, frames - x.shape[1]))


def at_end(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The last true frame: (B, m, D), (B,) → (B, D)."""
    if lengths is None:
        return x[:, -1]
    last = (lengths.to(x.device) - 1)[:, None, None].expand(-1, 1, x.shape[2])
    return x.gather(1, last).squeeze(1)


def halved(lengths: Tensor | None) -> Tensor | None:
    """⌈lengths / 2⌉: frames that a stride of two leaves."""
    return None if lengths is None else torch.div(lengths + 1, 2, rounding_mode="floor")
