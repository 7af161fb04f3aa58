"""Evaluation of models on labeled speech: from models and recordings, or from `predictions.csv`, to one report."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from emofocus.corpora import Corpus, read_corpus
from emofocus.corpora.labels import aligned
from emofocus.corpora.manifest import columns_of
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.evaluation.assessment.answers import FILE, Answers, read_answers, shared_utterances
from emofocus.evaluation.assessment.classes import Classes, classes_of_text
from emofocus.evaluation.assessment.measures import ModelFigures, PairedTest, measure_model, paired_tests
from emofocus.evaluation.assessment.recognized import Recognition, audience, class_counts, recognize_corpus
from emofocus.metrics.statistics import resampled_unit
from emofocus.recognition.options import DEFAULT_OPTIONS, RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.progress import log_line
from emofocus.version import __version__

SHIPPED = "shipped"
"""Name of the shipped model."""

FEW = 5
"""Utterances of a class; with fewer, its recall says next to nothing."""


class EvaluationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Choices of an evaluation.

    Attributes:
        corpus: Labeled speech, as in `read_corpus`; None where all models are files of predictions.
        root: Folder of the corpus.
        labels: Labels of the corpus and their classes, as in `read_corpus`.
        only: Filters of the corpus, as in `read_corpus`.
        columns: Names of a manifest's columns, as in `columns_of`.
        speakers: Speakers to evaluate; none for those that no model heard in its training.
        classes: Classes that are asked for, as in `classes_of_text`; None for all of each model.
        against: Another model, which all are tested against.
        workers: Utterances recognized side by side.
        recognition: How models are loaded.
    """

    corpus: str | None = None
    root: str | None = None
    labels: str | None = None
    only: tuple[str, ...] = ()
    columns: str | None = None
    speakers: tuple[str, ...] = ()
    classes: str | None = None
    against: str | None = None
    workers: int | None = None
    recognition: RecognitionOptions = DEFAULT_OPTIONS


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation.

    Attributes:
        corpus: Name of the corpus, or the files of predictions.
        utterances: Number of utterances that are evaluated.
        speakers: Number of their speakers; 0 where nobody knows them.
        unit: Unit that intervals resample: ``speakers`` or ``utterances``.
        classes: Class that has utterances → labels of the corpus, or classes of the models, that count as it.
        left_out: Number of utterances of each label that is not evaluated, because a model has no such class or nobody
            asked for it.
        failed: Utterances that could not be recognized.
        restricted: Whether only some classes were asked for.
        notes: Sentences that a reader must know.
        models: Figures of each model.
        tests: Paired tests.
        version: Version of emofocus.
    """

    corpus: str
    utterances: int
    speakers: int
    unit: str
    classes: dict[str, list[str]]
    left_out: dict[str, int]
    failed: int
    restricted: bool
    notes: list[str]
    models: list[ModelFigures]
    tests: list[PairedTest]
    version: str = __version__


class Source(NamedTuple):
    """Where answers come from: a file of predictions, or a model."""

    name: str
    file: Path | None
    model: str | None


def evaluate(
    models: Sequence[str],
    options: EvaluationOptions,
    folder: Path | None = None,
    stem: str = FILE.removesuffix(".csv"),
    report: Callable[[AudioError], None] = lambda _: None,
) -> Report:
    """Evaluate models on labeled speech.

    Args:
        models: Model directories, ``org/name`` on the Hub, `SHIPPED`, files `predictions.csv`, or folders that hold
            one. None are the shipped model.
        options: The corpus, and other choices.
        folder: Folder that keeps the answers of models; None to forget them.
        stem: Name of the files in it, without a suffix.
        report: Takes the error of each utterance that cannot be recognized.

    Raises:
        ConfigError: Models and labels have no class in common, there is one class alone, a choice is not valid, or the
            folder holds other answers.
        CorpusError: The corpus cannot be read.
        ModelError: A model cannot be loaded.
    """
    named = [*(models or (SHIPPED,)), *([options.against] if options.against is not None else [])]
    sources = _sources(named)
    with _kept(folder) as place:
        taken = _answers(sources, options, place, stem, report)
    first = taken.answers[0]
    answers = shared_utterances([first, *(item.renamed(first.classes) for item in taken.answers[1:])])
    notes = [*taken.notes, *_unshared(taken.answers, answers)]
    left_out = dict(taken.left_out)
    answers, asked = _restricted(answers, options.classes, left_out)
    return _report(taken._replace(notes=notes), answers, asked, left_out, options)


def _unshared(given: Sequence[Answers], shared: Sequence[Answers]) -> Iterator[str]:
    """A sentence on utterances that a model lacks and another has, which is a line on stderr, too."""
    lost = len(set().union(*(item.utterances for item in given))) - len(shared[0])
    if lost:
        line = f"{lost} utterances that not all models have answered are in no figure"
        log_line(line)
        yield line


def _restricted(
    answers: Sequence[Answers], text: str | None, left_out: dict[str, int]
) -> tuple[list[Answers], Classes | None]:
    """Answers to utterances of the classes that are asked for, or that all models have; others are counted.

    Raises:
        ConfigError: The text asks for what a model lacks, or fewer than two classes have utterances.
    """
    known = tuple(dict.fromkeys(name for item in answers for name in item.classes))
    labels = answers[0].labels
    if text is None:
        kept = set.intersection(*(set(item.classes) for item in answers))
        asked, made = None, [item.with_labels_in(kept) for item in answers]
    else:
        asked = classes_of_text(text, known, labels)
        kept = {member for members in asked.values() for member in members}
        for item in answers:
            for name, members in asked.items():
                if not set(members) & set(item.classes):
                    raise ConfigError(f"--classes {text}: {item.name} has no class {name!r} ({one_of(item.classes)})")
        made = [item.asked(asked) for item in answers]
    for label in labels:
        if label not in kept:
            left_out[label] = left_out.get(label, 0) + 1
    _refuse_too_few(made, known)
    return made, asked


class _Taken(NamedTuple):
    """Answers of all models, and what is to be said of the corpus."""

    answers: list[Answers]
    corpus: str
    labels: Mapping[str, list[str]]
    left_out: Mapping[str, int]
    notes: list[str]
    failed: int


def _sources(named: Sequence[str]) -> list[Source]:
    """Source of each model's answers, with a short name that no other has."""
    sources = [_source(text) for text in named]
    short = [source.name for source in sources]
    return [
        source if short.count(source.name) == 1 else source._replace(name=text)
        for source, text in zip(sources, named, strict=True)
    ]


def _source(text: str) -> Source:
    path = Path(text)
    if text == SHIPPED:
        return Source(f"{SHIPPED} model", None, None)
    if path.suffix.lower() == ".csv" or ((path / FILE).is_file() and not (path / "config.json").is_file()):
        file = path if path.suffix.lower() == ".csv" else path / FILE
        return Source("/".join(file.absolute().parent.parts[-2:]), file, None)
    return Source(path.absolute().name, None, text)


@contextmanager
def _kept(folder: Path | None) -> Iterator[Path]:
    """A folder for answers: the one that is named, or one that is removed behind."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _answers(
    sources: Sequence[Source],
    options: EvaluationOptions,
    folder: Path,
    stem: str,
    report: Callable[[AudioError], None],
) -> _Taken:
    models = [source for source in sources if source.file is None]
    if models and options.corpus is None:
        raise ConfigError(f"name labeled speech with --corpus, on which to evaluate {models[0].name}")
    if not models and options.corpus is not None:
        raise ConfigError(f"--corpus {options.corpus}: predictions.csv files hold their own labels; leave it out")
    if not models:
        files = [read_answers(source.file, source.name) for source in sources if source.file]
        names = ", ".join(dict.fromkeys(item.name for item in files))
        return _Taken(files, names, {}, {}, [], 0)
    one_thread = replace(options.recognition, threads=1)
    recognizers = {source.name: Recognizer.load(source.model, one_thread) for source in models}
    whole = read_corpus(str(options.corpus), options.root, options.labels, options.only, columns_of(options.columns))
    data, notes = audience(whole, recognizers, options.speakers)
    mapped, left_out = _mapped(data, recognizers)
    failed: set[str] = set()

    def failure(error: AudioError) -> None:
        failed.add(str(error))
        report(error)

    answers = []
    for number, source in enumerate(sources):
        file = source.file
        if file is None:
            file = folder / f"{stem}{f'-{number + 1}' if number else ''}.csv"
            job = Recognition(recognizers[source.name], source.name, file, options.workers)
            if not recognize_corpus(job, data, failure):
                raise ConfigError(f"{source.name} could recognize none of the utterances of {data.name}")
        answers.append(read_answers(file, source.name))
    return _Taken(answers, data.name, mapped, left_out, notes, len(failed))


def _mapped(data: Corpus, recognizers: Mapping[str, Recognizer]) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Class of the first model → labels that mean it, and the number of utterances of each label that none takes.

    Raises:
        ConfigError: No label is a class of all models.
    """
    counts = class_counts(data)
    names = [aligned(counts, recognizer.labels) for recognizer in recognizers.values()]
    shared = [label for label in counts if all(label in mapping for mapping in names)]
    labels = next(iter(recognizers.values())).labels
    if not shared:
        listed = ", ".join(f"{label} {n}" for label, n in counts.items())
        raise ConfigError(
            f"{data.name} and the model have no class in common: the corpus has {listed} ({one_of(labels)}); "
            "--labels maps them, such as 'angry=wut happy=freude'"
        )
    mapped: dict[str, list[str]] = {}
    for label in shared:
        mapped.setdefault(names[0][label], []).append(label)
    left_out = {label: n for label, n in counts.items() if label not in shared}
    changed = [f"{name} = {' + '.join(own)}" for name, own in mapped.items() if own != [name]]
    if changed:
        log_line(f"{data.name}: scored as the model's classes: {', '.join(changed)}")
    if left_out:
        listed = ", ".join(f"{label} {n}" for label, n in left_out.items())
        log_line(f"{data.name}: LEFT OUT, because the model has no such class: {listed}")
    return mapped, {**data.left_out, **left_out}


def _refuse_too_few(answers: Sequence[Answers], known: Sequence[str]) -> None:
    """Refuse utterances of one class alone, or none.

    Raises:
        ConfigError: Fewer than two classes have utterances.
    """
    labels = dict.fromkeys(answers[0].labels)
    if not labels:
        raise ConfigError(f"no utterance has a class that is asked for ({one_of(known)})")
    if len(labels) == 1:
        raise ConfigError(
            f"all {len(answers[0])} utterances are {next(iter(labels))}: an evaluation needs two classes at least"
        )


def _report(
    taken: _Taken,
    answers: Sequence[Answers],
    asked: Classes | None,
    left_out: Mapping[str, int],
    options: EvaluationOptions,
) -> Report:
    first = answers[0]
    classes = tuple(dict.fromkeys(name for item in answers for name in item.classes))
    present = set(first.labels)
    meant = {name: list(members) for name, members in (asked or {}).items()} or taken.labels
    mapped = {name: meant.get(name, [name]) for name in classes if name in present}
    speakers = set(first.speakers) - {""}
    tested = options.against is not None
    return Report(
        corpus=taken.corpus,
        utterances=len(first),
        speakers=len(speakers),
        unit=resampled_unit(first.speakers),
        classes=mapped,
        left_out=dict(left_out),
        failed=taken.failed,
        restricted=asked is not None,
        notes=[*taken.notes, *_notes(first)],
        models=[measure_model(item, classes) for item in answers],
        tests=paired_tests(answers[:-1], answers[-1], classes) if tested else [],
    )


def _notes(answers: Answers) -> Iterator[str]:
    """Sentences on data that are too few, each also a line on stderr."""
    speakers = set(answers.speakers) - {""}
    lines = []
    if not speakers:
        lines.append("who speaks is not known: intervals resample utterances, and are too narrow for new speakers")
    elif resampled_unit(answers.speakers) == "utterances":
        people = "one speaker" if len(speakers) == 1 else f"{len(speakers)} speakers"
        lines.append(f"{people}: intervals resample utterances, and say nothing about other speakers")
    counts = {name: answers.labels.count(name) for name in dict.fromkeys(answers.labels)}
    few = [f"{name} {n}" for name, n in counts.items() if n < FEW]
    if few:
        lines.append(f"classes with fewer than {FEW} utterances, whose recalls say next to nothing: {', '.join(few)}")
    for line in lines:
        log_line(line)
        yield line
