"""DRN-MHSA: a dilated residual network over low-level descriptors, self-attention, LSTM.

Li et al., *Dilated Residual Network with Multi-head Self-attention for Speech Emotion Recognition*, ICASSP 2019.

=========================== ================= =======================================================
stage                       shape             note
=========================== ================= =======================================================
features                    (B, 34, m)        12 MFCCs, 5 of prosody, their slopes; normalized
convolution 10              (B, 32, m)
convolution 2               (B, 64, m / 2)    stride 2
2 residual blocks, 5        (B, 64, m / 2)    see `ResidualBlock`
convolution 2               (B, 128, m / 4)   stride 2
2 residual blocks, 5        (B, 128, m / 4)
convolution 1               (B, 256, m / 4)
2 residual blocks, 3        (B, 256, m / 4)   dilation 2
convolution 1               (B, 512, m / 4)
2 residual blocks, 3        (B, 512, m / 4)   dilation 4
self-attention              (B, m / 4, 512)   8 heads
2 LSTMs                     (B, 512)          the last step
three linear layers         (B, C)            512 → 200 → 200 → C, ReLU between them
=========================== ================= =======================================================

Published, in code of others that follows the paper: all but the attention, which stands on the DRN's output as the
abstract says. Our stand-ins: 8 heads; our descriptors for openSMILE's (level, sign changes, voicing, harmonicity,
pitch), with slopes over nine frames; Hann windows; AdamW at 1e-4, batch 32, dropout 0.3, 30 epochs at most, until
five in a row are no better, of which nothing is known.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from emofocus.config import FeatureSettings, ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.errors import ModelError
from emofocus.models.attention import MultiHeadSelfAttention
from emofocus.models.base import NetworkOutput, SpeechNetwork
from emofocus.models.masking import FrameNorm, at_end, shorter, silence

WIDTH, HEADS, DENSE = 512, 8, 200

RECIPE = Recipe(
    description="DRN-MHSA's own, as far as it is known; see emofocus.models.baselines.drn_mhsa.",
    epochs=30,
    patience=5,
    batch_size=32,
    learning_rate=1e-4,
    features=FeatureSettings(window=640, coefficients=13, mels=26, deltas=1, also=("prosody",)),
    segment=SegmentSettings(frames=1000, hop=1000),
    network=NetworkSettings(dropout=0.3),
)


class DRN(SpeechNetwork):
    """A dilated residual network over low-level descriptors, self-attention, LSTM.

    Args:
        config: Labels, dropout, and features, which must be MFCCs with one order of deltas.
        size: Features of a frame, F; the zeroth coefficient and its slope are not used.

    Raises:
        ModelError: Other features.
    """

    frames_a_step = 4

    def __init__(self, config: ModelConfig, size: int) -> None:
        super().__init__(size)
        if config.features.name != "mfcc" or config.features.deltas != 1 or config.features.pitch_bins:
            raise ModelError("drn-mhsa needs features: mfcc with deltas: 1, as in --recipe paper")
        dropout = config.network.dropout
        self.order = size // 2
        self.entry = nn.Conv1d(size - 2, 32, kernel_size=10)
        self.stages = nn.ModuleList(
            [
                Stage(32, 64, stride=2, kernel=5, dilation=1),
                Stage(64, 128, stride=2, kernel=5, dilation=1),
                Stage(128, 256, stride=1, kernel=3, dilation=2),
                Stage(256, WIDTH, stride=1, kernel=3, dilation=4),
            ]
        )
        self.attention = MultiHeadSelfAttention(WIDTH, HEADS)
        self.lstm = nn.LSTM(WIDTH, WIDTH, num_layers=2, batch_first=True, dropout=dropout)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(WIDTH, DENSE),
            nn.ReLU(),
            nn.Linear(DENSE, DENSE),
            nn.ReLU(),
            nn.Linear(DENSE, len(config.labels)),
        )

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """Normalised features (B, m, F) → logits (B, C)."""
        batch, m, _ = encoded.shape
        used = encoded.reshape(batch, m, 2, self.order)[..., 1:].flatten(2)  # (B, m, F - 2)
        x = silence(used.transpose(1, 2), lengths)
        x = silence(self.entry(F.pad(x, (4, 5))), lengths)  # (B, 32, m)
        for stage in self.stages:
            x, lengths = stage(x, lengths)
        attended, maps = self.attention(x.transpose(1, 2), lengths, need_maps)  # (B, m / 4, WIDTH)
        states = self.lstm(attended)[0]
        return NetworkOutput(self.classifier(at_end(states, lengths)), maps)


class Stage(nn.Module):
    """A convolution that widens, as wide as its stride, and two residual blocks."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.stride = stride
        self.widen = nn.Conv1d(channels_in, channels_out, kernel_size=stride, stride=stride)
        self.blocks = nn.ModuleList(ResidualBlock(channels_out, kernel, dilation) for _ in range(2))

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, C, m), lengths (B,) → (B, C', ⌈m / stride⌉), lengths."""
        x, lengths = F.pad(x, (0, -x.shape[2] % self.stride)), shorter(lengths, self.stride)
        x = silence(self.widen(x), lengths)
        for block in self.blocks:
            x = block(x, lengths)
        return x, lengths


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm, added to their input."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=padding, dilation=dilation, bias=False) for _ in range(2)
        )
        self.norms = nn.ModuleList(FrameNorm(channels) for _ in range(2))

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, C, m), lengths (B,) → (B, C, m)."""
        inner = F.relu(self.norms[0](self.convolutions[0](x), lengths))
        return F.relu(x + self.norms[1](self.convolutions[1](inner), lengths))
