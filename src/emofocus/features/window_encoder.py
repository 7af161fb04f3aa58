"""The shape that all pretrained encoders have here: what frames share, then one window at a time."""

from torch import Tensor, nn


class WindowEncoder(nn.Module):
    """Base of the pretrained encoders.

    `sounds` looks at each frame alone, so that overlapping windows share it. The rest sees a whole window.

    Attributes:
        longest: Positions that can be encoded at a time.
    """

    longest: int

    def sounds(self, waveform: Tensor, hop: int) -> Tensor:
        """Waveform (B, T) → what is taken of each frame of a hop, by itself (B, 1 + T // hop, D)."""
        raise NotImplementedError

    def shown(self, sounds: Tensor) -> Tensor:
        """Sounds (B, n, D) → what figures show of each frame (B, n, …)."""
        raise NotImplementedError

    def keep_positions(self, positions: int) -> None:
        """Drop what only longer windows need."""

    def forward(self, sounds: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """Sounds of a window (B, m, D), true positions (B,) or None → outputs of layers, each (B, e, d)."""
        raise NotImplementedError
