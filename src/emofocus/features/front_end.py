"""Front ends: waveform → features (B, n, F) as torch modules with librosa's numbers.

All operations are matrix products, slices and logarithms, so the modules are batched, differentiable and export to
ONNX with dynamic time. A waveform of T samples has n = 1 + T // hop frames, the first centred at sample 0; outside
the waveform there are zeros, so zero-padding a batch changes no frame that belongs to the shorter waveform.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from emofocus.config import ENCODERS, FeatureSettings
from emofocus.errors import ConfigError, one_of
from emofocus.features import encoders
from emofocus.features.descriptors import Prosody
from emofocus.features.encoders import EncoderFeatures
from emofocus.features.log_mel import MFCC, LogMel
from emofocus.features.stft import decibels, joined


class Deltas(nn.Module):
    """Features with their local slopes (and curvatures) appended: `librosa.feature.delta(mode="nearest")`."""

    def __init__(self, order: int = 1, width: int = 9) -> None:
        super().__init__()
        if order not in (1, 2):
            raise ConfigError(f"deltas of order {order} do not exist; {one_of((1, 2))}")
        offsets = np.arange(width) - width // 2
        for k in range(1, order + 1):
            slopes = np.linalg.pinv(np.vander(offsets, k + 1, increasing=True))[k] * math.factorial(k)
            self.register_buffer(f"slopes_{k}", torch.tensor(slopes, dtype=torch.float32), persistent=False)
        self.order, self.width = order, width

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Features (B, n, F), lengths (B,) in frames or None → (B, n, F · (1 + order))."""
        batch, n, size = features.shape
        ends = features.new_full((batch,), n).long() if lengths is None else lengths
        offsets = torch.arange(self.width, device=features.device) - self.width // 2
        index = torch.arange(n, device=features.device)[:, None] + offsets  # (n, width)
        index = torch.minimum(index.clamp(min=0)[None], (ends - 1)[:, None, None])  # (B, n, width)
        flat = index.reshape(batch, -1, 1).expand(-1, -1, size)
        near = features.gather(1, flat).reshape(batch, n, self.width, size)
        slopes = [torch.einsum("bnwf,w->bnf", near, self.get_buffer(f"slopes_{k}")) for k in self._orders()]
        return torch.cat([features, *slopes], dim=-1)

    def _orders(self) -> range:
        return range(1, self.order + 1)


class Samples(nn.Module):
    """Samples of the waveform as features: each frame holds one hop of samples.

    Shape: waveform (B, T) → (B, 1 + T // hop, hop). The last frame is filled with zeros.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        if settings.pitch_bins or settings.deltas or settings.also or settings.remove_offset is True:
            raise ConfigError("features 'waveform' take no pitch_bins, deltas, also or remove_offset")
        self.size = settings.hop

    def blocks(self, waveform: Tensor, lengths: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (B, n, F) and mean square (B, n), in one block."""
        batch = waveform.shape[0]
        padded = torch.cat([waveform, waveform.new_zeros(batch, self.size)], dim=1)
        whole = padded.shape[1] // self.size
        frames = padded[:, : whole * self.size].reshape(batch, whole, self.size)
        yield frames, frames.square().mean(dim=2)


class FrontEnd(nn.Module):
    """Input of every model: the features that its settings name, and the level of each frame.

    A frame holds, in this order: mels, coefficients or samples; the features that `also` names, prosody last; slopes
    and curvatures of all these; the pitchgram.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        self.settings = settings
        self.base = FEATURES[settings.name](settings)
        self.prosody = Prosody(settings) if "prosody" in settings.also else None
        self.deltas = Deltas(settings.deltas) if settings.deltas else None
        self.plain = self.base.size - settings.pitch_bins
        sloped = self.plain + (self.prosody.size if self.prosody else 0)
        self.size = sloped * (1 + settings.deltas) + settings.pitch_bins

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Waveform (B, T), lengths (B,) in samples or None → features (B, n, F), level (B, n) in dB full scale."""
        features, power = (joined(parts) for parts in zip(*self.base.blocks(waveform, lengths), strict=True))
        if self.prosody is None and self.deltas is None:
            return features, decibels(power)
        plain, pitch = features[..., : self.plain], features[..., self.plain :]
        if self.prosody is not None:
            plain = torch.cat([plain, self.prosody(waveform)], dim=-1)
        if self.deltas is not None:
            plain = self.deltas(plain, None if lengths is None else self.frames(lengths))
        return torch.cat([plain, pitch], dim=-1), decibels(power)

    def apart(self, waveform: Tensor, starts: Sequence[int], frames: int) -> tuple[Tensor, Tensor]:
        """Features of segments one behind the other (B, S · m, F), each heard by itself, and level (B, n).

        Args:
            waveform: Samples (B, T) of at least as many frames as the last segment ends with.
            starts: First frame of each segment.
            frames: Frames of a segment, m.
        """
        assert isinstance(self.base, EncoderFeatures), "only what a pretrained encoder hears depends on the segment"
        sounds, power = self.base.sounds(waveform)
        parts = [self.base.encode(sounds[:, start : start + frames]) for start in starts]
        return torch.cat(parts, dim=1), decibels(power)

    def frames(self, samples: Tensor) -> Tensor:
        """Number of frames of each number of samples (B,)."""
        return torch.div(samples, self.settings.hop, rounding_mode="floor") + 1


class Base(Protocol):
    """Base features, to which others are appended.

    Attributes:
        size: Features of a frame.
    """

    size: int

    def blocks(self, waveform: Tensor, lengths: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Waveform (B, T), lengths (B,) in samples or None → features (B, n, F) and mean square (B, n) of blocks."""


def pretrained(settings: FeatureSettings) -> Base:
    """Features of a pretrained encoder.

    Raises:
        ConfigError: The settings ask for other features in addition.
    """
    if settings.pitch_bins or settings.deltas or settings.also or settings.remove_offset is True:
        raise ConfigError(f"features {settings.name!r} take no pitch_bins, deltas, also or remove_offset")
    return EncoderFeatures(settings)


FEATURES: dict[str, Callable[[FeatureSettings], Base]] = {
    "mfcc": MFCC,
    "log-mel": LogMel,
    "waveform": Samples,
    **dict.fromkeys(ENCODERS, pretrained),
}


def frame_size(settings: FeatureSettings) -> int:
    """Number of features of a frame. The weights of a pretrained encoder are not loaded."""
    return encoders.frame_size(settings) if settings.pretrained else FrontEnd(settings).size
