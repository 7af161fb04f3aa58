"""Base class of all networks, which map segments of frames to logits."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from emofocus.config import ModelConfig
from emofocus.models.attention import AttentionMaps, FocusBias, HeadCalibration, MultiHeadSelfAttention


class NetworkOutput(NamedTuple):
    """Logits (B, C), and attention maps if they were requested and the network has attention."""

    logits: Tensor
    maps: AttentionMaps | None


class SpeechNetwork(nn.Module):
    """Base of all networks.

    A network sees segments of m frames with F features, (B, m, F), and their true lengths. It may split its work
    in two: `encode_frames` looks at each frame alone, so that overlapping segments can share it; the rest is
    `classify`. Both together are `forward`.

    Attributes:
        frames_a_step: Frames of features that one position of the attention maps stands for.
        voice: Statistics by which the network is adapted to a voice; None for networks that are not.
        trained: Whether weights and statistics of features are those of a trained model, from which training goes on.
        frozen: Modules that stay in evaluation mode while the network trains: statistics of batches, and dropout.
    """

    frames_a_step = 1

    def __init__(self, size: int) -> None:
        super().__init__()
        self.normalize = Standardize(size)
        self.voice: VoiceStatistics | None = None
        self.trained = False
        self.frozen: tuple[nn.Module, ...] = ()

    def train(self, mode: bool = True) -> "SpeechNetwork":
        """Set training or evaluation mode; `frozen` modules are always in evaluation mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    @property
    def last_layer(self) -> str | None:
        """Name of the linear layer that makes the logits: the last one in `classifier`; None where there is none."""
        names = [name for name, item in self.named_modules() if isinstance(item, nn.Linear)]
        own = [name for name in names if name.split(".")[0] == "classifier"]
        return own[-1] if own else None

    def load_pretrained(self) -> None:
        """Load the pretrained weights from which training starts; most networks have none.

        Raises:
            ModelError: The weights cannot be found.
        """

    def encode_frames(self, features: Tensor) -> Tensor:
        """(B, n, F) → (B, n, D), each frame by itself."""
        encoded: Tensor = self.normalize(features)
        return encoded

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Segments (B, m, D) and their true lengths (B,), None when all are m, → logits (B, C)."""
        raise NotImplementedError

    def forward(self, features: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Segments (B, m, F) and their true lengths (B,) → logits (B, C)."""
        return self.classify(self.encode_frames(features), lengths, need_maps)


NetworkFactory = Callable[[ModelConfig, int], SpeechNetwork]
"""Config and number of features of a frame → network with fresh weights."""


def with_attention(
    network: Callable[[ModelConfig, int, MultiHeadSelfAttention], SpeechNetwork],
    width: int,
    heads: int,
    focus: type[FocusBias] | None = None,
    calibration: type[HeadCalibration] | None = None,
) -> NetworkFactory:
    """Compose a network with self-attention that has the given mechanisms.

    Args:
        network: Class of the network; its third argument is the attention.
        width: Channels of the attention.
        heads: Heads of the attention.
        focus: Focus mechanism, if the variant has it.
        calibration: Calibration of heads, if the variant has it.
    """

    def make(config: ModelConfig, size: int) -> SpeechNetwork:
        attention = MultiHeadSelfAttention(
            width,
            heads,
            focus=focus(width, heads) if focus else None,
            calibration=calibration(heads) if calibration else None,
        )
        return network(config, size, attention)

    return make


def append_embedding(features: Tensor, embedding: Tensor | None) -> Tensor:
    """Append the speaker's embedding to each frame: (B, n, F), (B, D) or None → (B, n, F + D) or (B, n, F)."""
    if embedding is None:
        return features
    return torch.cat([features, embedding[:, None].expand(-1, features.shape[1], -1)], dim=2)


class VoiceShift(NamedTuple):
    """A voice's difference from the training part, per feature, in units of standardized features.

    Attributes:
        shift: Mean of the voice's frames (F,); zeros for no adaptation.
        scale: Ratio of the voice's deviations to the training part's (F,); ones for no adaptation.
    """

    shift: Tensor
    scale: Tensor


class VoiceStatistics(nn.Module):
    """Statistics of segments by which a network is adapted to a voice, without labels.

    The statistics of a segment are the mean and the log deviation of its frames, once these are standardized; those of
    an average segment of the training part are zero. `Standardize.adapted` takes what `adaptation` makes of them.
    """

    log_deviation: Tensor

    def __init__(self, size: int, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.register_buffer("log_deviation", torch.zeros(size))

    def forward(self, standardized: Tensor) -> Tensor:
        """Whole segments (…, m, F) → means and log deviations (…, 2, F)."""
        mean = standardized.mean(dim=-2)
        deviation = (standardized - mean.unsqueeze(-2)).square().mean(dim=-2).sqrt()
        return torch.stack([mean, deviation.clamp(min=SMALLEST_DEVIATION).log() - self.log_deviation], dim=-2)

    def of_utterance(self, segments: Iterable[Tensor]) -> Tensor:
        """Mean statistics (2, F) of an utterance's segments, each (m, F) and standardized."""
        return torch.stack([self(segment) for segment in segments]).mean(dim=0)

    def shift(self, statistics: Tensor, seconds: Tensor) -> VoiceShift:
        """The voice in some speech; little speech differs little.

        Args:
            statistics: Mean statistics of the speech (…, 2, F).
            seconds: Length of the speech (…, 1), 0 for none.
        """
        weight = seconds / (seconds + self.seconds)
        return VoiceShift(weight * statistics[..., 0, :], torch.exp(weight * statistics[..., 1, :]))


SMALLEST_DEVIATION = 1e-2
"""Least deviation of a standardized feature within a segment; a segment of a single frame has none."""


class Standardize(nn.Module):
    """Bring every feature to zero mean and unit variance, with the statistics of the training part."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def set(self, mean: Tensor, deviation: Tensor) -> None:
        """Take over statistics of shape (F,)."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp(min=1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """(…, F) → (…, F)."""
        return (x - self.mean) / self.deviation

    def adapted(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """Features of a voice (…, F) as if its statistics were those of the training part (…, F).

        Standardizing the result is standardizing the features, minus the shift, divided by the scale.

        Args:
            x: Features before standardizing.
            shift: Means of the voice (…, F), see `VoiceShift`.
            scale: Ratios of its deviations (…, F).
        """
        return x / scale + (self.mean - (self.mean + self.deviation * shift) / scale)
