"""Robustness: accuracy of a model on its test speakers under distortions of the audio."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from emofocus.audio.degradations import DISTORTIONS, Scene
from emofocus.audio.loading import SAMPLING_RATE, AudioArray
from emofocus.audio.notices import QualityKind
from emofocus.audio.samples import Waveform
from emofocus.corpora import Corpus, read_corpus
from emofocus.errors import AudioError, ConfigError
from emofocus.metrics.classification import measure
from emofocus.recognition.options import DEFAULT_OPTIONS, RecognitionOptions
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.results_file import settings_of
from emofocus.utils.atomic import write_text
from emofocus.utils.file_formats import suffix_of
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.markdown import table
from emofocus.utils.progress import track
from emofocus.utils.provenance import record_path, resumes, states_hash

KINDS: tuple[QualityKind, ...] = ("soft", "clipped", "narrow", "noisy", "sparse")
"""Kinds of notices that have a column."""


class DistortionResult(NamedTuple):
    """Figures of a model under one distortion.

    Attributes:
        name: Name of the distortion.
        wa: Weighted accuracy.
        ua: Unweighted accuracy.
        same: Share of answers that equal those without distortion.
        confident: Share of answers that are confident.
        confident_wa: Accuracy of the confident answers; None if there are none.
        warned: Share of utterances with a notice of each kind, in the order of `KINDS`.
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
) -> list[DistortionResult]:
    """Recognize test utterances under every distortion, and write the table.

    Args:
        models: Models as in `Recognizer.load`. For several, such as those of all folds, means are taken, and each model
            recognizes its own test speakers.
        out: File to write, .md or .csv.
        corpus: Corpus as in `read_corpus`.
        root: Folder of the corpus, as in `read_corpus`.
        speakers: Speakers to recognize; by default the test speakers in each model's config.
        workers: Number of threads.
        seed: Seed of noise and rooms.
        options: Options of the recognizers; each uses one thread.

    Raises:
        ConfigError: The test speakers are unknown or absent from the corpus, the model lacks one of its labels, or
            ``out`` holds another table.
    """
    kind = suffix_of(out, (".md", ".csv"))
    data = read_corpus(corpus, root)
    options = replace(options, threads=1)
    recognizers = [Recognizer.load(model, options) for model in models]
    record = {
        "models": [settings_of(recognizer) for recognizer in recognizers],
        "corpus": data.name,
        "recordings": states_hash(data.root, data.table["file"].unique().sort()),
        "speakers": list(speakers),
        "seed": seed,
    }
    resumes(out, record_path(out), record, out.exists())  # the same work is done again: the table has one size
    trials = [_trial(recognizer, data, speakers) for recognizer in recognizers]
    results = [mean(group) for group in zip(*(_all_distortions(trial, workers, seed) for trial in trials), strict=True)]
    write_text(out, markdown(results) if kind == ".md" else csv_text(results))
    return results


class _Trial(NamedTuple):
    """A model, its test utterances with labels, and voices of others as background."""

    recognizer: Recognizer
    waveforms: list[Waveform]
    labels: list[str]
    voices: list[Waveform]


def _trial(recognizer: Recognizer, data: Corpus, speakers: Sequence[str]) -> _Trial:
    tested = list(speakers) or recognizer.config.training.get("test_speakers", [])
    if not tested:
        raise ConfigError("nobody noted this model's test speakers; name some with --speaker")
    chosen = [number for number, item in enumerate(data.utterances) if item.speaker in tested]
    others = [number for number, item in enumerate(data.utterances) if item.speaker not in tested]
    if not chosen:
        raise ConfigError(f"{data.name} has none of the speakers {', '.join(tested)}")
    labels = [data.utterances[number].emotion for number in chosen]
    strange = set(labels) - set(recognizer.labels)
    if strange:
        raise ConfigError(
            f"the model does not know {', '.join(sorted(strange))} (it knows {', '.join(recognizer.labels)})"
        )
    voices = [data.waveform(number) for number in others[:: max(1, len(others) // 100)]]
    return _Trial(recognizer, [data.waveform(number) for number in chosen], labels, voices)


def mean(results: Sequence[DistortionResult]) -> DistortionResult:
    """Mean of one distortion over models; accuracy of confident answers is pooled over all of them."""
    if len(results) == 1:
        return results[0]
    sure = [(item.confident, item.confident_wa) for item in results if item.confident_wa is not None]
    total = sum(share for share, _ in sure)
    wa, ua, same, confident = np.mean(
        [(item.wa, item.ua, item.same, item.confident) for item in results], axis=0
    ).tolist()
    confident_wa = sum(share * right for share, right in sure) / total if total else None
    warned = np.mean([item.warned for item in results], axis=0).tolist()
    return DistortionResult(results[0].name, wa, ua, same, confident, confident_wa, tuple(warned))


def _all_distortions(trial: _Trial, workers: int, seed: int) -> Iterator[DistortionResult]:
    recognizer, waveforms, labels, voices = trial
    plain: list[str] = []
    for name in track(list(DISTORTIONS), "robustness", "distortion"):

        def recognize(number: int, name: str = name) -> Prediction | None:
            scene = Scene(np.random.default_rng([seed, number]), voices)
            distorted = DISTORTIONS[name](waveforms[number], scene)
            try:
                return recognizer(AudioArray(array=distorted, sampling_rate=SAMPLING_RATE))
            except AudioError:  # too soft to be recognized
                return None

        predictions = list(map_ahead(recognize, range(len(waveforms)), workers))
        answers = [item.label if item else "" for item in predictions]
        plain = plain or answers
        right = np.array([answer == label for answer, label in zip(answers, labels, strict=True)])
        sure = np.array([bool(item and item.confident) for item in predictions])
        figures = measure(labels, answers, recognizer.labels)
        yield DistortionResult(
            name,
            figures.wa,
            figures.ua,
            float(np.mean([a == b for a, b in zip(answers, plain, strict=True)])),
            float(sure.mean()),
            float(right[sure].mean()) if sure.any() else None,
            tuple(_warned(predictions, kind) for kind in KINDS),
        )


def _warned(predictions: Sequence[Prediction | None], kind: QualityKind) -> float:
    """Share of recordings with a notice of a kind."""
    noticed = [any(notice.kind == kind for notice in item.notices) if item else False for item in predictions]
    return float(np.mean(noticed))


HEAD = (
    "distortion",
    "WA %",
    "UA %",
    "same answer %",
    "confident %",
    "of these right %",
    *(f"{kind} %" for kind in KINDS),
)


def markdown(results: Sequence[DistortionResult]) -> str:
    """Results as a Markdown table."""
    return table(HEAD, map(_cells, results), right=1)


def csv_text(results: Sequence[DistortionResult]) -> str:
    """Results as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows(map(_cells, results))
    return text.getvalue()


def _cells(item: DistortionResult) -> list[str]:
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
