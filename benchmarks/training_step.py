"""One training step of MHSA-FACA (128 segments of 50 frames): ours, and the paper read straight into PyTorch.

Run: ``python benchmarks/training_step.py``. Prints the median of each, of their ratio over rounds that take turns, and
the share of this machine's measured matrix-multiply peak that our step reaches. `tests/test_models.py` holds the two
networks equal.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from emofocus.config import ModelConfig
from emofocus.models import build
from emofocus.models.attention import FocusBias, HeadCalibration, MultiHeadSelfAttention

BATCH, FRAMES, COEFFICIENTS, CLASSES = 128, 50, 40, 8
ROUNDS = 5


class StraightforwardReading(nn.Module):
    """The paper's figure 1 and section 4.1, operator by operator, with the attention in its explicit form."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*self._block(1, 64), *self._block(64, 64))
        self.lstm = nn.LSTM(512, 256, 2, batch_first=True, bidirectional=True)
        self.attention = MultiHeadSelfAttention(512, 8, FocusBias(512, 8), HeadCalibration(8))
        self.classifier = nn.Sequential(nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, CLASSES))

    @staticmethod
    def _block(channels_in: int, channels_out: int) -> list[nn.Module]:
        convolution = nn.Conv2d(channels_in, channels_out, kernel_size=(3, 1))
        return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(), nn.MaxPool2d((2, 1))]

    def forward(self, features: Tensor) -> Tensor:
        """(B, m, F) → logits (B, C)."""
        x = self.convolutions(features.transpose(1, 2).unsqueeze(1))  # (B, 64, 8, m)
        hidden = self.lstm(x.permute(0, 3, 1, 2).flatten(2))[0]  # (B, m, 512)
        attended, _ = self.attention(hidden, need_maps=True)
        logits: Tensor = self.classifier(attended.mean(dim=1))
        return logits


def step_of(
    logits_of: Callable[[Tensor], Tensor],
    network: nn.Module,
    shape: tuple[int, int, int] = (BATCH, FRAMES, COEFFICIENTS),
) -> Callable[[], None]:
    """A step of forward, backward and Adam on fixed data."""
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-4)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(shape, generator=generator)
    labels = torch.randint(CLASSES, shape[:1], generator=generator)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits_of(features), labels).backward()
        optimizer.step()

    return step


def seconds(function: Callable[[], None]) -> float:
    """Time of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def peak() -> float:
    """FLOP/s of a large matrix product in float32, the best of ten."""
    a = torch.randn(2048, 2048)
    return 2 * 2048**3 / min(seconds(lambda: a @ a) for _ in range(10))


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    ours = build(ModelConfig.of("mhsa-faca", tuple(map(str, range(CLASSES)))))
    theirs = StraightforwardReading()
    flops = step_flops(theirs)
    steps = (step_of(lambda x: ours(x).logits, ours), step_of(theirs, theirs))
    times = [[seconds(step) for step in steps] for _ in range(rounds + 1)][1:]
    mine, straight = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / a for a, b in times)
    print("| emofocus, s | straightforward, s | ratio | share of the peak |\n|---|---|---|---|")
    print(f"| {mine:.3f} | {straight:.3f} | {ratio:.2f} | {flops / mine / peak():.0%} |")


def step_flops(network: nn.Module) -> float:
    """FLOPs of a step's matrix products: those of its forward pass, three times (two products backward for each)."""
    lstm = sum(2 * weight.numel() for name, weight in network.lstm.named_parameters() if "weight" in name)
    linear = sum(2 * weight.numel() for name, weight in network.attention.named_parameters() if weight.ndim == 2)
    convolutions = 2 * 64 * 3 * (38 + 64 * 17)
    scores = 2 * 2 * FRAMES * 512  # queries with keys, weights with values
    return 3.0 * BATCH * FRAMES * (lstm + linear + convolutions + scores)


if __name__ == "__main__":
    main()
