"""Operations on padded sequences that leave out the padding behind each sequence's end."""

import torch
from torch import Tensor, nn

from emofocus.models.attention import masked_mean, valid_frames


class FrameNorm(nn.BatchNorm1d):
    """Batch norm over the true frames of padded sequences; behind their ends there are zeros afterwards."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, C, m), lengths (B,) → (B, C, m)."""
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
    """Set the padding behind each sequence's end to zero, frames last: (B, C, m) or (B, C, F, m), (B,) → the same."""
    if lengths is None:
        return x
    true = valid_frames(lengths.to(x.device), x.shape[-1]).to(x.dtype)  # (B, m)
    # A product, because runtimes of ONNX fill three times as slowly.
    return x * (true[:, None] if x.ndim == 3 else true[:, None, None])


def blank(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Set the padding behind each sequence's end to zero, frames in rows: (B, m, F), (B,) → (B, m, F)."""
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


def shorter(lengths: Tensor | None, factor: int) -> Tensor | None:
    """⌈lengths / factor⌉: frames that a stride leaves."""
    if lengths is None or factor == 1:
        return lengths
    return torch.div(lengths + factor - 1, factor, rounding_mode="floor")


def reversal(lengths: Tensor, frames: int) -> Tensor:
    """Index that turns each sequence around and leaves padding where it is: (B,) → (B, frames)."""
    places = torch.arange(frames, device=lengths.device)
    ends = lengths[:, None]
    return torch.where(places < ends, ends - 1 - places, places)


def mean_and_deviation(x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and deviation over true frames: (B, m, D) → (B, D) each; deviations of nothing still have a gradient."""
    mean = masked_mean(x, lengths)
    variance = masked_mean((x - mean[:, None]).square(), lengths)
    return mean, (variance + 1e-5).sqrt()


def largest(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Maximum over true frames: (B, m, D) → (B, D)."""
    if lengths is not None:
        x = x.masked_fill(~valid_frames(lengths.to(x.device), x.shape[1])[:, :, None], float("-inf"))
    return x.amax(dim=1)


def between_loud(x: Tensor, level: Tensor, lengths: Tensor | None, decibels: float) -> tuple[Tensor, Tensor]:
    """Cut off the silence at both ends: frames before the first, and behind the last, that is nearly the loudest.

    Args:
        x: Frames (B, m, F).
        level: Level of each frame (B, m), in dB.
        lengths: True frames (B,), None when all are m.
        decibels: Distance from the loudest frame beyond which a frame is silence.

    Returns:
        What is between, from the first frame on; behind its end the last frame is repeated (B, m, F). And its lengths.
    """
    m = x.shape[1]
    if lengths is not None:
        level = level.masked_fill(~valid_frames(lengths.to(x.device), m), float("-inf"))
    loud = (level >= level.amax(dim=1, keepdim=True) - decibels).int()
    first, last = loud.argmax(dim=1), m - 1 - loud.flip(1).argmax(dim=1)  # (B,)
    index = (first[:, None] + torch.arange(m, device=x.device)).clamp(max=last[:, None])  # (B, m)
    return x.gather(1, index[:, :, None].expand_as(x)), last - first + 1
