"""Gain by adaptation to a voice: trained folds scored again with some unlabelled speech of each test speaker.

Each test speaker's utterances are dealt into two halves, by a hash of their names. An utterance is recognized by a
network that was adapted to clips of the other half, or to all other utterances of the speaker. So no utterance adapts
its own recognition. The labels of these clips are not looked at, except in the conditions that ask what speech of one
emotion alone does.

Such figures use unlabelled speech of the test speakers. They are results of protocols of their own.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from msgspec import UNSET
from msgspec.structs import replace
from numpy.typing import NDArray

from emofocus.config import Recipe, parse
from emofocus.corpora import Corpus
from emofocus.data.cache import Cache
from emofocus.data.datasets import SegmentDataset, padded
from emofocus.data.feature_store import CachedSpeech
from emofocus.errors import ConfigError, one_of
from emofocus.evaluation.results import ADAPTED, RunResult, read_run, write_scored_again
from emofocus.metrics.statistics import FIGURES
from emofocus.models import SpeechNetwork
from emofocus.models.base import VoiceShift, VoiceStatistics
from emofocus.models.checkpoint import load_network
from emofocus.splits.folds import Fold
from emofocus.splits.formats import read_folds
from emofocus.training.results import (
    FoldEntry,
    PredictionRow,
    Summary,
    measure_rows,
    plain,
    prediction_rows,
)
from emofocus.utils.atomic import write_text
from emofocus.utils.markdown import table
from emofocus.utils.progress import log_line
from emofocus.utils.provenance import PROVENANCE, resumes
from emofocus.version import __version__

Array = NDArray[np.float32]
Numbers = NDArray[np.int64]

TABLE = "adaptation.md"
"""Name of the table of all conditions."""


class Condition(NamedTuple):
    """Speech that a network is adapted to.

    Attributes:
        seconds: Most seconds of it; at least one clip is heard unless this is 0. Infinity takes all other utterances of
            the speaker.
        emotion: Class of all of it; None for clips whose labels nobody looked at.
    """

    seconds: float
    emotion: str | None = None

    @property
    def name(self) -> str:
        """Name of the condition in folders."""
        return ("voiceall" if math.isinf(self.seconds) else f"voice{self.seconds:g}s") + (
            f"-{self.emotion}" if self.emotion else ""
        )

    def protocol(self, name: str) -> str:
        """Name of the protocol of which this condition makes another one."""
        return f"{name}{ADAPTED}{self.name.removeprefix('voice')}"

    def __str__(self) -> str:
        """The condition in words."""
        if not self.seconds:
            return "not adapted"
        if math.isinf(self.seconds):
            return "all other utterances of the test speaker, unlabelled"
        return f"{self.seconds:g} s of unlabelled speech of the test speaker" + (
            f", all {self.emotion}" if self.emotion else ""
        )


def measure_adaptation(
    folder: Path, out: Path, corpus: Corpus, conditions: Sequence[Condition], cache: Path | None = None
) -> Path:
    """Score the test parts of a run under several conditions, each of which becomes a run below ``out``.

    Args:
        folder: Folder that `emofocus crossval` wrote, with the weights of its folds.
        out: Folder for the results; a condition that is there already is left as it is.
        corpus: Corpus of the run.
        conditions: Conditions to score.
        cache: Folder of the feature cache; the user's by default.

    Returns:
        Path of the table of all conditions.

    Raises:
        ConfigError: A class does not exist, the run's networks cannot be adapted, or ``out`` holds other work.
        ModelError: The weights of a fold are missing.
        ResultError: The folder is no run.
    """
    for condition in conditions:
        if condition.emotion is not None and condition.emotion not in corpus.classes:
            raise ConfigError(f"unknown class {condition.emotion!r} ({one_of(corpus.classes)})")
    run = read_run(folder)
    recipe = parse(Recipe, run.summary.recipe_settings, str(folder))
    if recipe.network.voice_seconds is UNSET:
        raise ConfigError(f"{run.name}: its networks cannot be adapted to voices (recipe {run.summary.recipe})")
    record = {"run": plain(run.summary) | {"folds": len(run.summary.folds)}, "version": __version__}
    resumes(out, out / PROVENANCE, record, (out / TABLE).exists())
    folds = read_folds(folder / "folds.json", corpus, run.predictions.protocol, run.seed)
    speech = CachedSpeech(corpus, Cache(cache)).speech(msgspec.structs.replace(recipe, speeds=(), copies=()))[0]
    todo = [item for item in conditions if not (out / item.name / "summary.json").exists()]
    rows: dict[Condition, list[PredictionRow]] = {condition: [] for condition in todo}
    for entry in run.summary.folds if todo else []:
        network, _ = load_network(folder / f"fold-{entry.fold}")
        fold = folds[entry.fold]
        part = SegmentDataset(speech, corpus.labels(), recipe.segment, fold.test)
        heard = _Heard(network, part, corpus, fold, recipe.features.hop / recipe.features.sampling_rate)
        for condition in todo:
            logits = heard.logits(condition)
            temperature = entry.temperature if isinstance(entry.temperature, float) else 1.0
            rows[condition] += prediction_rows(corpus, entry.fold, fold.test, logits, temperature)
        log_line(f"{run.name} fold {entry.fold}: adapted")
    for condition in todo:
        _write(run, folder, out / condition.name, condition, rows[condition])
    return _write_table(out, run, conditions)


class _Heard:
    """A fold's test part as its network hears it.

    Attributes:
        statistics: Statistics of each utterance (P, 2, F).
        seconds: Length of each utterance in seconds (P,).
    """

    def __init__(self, network: SpeechNetwork, part: SegmentDataset, corpus: Corpus, fold: Fold, frame: float) -> None:
        assert isinstance(network.voice, VoiceStatistics)
        self.network, self.voice, self.part = network, network.voice, part
        self.emotions = np.array(corpus.classes)[part.labels]
        self.speakers = corpus.table["speaker"].to_numpy().astype(str)[fold.test]
        keys = corpus.table["key"].to_numpy()[fold.test]
        self.order = np.array([hashlib.sha256(str(key).encode()).hexdigest() for key in keys])
        self.seconds = frame * part.frame_counts()[0]
        with torch.inference_mode():
            self.statistics = torch.stack([self._statistics(number) for number in range(len(part.labels))])

    def _statistics(self, number: int) -> torch.Tensor:
        segments = self.part.segments_of(0, number)
        return self.voice.of_utterance(self.network.normalize(torch.from_numpy(item)) for item in segments)

    @torch.inference_mode()
    def logits(self, condition: Condition) -> Array:
        """Logits of all utterances (P, C)."""
        rows: list[Array | None] = [None] * len(self.part.labels)
        for speaker in np.unique(self.speakers):
            mine = np.flatnonzero(self.speakers == speaker)
            mine = mine[np.argsort(self.order[mine])]
            for tested, other in _dealt(mine, condition):
                shift = self._shift(self._chosen(other, condition))
                for number in tested:
                    rows[number] = self._score(int(number), shift)
        return np.stack([row for row in rows if row is not None])

    def _chosen(self, pool: NDArray[np.int64], condition: Condition) -> NDArray[np.int64]:
        """Clips of a condition out of a pool."""
        if condition.emotion is not None:
            pool = pool[self.emotions[pool] == condition.emotion]
        if not condition.seconds:
            return pool[:0]
        return pool[: max(1, int((np.cumsum(self.seconds[pool]) <= condition.seconds).sum()))]

    def _shift(self, chosen: NDArray[np.int64]) -> VoiceShift | None:
        """The voice in some clips; None without any."""
        if not len(chosen):
            return None
        seconds = torch.from_numpy(self.seconds[chosen]).float()
        mean = (seconds[:, None, None] * self.statistics[chosen]).sum(dim=0) / seconds.sum()
        return self.voice.shift(mean, seconds.sum())

    def _score(self, number: int, shift: VoiceShift | None) -> Array:
        features, lengths = padded(self.part.segments_of(0, number))
        if shift is not None:
            features = self.network.normalize.adapted(features, *shift)
        logits = self.network(features, torch.from_numpy(lengths)).logits.mean(dim=0)
        return np.asarray(logits.numpy(), np.float32)


def _dealt(utterances: Numbers, condition: Condition) -> Iterator[tuple[Numbers, Numbers]]:
    """Utterances of a speaker that are tested, and those that their voice is heard in: never the same ones."""
    if math.isinf(condition.seconds):
        yield from ((utterances[[place]], np.delete(utterances, place)) for place in range(len(utterances)))
    else:
        yield utterances[0::2], utterances[1::2]
        yield utterances[1::2], utterances[0::2]


def _write(run: RunResult, source: Path, out: Path, condition: Condition, rows: list[PredictionRow]) -> None:
    """Write one condition as a run, whose protocol says what was heard."""
    head = run.summary.protocol
    protocol = replace(head, name=condition.protocol(head.name), note=f"{head.note}; {condition}")
    summary = Summary(
        corpus=run.summary.corpus,
        corpora=run.summary.corpora,
        utterances=run.summary.utterances,
        classes=run.summary.classes,
        left_out=run.summary.left_out,
        model=run.summary.model,
        recipe=run.summary.recipe,
        recipe_settings=run.summary.recipe_settings,
        parameters=run.summary.parameters,
        protocol=protocol,
        seed=run.seed,
    )
    for entry in run.summary.folds:
        tested = [row for row in rows if row["fold"] == str(entry.fold)]
        figures = measure_rows(tested, run.summary.classes)._asdict()
        scored = FoldEntry(
            fold=entry.fold,
            train=entry.train,
            valid=entry.valid,
            test=entry.test,
            version=__version__,
            **{name: round(value, 6) for name, value in figures.items()},
        )
        summary = summary.with_fold(scored)
    write_scored_again(run, source, out, summary, rows)


def _write_table(out: Path, run: RunResult, conditions: Sequence[Condition]) -> Path:
    """Write the table of conditions; returns its path."""
    found = [(condition, read_run(out / condition.name).summary) for condition in conditions]
    rows = [
        [condition.name, str(condition), *(f"{100 * getattr(summary, name).mean:.2f}" for name in FIGURES)]
        for condition, summary in found
    ]
    text = f"# Adaptation of {run.name}\n\nMean over folds, in percent.\n\n"
    write_text(out / TABLE, text + table(["condition", "heard", "WA", "UA", "macro-F1"], rows, right=2))
    return out / TABLE
