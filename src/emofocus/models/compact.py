"""A small network of the paper's family for whole phrases: 2-D CNN → BiLSTM → self-attention → classifier.

Ours. It keeps the paper's order and both of its mechanisms, and differs where that pays on voices never heard
(`docs/experiments.md`): kernels run along time too, and time is pooled, so that a step of 128 ms sees its surroundings
and attention spans two seconds at little cost; BiLSTM and attention are residual; the classifier sees each channel's
deviation over time beside its mean (statistics pooling: Snyder et al., *X-vectors*, ICASSP 2018).

=================== ======================= ==========================================
stage               shape                   note
=================== ======================= ==========================================
features            (B, m, F)               normalized
convolution 5 × 5   (B, 32, F / 2, m / 2)   stride 2; batch norm, ReLU
convolution 3 × 3   (B, 64, F / 4, m / 4)   batch norm, max-pool 2 × 2, ReLU
convolution 3 × 3   (B, 96, F / 8, m / 4)   batch norm, max-pool 2 × 1, ReLU
projection          (B, m / 4, 128)         dropout before it; see below
BiLSTM, 64 each way (B, m / 4, 128)         residual
self-attention      (B, m / 4, 128)         4 heads; residual, layer norm
mean and deviation  (B, 256)                over true frames
classifier          (B, C)                  dropout before it
=================== ======================= ==========================================

A pitchgram, if the features have one, passes convolutions of its own, of 16, 32 and 32 channels, and joins at the
projection. The four variants are those of `mhsa`: `compact-bmhsa`, `compact-fa`, `compact-ca`, `compact-faca`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import ModelConfig
from emofocus.models.attention import FocusBias, HeadCalibration, MultiHeadSelfAttention, valid_frames
from emofocus.models.base import NetworkOutput, SpeechNetwork, with_attention
from emofocus.models.masking import mean_and_deviation, shorter
from emofocus.models.mhsa import BiLSTM

WIDTH, HEADS = 128, 4
SPECTRUM_CHANNELS, PITCH_CHANNELS = (32, 64, 96), (16, 32, 32)


class Compact(SpeechNetwork):
    """A small network of the paper's family for whole phrases: 2-D CNN → BiLSTM → self-attention → classifier.

    Args:
        config: Labels and dropout.
        size: Features of a frame, F.
        attention: Attention between BiLSTM and pooling.
    """

    frames_a_step = 4

    def __init__(self, config: ModelConfig, size: int, attention: MultiHeadSelfAttention) -> None:
        super().__init__(size)
        dropout = config.network.dropout
        self.pitch_bins = config.features.pitch_bins
        self.spectrum = Tower(size - self.pitch_bins, SPECTRUM_CHANNELS)
        self.pitch = Tower(self.pitch_bins, PITCH_CHANNELS) if self.pitch_bins else None
        width = self.spectrum.width + (self.pitch.width if self.pitch else 0)
        self.projection = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, WIDTH))
        self.lstm = BiLSTM(WIDTH, WIDTH // 2, layers=1, dropout=0.0)
        self.attention = attention
        self.norm = nn.LayerNorm(WIDTH)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * WIDTH, len(config.labels)))

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised features (B, m, F) → logits (B, C)."""
        plain = encoded.shape[2] - self.pitch_bins
        true = None if lengths is None else valid_frames(lengths.to(encoded.device), encoded.shape[1]).to(encoded.dtype)
        x = self.spectrum(encoded[:, :, :plain], true)
        if self.pitch is not None:
            x = torch.cat([x, self.pitch(encoded[:, :, plain:], true)], dim=2)
        x, lengths = self.projection(x), shorter(lengths, self.frames_a_step)  # (B, m / 4, WIDTH)
        x = x + self.lstm(x, lengths)
        attended, maps = self.attention(x, lengths, need_maps)
        x = self.norm(x + attended)
        pooled = torch.cat(mean_and_deviation(x, lengths), dim=1)  # (B, 2 · WIDTH)
        return NetworkOutput(self.classifier(pooled), maps)


class Tower(nn.Module):
    """Three convolution blocks over frames and features."""

    def __init__(self, size: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        first, second, third = channels
        self.blocks = nn.ModuleList(
            [
                TimeFrequencyBlock(1, first, kernel=5, stride=2),
                TimeFrequencyBlock(first, second, pool=(2, 2)),
                TimeFrequencyBlock(second, third, pool=(2, 1)),
            ]
        )
        self.width = third * -(-size // 8)

    def forward(self, x: Tensor, true: Tensor | None = None) -> Tensor:
        """(B, m, F), which frames are true (B, m) → (B, ⌈m / 4⌉, width); width = C · ⌈F / 8⌉."""
        x = x.transpose(1, 2).unsqueeze(1).contiguous(memory_format=torch.channels_last)  # (B, 1, F, m)
        x = kept(x, true)
        *inner, last = self.blocks
        for block in inner:
            x, true = block(x, true)
        x = last(x)[0]  # what stands behind a segment's end is read by nobody from here on
        return x.permute(0, 3, 1, 2).flatten(2)


class TimeFrequencyBlock(nn.Module):
    """Convolution, batch norm, max-pool and ReLU; frames behind a segment's end stay zero.

    ReLU behind the pool gives the same numbers as before it, on fewer of them.

    With p and q the strides times pools along features and frames, each q-th mark says whether ⌈length / q⌉ frames
    reach that far.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, pool: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        self.stride, self.pool = stride, pool

    def forward(self, x: Tensor, true: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(B, C, F, m), true frames (B, m) as ones → (B, C', ⌈F / p⌉, ⌈m / q⌉), (B, ⌈m / q⌉)."""
        true = every(true, self.stride)
        x = kept(self.norm(self.convolution(x)), true)
        if self.pool != (1, 1):
            x = F.max_pool2d(x, self.pool, ceil_mode=True)
        return F.relu(x), every(true, self.pool[1])


def kept(x: Tensor, true: Tensor | None) -> Tensor:
    """Zero the frames (B, C, F, m) that are not true (B, m), unless all are."""
    return x if true is None else x * true[:, None, None]


def every(true: Tensor | None, step: int) -> Tensor | None:
    """Mask of true frames after a stride of ``step``: (B, m) → (B, ⌈m / step⌉)."""
    return true if true is None or step == 1 else true[:, ::step]


compact_bmhsa = with_attention(Compact, WIDTH, HEADS)
compact_fa = with_attention(Compact, WIDTH, HEADS, focus=FocusBias)
compact_ca = with_attention(Compact, WIDTH, HEADS, calibration=HeadCalibration)
compact_faca = with_attention(Compact, WIDTH, HEADS, focus=FocusBias, calibration=HeadCalibration)
