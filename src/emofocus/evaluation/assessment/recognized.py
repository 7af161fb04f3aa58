"""Recognition of a labeled corpus into a `predictions.csv`, which an interrupted run goes on with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from emofocus.corpora import Corpus, Utterance
from emofocus.corpora.labels import aligned
from emofocus.errors import AudioError, ConfigError
from emofocus.evaluation.assessment.answers import COLUMN_OF
from emofocus.recognition.bulk import BATCH, ClipResult, Item, batched, recognize, seconds
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.results_file import ResultsFile, csv_line, settings_of
from emofocus.splits.protocols import PROTOCOLS
from emofocus.utils.progress import log_line, log_progress

KNOWN = ("corpus", "session", "gender", "language", "channel")
"""Columns of a corpus that a row has where some utterance has a value."""


class Recognition(NamedTuple):
    """Recognition of a corpus by one model.

    Attributes:
        recognizer: Recognizes, on one thread.
        name: Name of the model in lines of progress.
        file: The `predictions.csv` to write.
        workers: Utterances recognized side by side; None for as many as there are cores.
    """

    recognizer: Recognizer
    name: str
    file: Path
    workers: int | None


def recognize_corpus(job: Recognition, data: Corpus, report: Callable[[AudioError], None]) -> bool:
    """Recognize the utterances of a corpus whose class the model has, and write a row for each.

    Args:
        job: The model, and the file to write.
        data: Labeled utterances.
        report: Takes the error of each utterance that cannot be recognized; it has no row.

    Returns:
        Whether any utterance has a row.

    Raises:
        ConfigError: The file holds answers of another model, or to other utterances.
    """
    names = aligned(data.classes, job.recognizer.labels)
    chosen = [item for item in data.utterances if item.emotion in names]
    columns = [name for name in KNOWN if any(getattr(item, name) for item in chosen)]
    times = any(item.start is not None or item.end is not None for item in chosen)
    rows = _Rows(job.recognizer, names, columns, times)
    items = [Item(item.file, data.path_of(item.file), item.start, item.end) for item in chosen]
    by_key = {clip.key: item for clip, item in zip(items, chosen, strict=True)}
    record = {**settings_of(job.recognizer), "corpus": data.name, "utterances": _digest(data.table)}
    with ResultsFile(job.file, "csv", record, rows.header) as file:
        for item, prediction in _predictions(job, items, file.holds, report):
            file.append([(item, rows.row(item, by_key[item.key], prediction))])
        return any(map(file.holds, items))


def _digest(table: pl.DataFrame) -> str:
    """16 hexadecimal digits that tell the labels of utterances from others."""
    import hashlib

    text = table.select("file", "start", "end", "emotion", "speaker").write_csv()
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _predictions(
    job: Recognition, items: Sequence[Item], holds: Callable[[Item], bool], report: Callable[[AudioError], None]
) -> Iterator[tuple[Item, Prediction]]:
    """Utterances that were recognized, and not before."""
    done = 0
    total = sum(len(group) for group in batched(items, BATCH) if not all(map(holds, group)))

    def line(_: list[ClipResult], spent: float) -> str:
        return f"{job.name}: {done} of {total} utterances, {done / spent:.1f} a second"

    results = recognize(job.recognizer, items, job.workers, done=holds)
    for batch in log_progress(results, line, job.name, total, len):
        done += len(batch)
        for item, result in batch:
            if holds(item):
                continue
            if isinstance(result, AudioError):
                report(result)
            else:
                yield item, result


class _Rows:
    """Lines of a `predictions.csv`.

    Args:
        recognizer: Recognizes.
        names: Class of the corpus → class of the model.
        columns: Columns of the corpus that are written.
        times: Whether utterances are parts of files.
    """

    def __init__(self, recognizer: Recognizer, names: Mapping[str, str], columns: Sequence[str], times: bool) -> None:
        self._names, self._columns, self._times = names, columns, ("start", "end") if times else ()
        self._threshold = f"{recognizer.threshold:g}"
        scores = [f"p_{label}" for label in recognizer.labels]
        self.header = csv_line(
            [
                "file",
                *self._times,
                "speaker",
                *(COLUMN_OF.get(name, name) for name in columns),
                "label",
                "prediction",
                "threshold",
                "duration",
                "warnings",
                *scores,
            ]
        )

    def row(self, item: Item, truth: Utterance, prediction: Prediction) -> str:
        """The line of one utterance."""
        times = [seconds(item.start), seconds(item.end)] if self._times else []
        kinds = " ".join(sorted({notice.kind for notice in prediction.notices}))
        known = [getattr(truth, name) for name in self._columns]
        return csv_line(
            [
                item.name,
                *times,
                truth.speaker,
                *known,
                self._names[truth.emotion],
                prediction.label,
                self._threshold,
                prediction.duration,
                kinds or "none",
                *(f"{score:.6g}" for score in prediction.scores.values()),
            ]
        )


class Audience(NamedTuple):
    """Utterances of a corpus that are evaluated, and what a reader must know of the choice."""

    data: Corpus
    notes: list[str]


def audience(data: Corpus, recognizers: Mapping[str, Recognizer], speakers: Sequence[str]) -> Audience:
    """Choose the speakers: those that are named, or those that no model heard in its training.

    Args:
        data: Labeled utterances.
        recognizers: Models by their names.
        speakers: Speakers that are named; none for the models' test speakers on the corpus that trained them, and for
            all speakers of another one.

    Raises:
        ConfigError: Nobody of these speaks in the corpus.
    """
    notes, wanted = [], set(speakers) or set(data.table["speaker"])
    if speakers and not wanted & set(data.table["speaker"]):
        raise ConfigError(f"{data.name} has none of the speakers {', '.join(speakers)}")
    for name, recognizer in recognizers.items():
        training = recognizer.config.training
        tested = _unheard(training, data.name)
        if tested is None or not wanted - tested:
            continue
        if tested & wanted and not speakers:
            wanted &= tested
            notes.append(
                f"{data.name} trained {name}: its test speakers alone are evaluated ({', '.join(sorted(wanted))}); "
                "--speaker names others"
            )
        else:
            notes.append(
                f"a corpus called {data.name} trained {name}, which may have heard these utterances: "
                "its figures are optimistic then"
            )
    for line in notes:
        log_line(line)
    chosen = data.table.filter(pl.col("speaker").is_in(list(wanted)))
    return Audience(_with_table(data, chosen), notes)


def _unheard(training: Mapping[str, Any], corpus: str) -> set[str] | None:
    """Speakers of a corpus whom the training of a model did not hear; None if the corpus is no part of it.

    There are none where a corpus of that name trained the model from which the training started, where speakers are
    not known, and where the parts of the training shared them.

    Args:
        training: Record of the training in the model's config.
        corpus: Name of the corpus.
    """
    if corpus in str(training.get("corpus", "")).split("+"):
        protocol = PROTOCOLS.get(str(training.get("protocol", "")))
        if protocol is not None and protocol.speakers_shared:
            return set()
        return {speaker.removeprefix(f"{corpus}/") for speaker in training.get("test_speakers", ())} - {""}
    before = training.get("init")
    return None if before is None or _unheard(before, corpus) is None else set()


def _with_table(data: Corpus, table: pl.DataFrame) -> Corpus:
    present = set(table["emotion"])
    classes = tuple(name for name in data.classes if name in present)
    return Corpus(data.name, data.root, classes, table, data.license, data.left_out, data.roots, data.kept)


def class_counts(data: Corpus) -> dict[str, int]:
    """Number of utterances of each class, in the order of the classes."""
    numbers, counts = np.unique(data.labels(), return_counts=True)
    return {data.classes[number]: int(n) for number, n in zip(numbers.tolist(), counts, strict=True)}
