"""Cost of running a network: multiply-accumulates and time, both for a second of audio."""

import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from emofocus.config import ModelConfig, SegmentSettings
from emofocus.features.front_end import FrontEnd, frame_size
from emofocus.models import SpeechNetwork, append_embedding, build
from emofocus.segments import segment_count

SECONDS = 10
"""Length in seconds of the audio that is counted and timed; its ends weigh little."""

REPEATS = 5
"""Number of timed runs; the median is returned."""


def multiply_accumulates(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of the matrix products and convolutions in one forward pass.

    Nothing is computed: torch's meta device has shapes alone. The products of LSTMs follow from their weights; torch's
    counter would take them apart into thousands of steps, for most of a minute. Sums, normalizations, pools and
    activations are not counted.

    Args:
        module: Module to count. It is moved to the meta device, and loses its weights.
        inputs: Arguments of its forward pass.
    """
    module = module.eval().to("meta")
    lstms = _LSTMCounter()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter, lstms:
        module(*(item.to("meta") for item in inputs))
    return int(counter.get_total_flops()) // 2 + lstms.total


class _LSTMCounter(TorchFunctionMode):
    """Counts multiply-accumulates of LSTMs over padded sequences, which give outputs without values.

    Attributes:
        total: Multiply-accumulates so far: every weight of a matrix is used once in each step of each sequence.
    """

    total = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count `torch.lstm`; run all else."""
        if func is not torch.lstm or not isinstance(args[1], tuple | list):
            return func(*args, **(kwargs or {}))
        x, (hidden, cell), weights, *_, both_ways, _ = args
        steps = x.shape[0] * x.shape[1]
        self.total += steps * sum(weight.numel() for weight in weights if weight.dim() == 2)
        return x.new_empty(*x.shape[:2], (1 + both_ways) * hidden.shape[-1]), hidden, cell


def network_cost(config: ModelConfig) -> int:
    """Multiply-accumulates a second of audio of the network that a config describes; features are not counted.

    A recording is cut into overlapping segments, which share what looks at single frames, as in `model.onnx`.
    An extractor of embeddings is not counted either.

    Raises:
        ModelError: Unknown model.
    """
    settings = config.features
    frames = 1 + SECONDS * settings.sampling_rate // settings.hop
    features = torch.zeros(1, frames, frame_size(settings))  # an encoder's weights are not needed
    recording = Recording(build(config), config.segment)
    return multiply_accumulates(recording, append_embedding(features, _nobody(config))) // SECONDS


def real_time_factor(config: ModelConfig, repeats: int = REPEATS) -> float:
    """Seconds that features and network take in torch, on one thread of the CPU, for a second of audio.

    The weights are fresh, and the audio is noise. Of clean speech, features do a few frames over in float64.

    Raises:
        ModelError: Unknown model.
    """
    front_end, recording = FrontEnd(config.features).eval(), Recording(build(config), config.segment).eval()
    waveform, nobody, taken = _noise(config), _nobody(config), []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(1 + repeats):
                began = time.perf_counter()
                recording(append_embedding(front_end(waveform)[0], nobody))
                taken.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(taken[1:]) / SECONDS  # the first one also sets things up


class Recording(nn.Module):
    """A network over the segments of one recording, each frame encoded once."""

    def __init__(self, network: SpeechNetwork, settings: SegmentSettings) -> None:
        super().__init__()
        self.network, self.settings = network, settings

    def forward(self, features: Tensor) -> Tensor:
        """Features (1, n, F) → logits (S, C)."""
        encoded = self.network.encode_frames(features)[0]  # (n, D)
        n = len(encoded)
        starts = torch.arange(segment_count(n, self.settings), device=encoded.device) * self.settings.hop
        index = starts[:, None] + torch.arange(self.settings.frames, device=encoded.device)  # (S, m)
        logits: Tensor = self.network.classify(encoded[index.clamp(max=n - 1)]).logits
        return logits


def _nobody(config: ModelConfig) -> Tensor | None:
    """An embedding (1, D), for a network that takes one."""
    return torch.zeros(1, config.embedding.size) if config.embedding else None


def _noise(config: ModelConfig) -> Tensor:
    """Audio of `SECONDS`: (1, T)."""
    samples = SECONDS * config.features.sampling_rate
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
