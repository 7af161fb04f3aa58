"""The paper's claims about attention, measured on the test parts of trained folds: what the tables are made of.

For each model and fold three files: `utterances.csv`, one line for each test utterance with the measures of all heads
together; `heads.csv`, one for each head; and `faithfulness.csv`, what happens to the prediction when frames are taken
away.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from emofocus.audio.loading import SAMPLING_RATE
from emofocus.config import ModelConfig, Settings, parse, to_plain
from emofocus.corpora import Corpus
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.errors import ConfigError, ModelError
from emofocus.evaluation.attention.alignment import MEASURES, Alignment, Reach, measure, turned_peaks
from emofocus.evaluation.attention.faithfulness import RANKINGS, SHARES, Listener, Utterance, curves
from emofocus.models import MODELS, SpeechNetwork
from emofocus.models.checkpoint import load_network
from emofocus.recognition.explanation.explainer import frame_amplitude, over_time, peaks_of, received
from emofocus.splits.folds import Fold
from emofocus.training.predictions import csv_text, identity
from emofocus.utils.atomic import write_text
from emofocus.utils.progress import track

UTTERANCES, HEADS, FAITHFULNESS = "utterances.csv", "heads.csv", "faithfulness.csv"
Row = dict[str, Any]


class ClaimSettings(Settings, frozen=True, kw_only=True):
    """How the claims are measured.

    Attributes:
        near: Seconds on either side of the loudest moment that belong to it (PAPER: 3 frames of 10 ms).
        ring: Seconds on either side up to which its surroundings reach.
        turns: Random times by which loudness is turned.
        faithful: Utterances of each test part whose frames are taken away; 0 for none.
        seed: Of the turns, the random ranking and the choice of utterances.
    """

    near: float = 0.03
    ring: float = 0.1
    turns: int = 100
    faithful: int = 60
    seed: int = 0


class Heard(NamedTuple):
    """One test utterance through a network.

    Attributes:
        alignment: Of its segments.
        peaks: Position of each segment's loudest moment (S,).
        turned: Where they would be with loudness turned (turns, S).
        gates: (S, h), or None.
        prediction: Number of the class.
        attention: What each frame gets (n,).
        amplitude: Of each frame (n,).
        starts: First frame of each segment that counts (S,).
    """

    alignment: Alignment
    peaks: NDArray[np.int64]
    turned: NDArray[np.int64]
    gates: NDArray[np.float32] | None
    prediction: int
    attention: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    starts: NDArray[np.int64]


def measure_fold(
    corpus: Corpus, fold: Fold, speech: Sequence[Speech], model: Path, out: Path, settings: ClaimSettings, title: str
) -> None:
    """Measure one trained fold's test part, and write the three files.

    Args:
        corpus: Whose audio.
        fold: Whose test part.
        speech: Features of the whole corpus, the fold's model's.
        model: Folder with `config.json` and `model.safetensors`.
        out: Folder for the files.
        settings: How to measure.
        title: Name of this in progress messages.

    Raises:
        ModelError: The folder holds no model, or one without attention.
    """
    network, config = load_network(model)
    if not MODELS[config.model].attends:
        attending = ", ".join(name for name, model in MODELS.items() if model.attends)
        raise ModelError(f"{config.model} has no attention to measure (models that have it: {attending})")
    part = SegmentDataset(speech, corpus.labels(), config.segment, fold.test)
    chosen = np.random.default_rng(settings.seed).permutation(len(fold.test))[: settings.faithful]
    faithful = set(chosen.tolist())
    heard: list[Heard] = []
    faithfulness: list[Row] = []
    for number in track(range(len(fold.test)), title, "utterance"):
        index = int(fold.test[number])
        starts = part.segments[part.segments[:, 0] == number, 1].astype(np.int64)
        heard.append(_hear(network, config, corpus, index, speech[index], starts, settings))
        if number in faithful:
            row = _identity(corpus, index, heard[-1].prediction)
            faithfulness.append(row | _faithfulness(network, config, speech[index], heard[-1], settings.seed + index))
    utterances = [
        _identity(corpus, int(index), item.prediction) | _utterance(item)
        for index, item in zip(fold.test, heard, strict=True)
    ]
    if faithfulness:
        write_text(out / FAITHFULNESS, csv_text(faithfulness))
    write_text(out / UTTERANCES, csv_text(utterances))
    write_text(out / HEADS, csv_text(list(_heads(heard))))  # last: the fold is done when it is there


def _identity(corpus: Corpus, index: int, prediction: int) -> Row:
    return {**identity(corpus, index), "prediction": corpus.classes[prediction]}


@torch.inference_mode()
def _hear(
    network: SpeechNetwork,
    config: ModelConfig,
    corpus: Corpus,
    index: int,
    speech: Speech,
    starts: NDArray[np.int64],
    settings: ClaimSettings,
) -> Heard:
    hop, step, size = config.features.hop, network.frames_a_step, config.segment.frames
    amplitude = frame_amplitude(corpus.waveform(index), hop)
    count = len(speech.frames)
    frames = min(size, count)
    segments = np.stack([speech.frames[first : first + frames] for first in starts])  # (S, m, F)
    logits, maps = network(torch.from_numpy(segments), None, need_maps=True)
    assert maps is not None
    weights, gates = maps.weights.numpy(), None if maps.gates is None else maps.gates.numpy()
    length = -(-frames // step)
    reach = Reach.of(settings.near, settings.ring, step * hop / SAMPLING_RATE)
    generator = np.random.default_rng([settings.seed, index])
    return Heard(
        alignment=measure(weights, gates, np.full(len(starts), length), reach),
        peaks=peaks_of(amplitude[:count], starts, frames, step),
        turned=turned_peaks(amplitude[:count], starts, frames, step, settings.turns, generator),
        gates=gates,
        prediction=int(logits.mean(dim=0).argmax()),
        attention=over_time(received(weights, gates, length), starts, frames, step, count),
        amplitude=amplitude[:count],
        starts=starts,
    )


def _utterance(item: Heard) -> Row:
    """Measures of all heads together: means over segments, and over turns for the null."""
    true = item.alignment.at(item.peaks)[:, :, -1].mean(axis=1)
    null = np.mean([item.alignment.at(peaks)[:, :, -1].mean(axis=1) for peaks in item.turned], axis=0)
    return {"segments": len(item.peaks)} | _named(true, null)


def _named(true: NDArray[Any], null: NDArray[Any]) -> Row:
    both = zip(MEASURES, true, null, strict=True)
    return {key: f"{value:.6g}" for name, a, b in both for key, value in ((name, a), (f"{name}_null", b))}


def _heads(heard: Sequence[Heard]) -> Iterable[Row]:
    """Measures of each head, means over the part's segments, and the share of turns that reach them."""
    segments = sum(len(item.peaks) for item in heard)
    true = sum(item.alignment.at(item.peaks).sum(axis=1) for item in heard) / segments  # (measures, h + 1)
    turns = [
        sum(item.alignment.at(item.turned[turn]).sum(axis=1) for item in heard) / segments
        for turn in range(len(heard[0].turned))
    ]
    null = np.stack(turns)  # (turns, measures, h + 1)
    reached = (1 + (null >= true).sum(axis=0)) / (1 + len(null))
    gates = None if heard[0].gates is None else np.concatenate([item.gates for item in heard if item.gates is not None])
    for head in range(true.shape[1]):
        every = head == true.shape[1] - 1
        row: Row = {"head": "all" if every else head + 1, "segments": segments}
        row |= _named(true[:, head], null[:, :, head].mean(axis=0))
        for name in ("hit", "mass"):
            row[f"{name}_p"] = f"{reached[MEASURES.index(name), head]:.6g}"
        told = None if gates is None or every else gates[:, head]
        for name, of in (("mean", np.mean), ("deviation", np.std), ("lowest", np.min), ("highest", np.max)):
            row[f"gate_{name}"] = "" if told is None else f"{float(of(told)):.6g}"
        yield row


def _faithfulness(network: SpeechNetwork, config: ModelConfig, speech: Speech, item: Heard, seed: int) -> Row:
    utterance = Utterance(torch.from_numpy(speech.frames.copy()), item.starts, item.prediction)
    listener = Listener(network, utterance, config.segment.frames, config.temperature)
    found = curves(listener, item.attention, item.amplitude, seed, config.features.hop / SAMPLING_RATE)
    whole, nothing = found[RANKINGS[0]][0][[0, -1]]
    row: Row = {"whole": f"{whole:.6g}", "nothing": f"{nothing:.6g}"}
    for name, (deletion, insertion) in found.items():
        for share, gone, back in zip(SHARES, deletion[1:-1], insertion[1:-1], strict=True):
            row[f"{name}_deletion_{share:g}"], row[f"{name}_insertion_{share:g}"] = f"{gone:.6g}", f"{back:.6g}"
    return row


def keep_settings(out: Path, settings: ClaimSettings, digest: str, corpus: str) -> None:
    """Note down how the files below a folder are made, or refuse to mix them with others.

    Raises:
        ConfigError: The folder holds measures of other settings or folds.
    """
    path, wanted = out / "settings.json", to_plain(settings) | {"folds": digest, "corpus": corpus}
    if not path.exists():
        write_text(path, json.dumps(wanted, indent=1) + "\n")
        return
    there: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    different = [
        f"{key} is {there.get(key)!r}, not {value!r}" for key, value in wanted.items() if there.get(key) != value
    ]
    if different:
        raise ConfigError(f"{out} holds measures of other settings ({', '.join(different)}); choose another --out")


def read_settings(out: Path) -> tuple[ClaimSettings, str, str]:
    """Settings, digest of the folds and corpus of the measures in a folder.

    Raises:
        ConfigError: There are none.
    """
    path = out / "settings.json"
    if not path.exists():
        raise ConfigError(f"{out} holds no measures of attention: there is no settings.json in it")
    values = json.loads(path.read_text(encoding="utf-8"))
    digest, corpus = values.pop("folds"), values.pop("corpus")
    return parse(ClaimSettings, values, str(path)), digest, corpus
