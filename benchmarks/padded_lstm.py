"""Training steps through a bidirectional LSTM over sequences of unequal length: turned around in padding, and packed.

Run: ``python benchmarks/padded_lstm.py``. Forward and backward pass on one thread; both give the same numbers
(`tests/models/test_models.py`). The shapes are those of `compact-faca`, of the paper's network and of `audio-bre`.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from training_step import seconds

from emofocus.models.mhsa import BiLSTM

SHAPES = ((32, 16, 128, 64, 1), (128, 50, 512, 256, 2), (128, 220, 120, 200, 1))
"""Batch, frames, width, units each way, layers."""


def packed(lstm: BiLSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """What one would write."""
    sequence = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    output: Tensor = pad_packed_sequence(lstm.lstm(sequence)[0], batch_first=True)[0]
    return output


def main() -> None:
    """Print a Markdown table."""
    torch.set_num_threads(1)
    print("| B, m, width, hidden, layers | packed, s | padded, s | ratio |\n|---|---:|---:|---:|")
    for batch, frames, width, hidden, layers in SHAPES:
        lstm = BiLSTM(width, hidden, layers, dropout=0.0).train()
        x = torch.randn(batch, frames, width, requires_grad=True)
        lengths = torch.randint(int(0.7 * frames), frames, (batch,))
        lengths[0] = frames
        rounds = [
            (
                seconds(lambda: packed(lstm, x, lengths).square().sum().backward()),  # noqa: B023
                seconds(lambda: lstm(x, lengths).square().sum().backward()),  # noqa: B023
            )
            for _ in range(3)
        ]
        before, after = (min(column) for column in zip(*rounds, strict=True))
        shape = ", ".join(map(str, (batch, frames, width, hidden, layers)))
        print(f"| {shape} | {before:.3f} | {after:.3f} | {before / after:.1f} |", flush=True)


if __name__ == "__main__":
    main()
