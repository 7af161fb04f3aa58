"""Measures of the paper's claims about attention on the test parts of trained folds, written as files.

Each model and fold has three files: `utterances.csv`, a row per test utterance with the measures of all heads together;
`heads.csv`, a row per head; and `faithfulness.csv`, probabilities after removing frames.
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
from emofocus.evaluation.attention.alignment import (
    MEASURES,
    Alignment,
    Reach,
    measure,
    segments_span,
    speech_span,
    turned_peaks,
)
from emofocus.evaluation.attention.faithfulness import RANKINGS, SHARES, FrameRemoval, Utterance, curves
from emofocus.models import MODELS, SpeechNetwork
from emofocus.models.checkpoint import load_network
from emofocus.recognition.explanation.explainer import frame_amplitude, over_time, peaks_of, received
from emofocus.splits.folds import Fold
from emofocus.training.results import csv_text, identity
from emofocus.utils.atomic import write_text
from emofocus.utils.progress import track
from emofocus.utils.provenance import refuse_other_work

UTTERANCES, HEADS, FAITHFULNESS = "utterances.csv", "heads.csv", "faithfulness.csv"
MeasureRow = dict[str, Any]
"""A row of one of these files."""


class ClaimSettings(Settings, frozen=True, kw_only=True):
    """Settings of the measures.

    Attributes:
        near: Seconds on either side of the loudest moment that belong to it (PAPER: 3 frames of 10 ms).
        ring: Seconds on either side up to which its surroundings reach.
        turns: Number of random shifts of loudness, for the null.
        faithful: Utterances of each test part with faithfulness curves.
        seed: Seed of the shifts, the random ranking and the choice of utterances.
        top_db: Loudness is shifted between the first and the last frame that is this close to the loudest one, so that
            silence around speech is no part of the null. None: within all that active segments hold.
    """

    near: float = 0.03
    ring: float = 0.1
    turns: int = 100
    faithful: int = 60
    seed: int = 0
    top_db: float | None = None


class UtteranceAttention(NamedTuple):
    """Attention and prediction of a network on one test utterance.

    Attributes:
        alignment: Alignment of its segments.
        peaks: Position of the loudest moment of each segment (S,).
        turned: The same with shifted loudness (turns, S).
        gates: Weights of the heads (S, h); None without gates.
        prediction: Number of the predicted class.
        attention: Attention on each frame (n,).
        amplitude: Amplitude of each frame (n,).
        starts: First frame of each active segment (S,).
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
        corpus: Corpus with the audio.
        fold: Fold with the test part.
        speech: Features of the whole corpus, as the fold's model needs them.
        model: Folder with `config.json` and `model.safetensors`.
        out: Folder for the files.
        settings: Settings of the measures.
        title: Title in progress messages.

    Raises:
        ModelError: The folder holds no model, or a model without attention.
    """
    network, config = load_network(model)
    if not MODELS[config.model].attends:
        attending = ", ".join(name for name, model in MODELS.items() if model.attends)
        raise ModelError(f"{config.model} has no attention to measure (models that have it: {attending})")
    part = SegmentDataset(speech, corpus.labels(), config.segment, fold.test)
    chosen = np.random.default_rng(settings.seed).permutation(len(fold.test))[: settings.faithful]
    faithful = set(chosen.tolist())
    measured: list[UtteranceAttention] = []
    faithfulness: list[MeasureRow] = []
    for number in track(range(len(fold.test)), title, "utterance"):
        index = int(fold.test[number])
        starts = part.segments[part.segments[:, 0] == number, 1].astype(np.int64)
        measured.append(_measure_utterance(network, config, corpus, index, speech[index], starts, settings))
        if number in faithful:
            row = _identity(corpus, index, measured[-1].prediction)
            faithfulness.append(
                row | _faithfulness(network, config, speech[index], measured[-1], settings.seed + index)
            )
    utterances = [
        _identity(corpus, int(index), item.prediction) | _utterance_row(item)
        for index, item in zip(fold.test, measured, strict=True)
    ]
    if faithfulness:
        write_text(out / FAITHFULNESS, csv_text(faithfulness))
    write_text(out / UTTERANCES, csv_text(utterances))
    write_text(out / HEADS, csv_text(list(_heads(measured))))  # last, because it marks the fold as done


def _identity(corpus: Corpus, index: int, prediction: int) -> MeasureRow:
    return {**identity(corpus, index), "prediction": corpus.classes[prediction]}


@torch.inference_mode()
def _measure_utterance(
    network: SpeechNetwork,
    config: ModelConfig,
    corpus: Corpus,
    index: int,
    speech: Speech,
    starts: NDArray[np.int64],
    settings: ClaimSettings,
) -> UtteranceAttention:
    hop, step, size = config.features.hop, network.frames_a_step, config.segment.frames
    amplitude = frame_amplitude(corpus.waveform(index), hop, config.features.centre)
    count = len(speech.frames)
    frames = min(size, count)
    segments = np.stack([speech.frames[first : first + frames] for first in starts])  # (S, m, F)
    logits, maps = network(torch.from_numpy(segments.astype(np.float32)), None, need_maps=True)
    assert maps is not None
    weights, gates = maps.weights.numpy(), None if maps.gates is None else maps.gates.numpy()
    length = -(-frames // step)
    reach = Reach.of(settings.near, settings.ring, step * hop / SAMPLING_RATE)
    generator = np.random.default_rng([settings.seed, index])
    span = segments_span(starts, frames, count)
    if settings.top_db is not None:
        span = speech_span(speech.level, settings.top_db, span)
    return UtteranceAttention(
        alignment=measure(weights, gates, np.full(len(starts), length), reach),
        peaks=peaks_of(amplitude[:count], starts, frames, step),
        turned=turned_peaks(amplitude[:count], starts, frames, step, settings.turns, generator, span),
        gates=gates,
        prediction=int(logits.mean(dim=0).argmax()),
        attention=over_time(received(weights, gates, length), starts, frames, step, count),
        amplitude=amplitude[:count],
        starts=starts,
    )


def _utterance_row(item: UtteranceAttention) -> MeasureRow:
    """Measures of all heads together, means over segments; the null is also a mean over shifts."""
    true = item.alignment.at(item.peaks)[:, :, -1].mean(axis=1)
    null = item.alignment.at(item.turned)[:, :, :, -1].mean(axis=(0, 2), dtype=np.float64)
    return {"segments": len(item.peaks)} | _named(true, null)


def _named(true: NDArray[Any], null: NDArray[Any]) -> MeasureRow:
    both = zip(MEASURES, true, null, strict=True)
    return {key: f"{value:.6g}" for name, a, b in both for key, value in ((name, a), (f"{name}_null", b))}


def _heads(measured: Sequence[UtteranceAttention]) -> Iterable[MeasureRow]:
    """Measures of each head, means over the part's segments, with the share of shifts that reach them."""
    segments = sum(len(item.peaks) for item in measured)
    true = sum(item.alignment.at(item.peaks).sum(axis=1) for item in measured) / segments  # (measures, h + 1)
    turned = sum(item.alignment.at(item.turned).sum(axis=2) for item in measured)
    null = np.asarray(turned) / segments  # (turns, measures, h + 1)
    reached = (1 + (null >= true).sum(axis=0)) / (1 + len(null))
    gates = (
        None
        if measured[0].gates is None
        else np.concatenate([item.gates for item in measured if item.gates is not None])
    )
    for head in range(true.shape[1]):
        every = head == true.shape[1] - 1
        row: MeasureRow = {"head": "all" if every else head + 1, "segments": segments}
        row |= _named(true[:, head], null[:, :, head].mean(axis=0))
        for name in ("hit", "mass"):
            row[f"{name}_p"] = f"{reached[MEASURES.index(name), head]:.6g}"
        gate = None if gates is None or every else gates[:, head]
        for name, statistic in (("mean", np.mean), ("deviation", np.std), ("lowest", np.min), ("highest", np.max)):
            row[f"gate_{name}"] = "" if gate is None else f"{float(statistic(gate)):.6g}"
        yield row


def _faithfulness(
    network: SpeechNetwork, config: ModelConfig, speech: Speech, item: UtteranceAttention, seed: int
) -> MeasureRow:
    utterance = Utterance(torch.from_numpy(speech.frames.astype(np.float32)), item.starts, item.prediction)
    scorer = FrameRemoval(network, utterance, config.segment.frames, config.temperature)
    by_ranking = curves(scorer, item.attention, item.amplitude, seed, config.features.hop / SAMPLING_RATE)
    whole, nothing = by_ranking[RANKINGS[0]][0][[0, -1]]
    row: MeasureRow = {"whole": f"{whole:.6g}", "nothing": f"{nothing:.6g}"}
    for name, (deletion, insertion) in by_ranking.items():
        for share, gone, back in zip(SHARES, deletion[1:-1], insertion[1:-1], strict=True):
            row[f"{name}_deletion_{share:g}"], row[f"{name}_insertion_{share:g}"] = f"{gone:.6g}", f"{back:.6g}"
    return row


def keep_settings(out: Path, settings: ClaimSettings, digest: str, corpus: str) -> None:
    """Write the settings of the files below a folder, or refuse to mix them with files of other settings.

    Raises:
        ConfigError: The folder holds measures of other settings or folds.
    """
    path, wanted = out / "settings.json", to_plain(settings) | {"folds": digest, "corpus": corpus}
    if not path.exists():
        write_text(path, json.dumps(wanted, indent=1) + "\n")
        return
    present: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    refuse_other_work(out, present, wanted)


def read_settings(out: Path) -> tuple[ClaimSettings, str, str]:
    """Settings, digest of the folds and name of the corpus of the measures in a folder.

    Raises:
        ConfigError: The folder holds no measures.
    """
    path = out / "settings.json"
    if not path.exists():
        raise ConfigError(f"{out} holds no measures of attention: there is no settings.json in it")
    values = json.loads(path.read_text(encoding="utf-8"))
    digest, corpus = values.pop("folds"), values.pop("corpus")
    return parse(ClaimSettings, values, str(path)), digest, corpus
