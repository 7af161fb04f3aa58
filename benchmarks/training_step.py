"""One training step of MHSA-FACA (128 segments of 50 frames): ours, and the paper read straight into PyTorch.

Run: ``python benchmarks/training_step.py``. Ours is as the training commands run it, in ``--precision 32-true`` and,
where the CPU has instructions for it, in bf16-mixed; the straightforward one is float32 with nothing set. Each is a
process of its own, in turns. Prints the median step, the median ratio, and the share of the machine's measured
matrix-multiply peak in the step's precision. `tests/models/test_models.py` holds the two networks equal.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from emofocus.config import ModelConfig
from emofocus.models import SpeechNetwork, build
from emofocus.models.attention import FocusBias, HeadCalibration, MultiHeadSelfAttention
from emofocus.training.fabric import keep_freed_memory

BATCH, FRAMES, COEFFICIENTS, CLASSES = 128, 50, 40, 8
STEPS, ROUNDS = 4, 3


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


def peak(precision: torch.dtype) -> float:
    """FLOP/s of a large matrix product, the best of ten."""
    a = torch.randn(2048, 2048).to(precision)
    return 2 * 2048**3 / min(seconds(lambda: a @ a) for _ in range(10))


def in_bfloat16(logits_of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """As ``--precision bf16-mixed`` runs it."""

    def run(features: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return logits_of(features)

    return run


def child(setting: str) -> None:
    """Print the seconds of the median step, and the share of the peak of its precision."""
    if setting == "straightforward":
        network: nn.Module = StraightforwardReading()
        step = step_of(network, network)
    else:
        keep_freed_memory()
        ours = build(ModelConfig.of("mhsa-faca", tuple(map(str, range(CLASSES)))))
        step = step_of(in_bfloat16(ours_of(ours)) if setting == "bf16-mixed" else ours_of(ours), ours)
    step()
    taken = statistics.median(seconds(step) for _ in range(STEPS))
    kind = torch.bfloat16 if setting == "bf16-mixed" else torch.float32
    print(taken, step_flops(StraightforwardReading()) / taken / peak(kind))


def ours_of(network: SpeechNetwork) -> Callable[[Tensor], Tensor]:
    """Its logits."""
    return lambda features: network(features).logits


def measured(setting: str) -> tuple[float, float]:
    """What `child` prints in a process of its own."""
    command = [sys.executable, __file__, "--child", setting]
    taken, share = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(taken), float(share)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    settings = ["straightforward", "32-true"]
    if torch.cpu._is_avx512_bf16_supported():  # elsewhere it is emulated, and slower than float32
        settings.append("bf16-mixed")
    rounds = [[measured(setting) for setting in settings] for _ in range(arguments.rounds)]
    print("| step | s | ratio | share of the peak |\n|---|---|---|---|")
    for number, setting in enumerate(settings):
        taken = statistics.median(row[number][0] for row in rounds)
        ratio = statistics.median(row[0][0] / row[number][0] for row in rounds)
        share = statistics.median(row[number][1] for row in rounds)
        print(f"| {setting} | {taken:.3f} | {ratio:.2f} | {share:.0%} |")


def step_flops(network: nn.Module) -> float:
    """FLOPs of a step's matrix products: those of its forward pass, three times (two products backward for each)."""
    lstm = sum(2 * weight.numel() for name, weight in network.lstm.named_parameters() if "weight" in name)
    linear = sum(2 * weight.numel() for name, weight in network.attention.named_parameters() if weight.ndim == 2)
    convolutions = 2 * 64 * 3 * (38 + 64 * 17)
    scores = 2 * 2 * FRAMES * 512  # queries with keys, weights with values
    return 3.0 * BATCH * FRAMES * (lstm + linear + convolutions + scores)


if __name__ == "__main__":
    main()
