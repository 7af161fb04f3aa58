"""What `emofocus robustness` does: a model on its own test speakers, as they are and distorted."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from emofocus.audio.degradations import DISTORTIONS, Scene
from emofocus.audio.loading import SAMPLING_RATE, AudioArray, Waveform
from emofocus.corpora import Corpus, read_corpus
from emofocus.errors import AudioError, ConfigError
from emofocus.metrics.classification import measure
from emofocus.recognition.options import DEFAULT_OPTIONS, RecognitionOptions
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.atomic import write_text
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.markdown import table
from emofocus.utils.progress import track

KINDS = ("soft", "clipped", "narrow", "noisy", "sparse", "unlike")
"""Of warnings, by their first word."""


class Heard(NamedTuple):
    """What a model made of all test utterances under one distortion.

    Attributes:
        name: Of the distortion.
        wa: Weighted accuracy.
        ua: Unweighted accuracy.
        same: Share of answers that are those to the utterances as they are.
        confident: Share of answers that are confident.
        confident_wa: Accuracy of these; None when there are none.
        warned: Share of utterances with each warning, in the order of `KINDS`.
    """

    name: str
    wa: float
    ua: float
    same: float
    confident: float
    confident_wa: float | None
    warned: tuple[float, ...]


def measure_robustness(
    models: Sequence[str | None],
    out: Path,
    corpus: str,
    root: Path | None,
    speakers: Sequence[str] = (),
    workers: int = 2,
    seed: int = 0,
    options: RecognitionOptions = DEFAULT_OPTIONS,
) -> list[Heard]:
    """Recognize test utterances under every distortion, and write the table.

    Args:
        models: As in `Recognizer.load`; of several, such as those of all folds, means are taken, each heard
            on its own test speakers.
        out: A .md or .csv to write.
        corpus: As in `emofocus crossval`.
        root: As there.
        speakers: Who speaks; by default those that each model's config names as its test speakers.
        workers: Threads.
        seed: Of noise and rooms.
        options: How models are loaded, each for one thread.

    Raises:
        ConfigError: Nobody knows who its test speakers were, or none of them is in the corpus, or labels differ.
    """
    if out.suffix not in (".md", ".csv"):
        raise ConfigError(f"{out}: cannot write {out.suffix or 'a file without a suffix'} (valid: .md, .csv)")
    data = read_corpus(corpus, root)
    options = replace(options, threads=1)
    trials = [_trial(Recognizer.load(model, options), data, speakers) for model in models]
    found = [mean(each) for each in zip(*(_all(trial, workers, seed) for trial in trials), strict=True)]
    write_text(out, markdown(found) if out.suffix == ".md" else csv_text(found))
    return found


class _Trial(NamedTuple):
    """A model, what it hears, and voices of others that may talk over it."""

    recognizer: Recognizer
    waveforms: list[Waveform]
    labels: list[str]
    voices: list[Waveform]


def _trial(recognizer: Recognizer, data: Corpus, speakers: Sequence[str]) -> _Trial:
    told = list(speakers) or recognizer.config.training.get("test_speakers", [])
    if not told:
        raise ConfigError("nobody noted this model's test speakers; name some with --speaker")
    chosen = [number for number, item in enumerate(data.utterances) if item.speaker in told]
    others = [number for number, item in enumerate(data.utterances) if item.speaker not in told]
    if not chosen:
        raise ConfigError(f"{data.name} has none of the speakers {', '.join(told)}")
    labels = [data.utterances[number].emotion for number in chosen]
    strange = set(labels) - set(recognizer.labels)
    if strange:
        raise ConfigError(
            f"the model does not know {', '.join(sorted(strange))} (it knows {', '.join(recognizer.labels)})"
        )
    voices = [data.waveform(number) for number in others[:: max(1, len(others) // 100)]]
    return _Trial(recognizer, [data.waveform(number) for number in chosen], labels, voices)


def mean(heard: Sequence[Heard]) -> Heard:
    """Of one distortion, over models; accuracy of confident answers over all of these that there are."""
    if len(heard) == 1:
        return heard[0]
    sure = [(item.confident, item.confident_wa) for item in heard if item.confident_wa is not None]
    total = sum(share for share, _ in sure)
    wa, ua, same, confident = np.mean(
        [(item.wa, item.ua, item.same, item.confident) for item in heard], axis=0
    ).tolist()
    confident_wa = sum(share * right for share, right in sure) / total if total else None
    warned = np.mean([item.warned for item in heard], axis=0).tolist()
    return Heard(heard[0].name, wa, ua, same, confident, confident_wa, tuple(warned))


def _all(trial: _Trial, workers: int, seed: int) -> Iterator[Heard]:
    recognizer, waveforms, labels, voices = trial
    plain: list[str] = []
    for name in track(list(DISTORTIONS), "robustness", "distortion"):

        def hear(number: int, name: str = name) -> Prediction | None:
            scene = Scene(np.random.default_rng([seed, number]), voices)
            distorted = DISTORTIONS[name](waveforms[number], scene)
            try:
                return recognizer(AudioArray(array=distorted, sampling_rate=SAMPLING_RATE))
            except AudioError:  # too soft to be anything
                return None

        predictions = list(map_ahead(hear, range(len(waveforms)), workers))
        answers = [item.label if item else "" for item in predictions]
        plain = plain or answers
        right = np.array([answer == label for answer, label in zip(answers, labels, strict=True)])
        sure = np.array([bool(item and item.confident) for item in predictions])
        figures = measure(labels, answers, recognizer.labels)
        yield Heard(
            name,
            figures.wa,
            figures.ua,
            float(np.mean([a == b for a, b in zip(answers, plain, strict=True)])),
            float(sure.mean()),
            float(right[sure].mean()) if sure.any() else None,
            tuple(_warned(predictions, kind) for kind in KINDS),
        )


def _warned(predictions: Sequence[Prediction | None], kind: str) -> float:
    told = [bool(item and any(text.startswith(kind) for text in item.warnings)) for item in predictions]
    return float(np.mean(told))


HEAD = (
    "distortion",
    "WA %",
    "UA %",
    "same answer %",
    "confident %",
    "of these right %",
    *(f"{kind} %" for kind in KINDS),
)


def markdown(found: Sequence[Heard]) -> str:
    """A table."""
    return table(HEAD, map(_cells, found), right=1)


def csv_text(found: Sequence[Heard]) -> str:
    """The same as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(map(_cells, found))
    return text.getvalue()


def _cells(item: Heard) -> list[str]:
    sure = "–" if item.confident_wa is None else f"{100 * item.confident_wa:.0f}"
    return [
        item.name,
        f"{100 * item.wa:.1f}",
        f"{100 * item.ua:.1f}",
        f"{100 * item.same:.0f}",
        f"{100 * item.confident:.0f}",
        sure,
        *(f"{100 * share:.0f}" for share in item.warned),
    ]
