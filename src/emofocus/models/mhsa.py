"""The paper's network and its ablation: CNN → BiLSTM → self-attention → two fully connected layers (figure 1).

Kim, An and Kim, *Improving Speech Emotion Recognition Through Focus and Calibration Attention Mechanisms*,
Interspeech 2022. The four variants differ in the attention that they are composed with, and in nothing else:

========== ===== ===========
name       focus calibration
========== ===== ===========
bmhsa      no    no
mhsa-fa    yes   no
mhsa-ca    no    yes           (the ablation's fourth cell, which the paper leaves out)
mhsa-faca  yes   yes
========== ===== ===========
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from emofocus.config import ModelConfig
from emofocus.models.attention import FocusBias, HeadCalibration, MultiHeadSelfAttention, masked_mean
from emofocus.models.base import NetworkOutput, SpeechNetwork, with_attention
from emofocus.models.masking import at_end, blank, fixed, reversal

WIDTH, HEADS = 512, 8


class CLDNN(SpeechNetwork):
    """Convolutions over each frame's coefficients, BiLSTM over time, attention, pooling, classifier.

    Args:
        config: Labels, pooling and dropout.
        size: Features of a frame, F.
        attention: Attention between BiLSTM and pooling.
    """

    def __init__(self, config: ModelConfig, size: int, attention: MultiHeadSelfAttention) -> None:
        super().__init__(size)
        dropout = config.network.dropout
        self.convolutions = nn.Sequential(CoefficientBlock(1, 64), CoefficientBlock(64, 64))
        width = 64 * CoefficientBlock.shrink(CoefficientBlock.shrink(size))  # 40 → 19 → 8 coefficients: 512
        self.lstm = BiLSTM(width, WIDTH // 2, layers=2, dropout=dropout)
        self.attention = attention
        self.pooling, self.frames = config.network.pooling, config.segment.frames
        pooled = WIDTH * (self.frames if self.pooling == "flatten" else 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(pooled, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, len(config.labels)),
        )

    def encode_frames(self, features: Tensor) -> Tensor:
        """(B, n, F) → (B, n, 64 · F'), each frame by itself."""
        frames: Tensor = self.normalize(features)
        x: Tensor = frames.transpose(1, 2).unsqueeze(1)  # (B, 1, F, n): kernels run along F
        x = self.convolutions(x.contiguous(memory_format=torch.channels_last))  # (B, 64, F', n)
        return x.permute(0, 3, 1, 2).flatten(2)  # (B, n, 64 · F')

    def classify(self, encoded: Tensor, lengths: Tensor | None = None, need_maps: bool = False) -> NetworkOutput:
        """(B, m, 64 · F') → logits (B, C)."""
        hidden = self.lstm(encoded, lengths)  # (B, m, 512)
        attended, maps = self.attention(hidden, lengths, need_maps)  # (B, m, 512)
        pooled = self._pool(attended, lengths)  # (B, 512), or (B, m · 512)
        return NetworkOutput(self.classifier(pooled), maps)

    def _pool(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if self.pooling == "mean":
            return masked_mean(x, lengths)
        if self.pooling == "last":
            return at_end(x, lengths)
        return fixed(x, lengths, self.frames).flatten(1)


class CoefficientBlock(nn.Module):
    """Convolution, batch norm, max-pool and ReLU along the coefficients; time is untouched.

    ReLU follows the pool, which gives the same numbers as before it (both are monotone) at half of the cost.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, kernel_size=(3, 1))
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, n) → (B, C', (F - 2) // 2, n)."""
        return F.relu(F.max_pool2d(self.norm(self.convolution(x)), kernel_size=(2, 1)))

    @staticmethod
    def shrink(size: int) -> int:
        """Coefficients that are left of ``size``."""
        return (size - 2) // 2


class BiLSTM(nn.Module):
    """Bidirectional LSTM that reads each sequence to its true end and back; zeros follow.

    It trains on padded sequences, turned around within their ends: on a CPU, torch's backward pass through packed
    ones clears a gradient as large as the whole input at each time step (`benchmarks/padded_lstm.py`). Otherwise they
    are packed, which is one operator of ONNX.
    """

    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, m, width), lengths (B,) → (B, m, 2 · hidden)."""
        if lengths is None:
            full: Tensor = self.lstm(x)[0]
            return full
        if self.training or x.is_meta:  # lengths without values, of which only the cost is asked
            return self._padded(x, lengths.to(x.device))
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        output: Tensor = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]
        return output

    def _padded(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The same as the packed LSTM, dropout aside: (B, m, width), lengths (B,) → (B, m, 2 · hidden)."""
        turned = reversal(lengths, x.shape[1])[:, :, None]  # (B, m, 1)
        for layer in range(self.lstm.num_layers):
            if layer:
                x = F.dropout(x, self.lstm.dropout, self.training)
            ahead = self._one_way(x, f"l{layer}")
            back = self._one_way(x.gather(1, turned.expand_as(x)), f"l{layer}_reverse")
            x = torch.cat([ahead, back.gather(1, turned.expand_as(back))], dim=2)  # (B, m, 2 · hidden)
        return blank(x, lengths)

    def _one_way(self, x: Tensor, which: str) -> Tensor:
        """One layer in one direction: (B, m, width) → (B, m, hidden)."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = [getattr(self.lstm, f"{kind}_{which}") for kind in kinds]
        state = x.new_zeros(1, x.shape[0], self.lstm.hidden_size)
        # As nn.LSTM calls it: with biases, one layer, no dropout, training, one way, batch first.
        output: Tensor = torch.lstm(x, (state, state), weights, True, 1, 0.0, True, False, True)[0]
        return output


bmhsa = with_attention(CLDNN, WIDTH, HEADS)
mhsa_fa = with_attention(CLDNN, WIDTH, HEADS, focus=FocusBias)
mhsa_ca = with_attention(CLDNN, WIDTH, HEADS, calibration=HeadCalibration)
mhsa_faca = with_attention(CLDNN, WIDTH, HEADS, focus=FocusBias, calibration=HeadCalibration)
