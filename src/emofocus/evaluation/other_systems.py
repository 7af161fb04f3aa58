"""Scale for `emofocus bench`: large pretrained encoders, and how well models and they are known to recognize."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.audio.samples import Waveform
from emofocus.config import load_model_config
from emofocus.errors import MissingExtraError
from emofocus.evaluation.report.literature import REFERENCES
from emofocus.evaluation.results import ResultKey, RunResult

if TYPE_CHECKING:
    import torch

SINGLE_CLIPS = 4
"""Clips that are recognized one by one in a round."""

NETWORKS = {"wav2vec2-base": "Wav2Vec2", "HuBERT-base": "Hubert", "WavLM-base": "WavLM"}
"""Name in the literature → what its classes' names in `transformers` begin with; these have its shape by default."""


class Task(NamedTuple):
    """Corpus and protocol that a figure belongs to."""

    corpus: str
    protocol: str


@dataclass(frozen=True)
class KnownAccuracy:
    """Accuracy of models as it was measured before.

    Attributes:
        results: Results of cross-validations, whose means over folds and seeds are taken.
    """

    results: Sequence[RunResult] = ()

    def of(self, folder: Path) -> tuple[float | None, str]:
        """UA in percent of a model directory, and what it was measured on; None if that is not known."""
        config, task = load_model_config(folder / "config.json"), self.task_of(folder)
        if task is None:
            return None, ""
        key = ResultKey(*task, config.model, config.training.get("recipe", ""))
        runs = [run.by_fold[:, 1].mean() for run in self.results if run.key == key and run.finished]
        if runs:
            return 100 * float(np.mean(runs)), f"{' '.join(task)}, seeds: {len(runs)}"
        if "ua" not in config.training:
            return None, ""
        return 100 * config.training["ua"], f"{' '.join(task)}, fold {config.training['fold']}"

    def task_of(self, folder: Path) -> Task | None:
        """Corpus and protocol that a model directory was trained on, if it says so."""
        training = load_model_config(folder / "config.json").training
        return Task(training["corpus"], training["protocol"]) if {"corpus", "protocol"} <= training.keys() else None


@dataclass(frozen=True)
class LargeEncoder:
    """A large encoder in torch, with random weights: they make no difference to the time.

    Attributes:
        name: Name in the literature.
        network: The network, without a classifier.
        ua: Published UA in percent, if there is one.
        measured_on: Corpus and protocol of that UA.
    """

    name: str
    network: "torch.nn.Module"
    ua: float | None
    measured_on: str

    @property
    def size(self) -> float:
        """Megabytes in float32."""
        return sum(item.numel() for item in self.network.parameters()) * 4 / 1e6

    def measure(self, clips: Sequence[Waveform]) -> tuple[float]:
        """Seconds of audio that are encoded per second, clip by clip."""
        import torch

        began = time.perf_counter()
        with torch.inference_mode():
            for clip in clips[:SINGLE_CLIPS]:
                self.network(torch.from_numpy(clip[None]))
        taken = time.perf_counter() - began
        return (sum(map(len, clips[:SINGLE_CLIPS])) / SAMPLING_RATE / taken,)


def large_encoders(task: Task | None) -> Iterator[LargeEncoder]:
    """Encoders of `NETWORKS` on one core, with their published UA on a task.

    Raises:
        MissingExtraError: `transformers` is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "encoders") from error
    torch.set_num_threads(1)
    for name, kind in NETWORKS.items():
        network = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")()).eval()
        ua = _published(name, task)
        yield LargeEncoder(name, network, ua, "" if task is None or ua is None else " ".join(task))


def _published(name: str, task: Task | None) -> float | None:
    """Published UA of a system in percent."""
    of_task = (item for item in REFERENCES if (item.corpus, item.protocol) == task)
    figures = [system.ua for item in of_task for system in item.systems if system.system == name and system.ua]
    return float(figures[0].split()[0]) if figures else None
