"""Scale for `emofocus bench`: systems that users may pick instead, and the known accuracy of models and of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
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
class OtherSystem:
    """System that a user may pick instead: an encoder without its classifier, or features. Weights are random.

    Attributes:
        name: Name in the literature.
        kind: Runtime, and its precision.
        size: Megabytes of its weights; None if it has none.
        hear: Function that takes a clip (T,), and computes what a classifier needs of it.
        ua: Published UA in percent, if there is one.
        measured_on: Corpus and protocol of that UA.
    """

    name: str
    kind: str
    size: float | None
    hear: Callable[[Waveform], object]
    ua: float | None = None
    measured_on: str = ""

    def measure(self, clips: Sequence[Waveform]) -> tuple[float]:
        """Seconds of audio that are heard per second, clip by clip."""
        began = time.perf_counter()
        for clip in clips[:SINGLE_CLIPS]:
            self.hear(clip)
        taken = time.perf_counter() - began
        return (sum(map(len, clips[:SINGLE_CLIPS])) / SAMPLING_RATE / taken,)


def other_systems(task: Task | None) -> Iterator[OtherSystem]:
    """Encoders of `NETWORKS`, ECAPA-TDNN and eGeMAPS on one core, with their published UA on a task.

    Raises:
        MissingExtraError: `transformers` or `opensmile` is not installed.
    """
    for system in (*_encoders(), _ecapa(), _egemaps()):
        ua = _published(system.name, task)
        yield system if task is None or ua is None else replace(system, ua=ua, measured_on=" ".join(task))


def _encoders() -> Iterator[OtherSystem]:
    """Pretrained encoders by the classes of `transformers`."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "bench") from error
    for name, kind in NETWORKS.items():
        yield _network(name, getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")()))


def _ecapa() -> OtherSystem:
    """An encoder of speakers, which many take for emotions, too."""
    from emofocus.evaluation.ecapa import ECAPA

    return _network("ECAPA-TDNN", ECAPA())


def _network(name: str, network: "torch.nn.Module") -> OtherSystem:
    """A network in torch that takes waveforms (B, T)."""
    import torch

    torch.set_num_threads(1)
    network.eval()

    @torch.inference_mode()
    def hear(clip: Waveform) -> object:
        return network(torch.from_numpy(clip[None]))

    size = sum(item.numel() for item in network.parameters()) * 4 / 1e6
    return OtherSystem(name, "torch fp32", size, hear)


def _egemaps() -> OtherSystem:
    """88 functionals of acoustic descriptors (Eyben et al., IEEE Transactions on Affective Computing, 2016)."""
    try:
        import opensmile
    except ImportError as error:
        raise MissingExtraError("opensmile", "bench") from error
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals, num_workers=1)
    return OtherSystem("eGeMAPS", "openSMILE", None, lambda clip: smile.process_signal(clip, SAMPLING_RATE))


def _published(name: str, task: Task | None) -> float | None:
    """Published UA of a system in percent."""
    of_task = (item for item in REFERENCES if (item.corpus, item.protocol) == task)
    figures = [system.ua for item in of_task for system in item.systems if system.system == name and system.ua]
    return float(figures[0].split()[0]) if figures else None
