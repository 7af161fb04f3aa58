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

With adapters (`NetworkSettings.adapter_rank`) the encoder's layers behind the last tap are part of the network, and are
fine-tuned: low-rank matrices beside the projections of queries and values (Hu et al., *LoRA*, ICLR 2022) start as
nothing, and the layers' own weights stay as they were. Features are then single positions of 20 ms, of which eight are
averaged behind these layers.
"""

import msgspec
import torch
from torch import Tensor, nn

from emofocus.config import ModelConfig
from emofocus.errors import ModelError
from emofocus.features.encoders import described, taps_of, weights_of
from emofocus.features.whisper import STEP, WhisperEncoder
from emofocus.models.attention import FocusBias, HeadCalibration, MultiHeadSelfAttention, valid_frames
from emofocus.models.base import NetworkOutput, SpeechNetwork, VoiceStatistics
from emofocus.models.masking import blank, mean_and_deviation, shorter

WIDTH, HEADS = 96, 4

POSITIONS = 8
"""Positions of the encoder that a step of attention stands for, behind adapted layers (160 ms)."""


def encoder_bmhsa(config: ModelConfig, size: int) -> "EncoderHead":
    """Plain multi-head self-attention."""
    return head(config, size, MultiHeadSelfAttention(WIDTH, HEADS))


def encoder_fa(config: ModelConfig, size: int) -> "EncoderHead":
    """Self-attention with focus."""
    return head(config, size, MultiHeadSelfAttention(WIDTH, HEADS, focus=FocusBias(WIDTH, HEADS)))


def encoder_ca(config: ModelConfig, size: int) -> "EncoderHead":
    """Self-attention with calibration of heads."""
    return head(config, size, MultiHeadSelfAttention(WIDTH, HEADS, calibration=HeadCalibration(HEADS)))


def encoder_faca(config: ModelConfig, size: int) -> "EncoderHead":
    """Self-attention with focus and calibration of heads."""
    attention = MultiHeadSelfAttention(WIDTH, HEADS, focus=FocusBias(WIDTH, HEADS), calibration=HeadCalibration(HEADS))
    return head(config, size, attention)


def head(config: ModelConfig, size: int, attention: MultiHeadSelfAttention) -> "EncoderHead":
    """A head with adapted layers below it, if the config asks for them."""
    kind = EncoderHead if config.network.adapter_rank is msgspec.UNSET else AdaptedEncoder
    return kind(config, size, attention)


class EncoderHead(SpeechNetwork):
    """A small head on the frames of a pretrained encoder: projection → self-attention → statistics → classifier.

    Args:
        config: Labels, dropout, and the layers that a frame holds.
        size: Features of a frame, L · d.
        attention: Attention between projection and pooling.
    """

    def __init__(self, config: ModelConfig, size: int, attention: MultiHeadSelfAttention) -> None:
        super().__init__(size)
        if isinstance(config.network.voice_seconds, float):
            self.voice = VoiceStatistics(size, config.network.voice_seconds)
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


class AdaptedEncoder(EncoderHead):
    """The encoder's layers behind the last tap, with adapters, and the head on top.

    Raises:
        ModelError: The features are not single positions of one layer of a Whisper encoder that has further ones.
    """

    frames_a_step = POSITIONS

    def __init__(self, config: ModelConfig, size: int, attention: MultiHeadSelfAttention) -> None:
        super().__init__(config, size, attention)
        self.features = features = config.features
        if features.name != "whisper" or features.hop != STEP:
            found = f"{features.name} with {features.hop}"
            raise ModelError(f"adapters need features whisper with a hop of {STEP}, not {found}")
        (encoder, layers), taps, rank = described(features), taps_of(features), config.network.adapter_rank
        if len(taps) > 1 or taps[0] >= layers:
            raise ModelError(f"adapters need one tap below the {layers} layers, not {taps}")
        assert isinstance(rank, int)
        self.first = taps[0]
        whole = WhisperEncoder(encoder.config, layers).requires_grad_(False)
        self.adapted = nn.ModuleList(with_adapters(layer, rank) for layer in list(whole.layers)[self.first :])
        self.output_norm = nn.LayerNorm(size)

    def load_pretrained(self) -> None:
        """Load the encoder's layers behind the last tap, as in `SpeechNetwork.load_pretrained`."""
        tensors = weights_of(*described(self.features), self.features.name)
        for number, layer in enumerate(self.adapted, start=self.first):
            prefix = f"layers.{number}."
            own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            missing, unexpected = layer.load_state_dict({adapted_name(k): v for k, v in own.items()}, strict=False)
            assert not unexpected
            assert all(".adapter." in name for name in missing)

    def encode_frames(self, features: Tensor) -> Tensor:
        """(B, n, d) as they are: the next layers look at many positions."""
        return features

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Outputs of the last tap (B, m, d) → logits (B, C)."""
        mask, x = None, encoded
        if lengths is not None:
            mask = valid_frames(lengths.to(x.device), x.shape[1])[:, None, None]  # (B, 1, 1, m)
        for layer in self.adapted:
            x = layer(x, mask)
        x = mean_of_steps(blank(x, lengths), lengths, POSITIONS)  # (B, ⌈m / 8⌉, d)
        return super().classify(self.projection(self.output_norm(x)), shorter(lengths, POSITIONS), need_maps)


def with_adapters(layer: nn.Module, rank: int) -> nn.Module:
    """A layer of the encoder whose queries and values are adapted."""
    for name in ("query", "value"):
        setattr(layer, name, AdaptedLinear(getattr(layer, name), rank))
    return layer


def adapted_name(name: str) -> str:
    """Name of a layer's tensor, when queries and values are adapted."""
    part, _, rest = name.partition(".")
    return f"{part}.linear.{rest}" if part in ("query", "value") else name


class AdaptedLinear(nn.Module):
    """A frozen linear map and a learned one of low rank beside it, which starts as zero."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear
        down = nn.Linear(linear.in_features, rank, bias=False)
        up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(up.weight)
        self.adapter = nn.Sequential(down, up)

    def forward(self, x: Tensor) -> Tensor:
        """(…, d) → (…, d')."""
        adapted: Tensor = self.linear(x) + self.adapter(x)
        return adapted


def mean_of_steps(x: Tensor, lengths: Tensor | None, count: int) -> Tensor:
    """Means over each ``count`` true frames, zeros behind the end: (B, m, d), (B,) → (B, ⌈m / count⌉, d)."""
    batch, m, width = x.shape
    steps = -(-m // count)
    sums = nn.functional.pad(x, (0, 0, 0, steps * count - m)).reshape(batch, steps, count, width).sum(dim=2)
    ends = torch.full((batch,), m, device=x.device) if lengths is None else lengths.to(x.device)
    true = (ends[:, None] - count * torch.arange(steps, device=x.device)).clamp(1, count)  # (B, steps)
    return sums / true[:, :, None]


class LayerWeights(nn.Module):
    """A weighted mean of several layers' outputs, by learned weights that sum to one."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, L · d) → (B, n, d)."""
        parts = x.reshape(*x.shape[:2], len(self.weights), -1)  # (B, n, L, d)
        return (parts * self.weights.softmax(dim=0)[:, None]).sum(dim=2)
