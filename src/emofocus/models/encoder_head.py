"""A small head on the frames of a pretrained encoder: projection → self-attention → statistics → classifier.

Ours. What the encoder hears in each frame is there already, so the head holds what the paper adds: attention over
frames, with focus and calibration. Statistics pooling (Snyder et al., *X-vectors*, ICASSP 2018) sees the frames both
before and behind attention, which leaves attention what a mean cannot say.

================== ============== ==============================================
stage              shape          note
================== ============== ==============================================
features           (B, m, L · d)  outputs of L of the encoder's layers, normalised
layer weights      (B, m, d)      learned, softmax; none for a single layer
projection         (B, m, 96)     GELU, dropout
self-attention     (B, m, 96)     4 heads; residual, layer norm
means, deviations  (B, 384)       before and behind attention, over true frames
classifier         (B, C)         dropout before it
================== ============== ==============================================

The four variants are those of `mhsa`: `encoder-bmhsa`, `encoder-fa`, `encoder-ca`, `encoder-faca`.
"""

import torch
from torch import Tensor, nn

from emofocus.config import ModelConfig
from emofocus.models.attention import FocusBias, HeadCalibration, MultiHeadSelfAttention
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.masking import mean_and_deviation

WIDTH, HEADS = 96, 4


def encoder_bmhsa(config: ModelConfig, size: int) -> "EncoderHead":
    """Plain multi-head self-attention."""
    return EncoderHead(config, size, MultiHeadSelfAttention(WIDTH, HEADS))


def encoder_fa(config: ModelConfig, size: int) -> "EncoderHead":
    """With focus."""
    return EncoderHead(config, size, MultiHeadSelfAttention(WIDTH, HEADS, focus=FocusBias(WIDTH, HEADS)))


def encoder_ca(config: ModelConfig, size: int) -> "EncoderHead":
    """With calibration."""
    return EncoderHead(config, size, MultiHeadSelfAttention(WIDTH, HEADS, calibration=HeadCalibration(HEADS)))


def encoder_faca(config: ModelConfig, size: int) -> "EncoderHead":
    """With focus and calibration."""
    attention = MultiHeadSelfAttention(WIDTH, HEADS, focus=FocusBias(WIDTH, HEADS), calibration=HeadCalibration(HEADS))
    return EncoderHead(config, size, attention)


class EncoderHead(SpeechNetwork):
    """See the module.

    Args:
        config: Labels, dropout, and how many layers a frame holds.
        size: Features of a frame, L · d.
        attention: What stands between projection and pooling.
    """

    def __init__(self, config: ModelConfig, size: int, attention: MultiHeadSelfAttention) -> None:
        super().__init__(size)
        dropout, taps = config.network.dropout, config.features.taps
        layers = len(taps) if isinstance(taps, tuple) else 1
        self.layers = LayerWeights(layers) if layers > 1 else None
        self.projection = nn.Sequential(nn.Linear(size // layers, WIDTH), nn.GELU(), nn.Dropout(dropout))
        self.attention = attention
        self.norm = nn.LayerNorm(WIDTH)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * WIDTH, len(config.labels)))

    def encode_frames(self, features: Tensor) -> Tensor:
        """(B, n, L · d) → (B, n, WIDTH), each frame by itself."""
        x = self.normalize(features)
        if self.layers is not None:
            x = self.layers(x)
        projected: Tensor = self.projection(x)
        return projected

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Projected frames (B, m, WIDTH) → logits (B, C)."""
        attended, maps = self.attention(encoded, lengths, need_maps)
        x = self.norm(encoded + attended)
        pooled = [*mean_and_deviation(encoded, lengths), *mean_and_deviation(x, lengths)]
        return NetworkOutput(self.classifier(torch.cat(pooled, dim=1)), maps)


class LayerWeights(nn.Module):
    """A weighted mean of several layers' outputs, by learned weights that sum to one.

    Shape: (B, n, L · d) → (B, n, d).
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        parts = x.reshape(*x.shape[:2], len(self.weights), -1)  # (B, n, L, d)
        return (parts * self.weights.softmax(dim=0)[:, None]).sum(dim=2)
