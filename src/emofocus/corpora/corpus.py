"""A corpus as a table with one row per utterance, and the reader that makes it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emofocus import audio
from emofocus.errors import CorpusError, one_of
from emofocus.utils.folder_tree import Report, files_below, log_unreadable

SUFFIXES = (".wav", ".flac", ".opus")
"""Suffixes of a corpus' audio files."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labeled stretch of speech; unknown values are empty.

    Attributes:
        file: Path below the corpus' root, with forward slashes.
        emotion: The owner's label, as a reader gives it; in a `Corpus`, one of its classes.
        speaker: Name of the speaker, unique within the corpus.
        key: Name of the utterance, unique within the corpus; by default the file without its suffix, and the times.
        start: Beginning in the file, in seconds; None for a whole file.
        end: End in the file, in seconds; None for the end of the file.
        session: Recording session, if its speakers were recorded together.
        text: Spoken text, or a code for it.
        gender: ``female``, ``male`` or empty.
        language: ISO 639 code.
        style: Manner of elicitation, in the corpus' own terms (``improvised``, ``scripted``).
        source: Key of the original, if this is a copy, an altered copy or a cut.
        embedding: File of a speaker embedding (`emofocus.data.speaker_embeddings`), below the root.
        corpus: Name of the corpus, in a table of several corpora; empty in a table of one.
        partition: Part in which the owner put it: ``train``, ``valid``, ``test``, or ``test1`` and so on of several.
        channel: Way of the recording, in the corpus' own terms (``studio``, ``telephone``).
    """

    file: str
    emotion: str
    speaker: str
    key: str = ""
    start: float | None = None
    end: float | None = None
    session: str = ""
    text: str = ""
    gender: str = ""
    language: str = ""
    style: str = ""
    source: str = ""
    embedding: str = ""
    corpus: str = ""
    partition: str = ""
    channel: str = ""


SCHEMA = pl.Schema(
    {name: pl.Float64() if name in ("start", "end") else pl.String() for name in Utterance.__dataclass_fields__}
)
"""Columns of a corpus' table: the fields of `Utterance`."""


class Utterances(Sequence[Utterance]):
    """Sequence of records over the rows of a table; each record is made on access."""

    def __init__(self, table: pl.DataFrame) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> Utterance:  # type: ignore[override]
        return Utterance(*self._table.row(int(index)))

    def __iter__(self) -> Iterator[Utterance]:
        return (Utterance(*row) for row in self._table.iter_rows())


@dataclass(frozen=True, eq=False)
class Corpus:
    """Utterances of one corpus, or of several (`emofocus.corpora.multi_corpus`).

    Files, keys, speakers and sessions of several corpora begin with the name of their corpus and a slash.

    Attributes:
        name: Short name.
        root: Folder of the files of one corpus.
        classes: Emotions in the order of the logits.
        table: One row per utterance, columns as in `SCHEMA`.
        license: SPDX name, or words.
        left_out: Number of utterances of each owner's label that has no class.
        roots: Folder of each of several corpora.
        kept: Those of several corpora that are only tested, and never trained on.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    table: pl.DataFrame
    license: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    roots: Mapping[str, Path] = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _refuse_unknown_classes(self)
        _refuse_wrong_times(self)
        _refuse_repeated_keys(self)

    @classmethod
    def of(
        cls, name: str, root: Path, classes: Sequence[str], utterances: Iterable[Utterance], license: str = "unknown"
    ) -> "Corpus":
        """Make a corpus of records whose emotions are classes.

        Raises:
            CorpusError: An emotion is no class, keys repeat, or times are negative or reversed.
        """
        return cls(name, root, tuple(classes), to_table(utterances), license)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def utterances(self) -> Utterances:
        """Rows of the table as records."""
        return Utterances(self.table)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the corpora, in their order; empty for a single corpus."""
        return tuple(name for name in self.table["corpus"].unique(maintain_order=True) if name)

    def has(self, column: str) -> bool:
        """Whether every utterance has a value in a column."""
        return not bool((self.table[column] == "").any())

    def path(self, index: int) -> Path:
        """File of one utterance."""
        return self.path_of(str(self.table["file"][index]))

    def path_of(self, file: str) -> Path:
        """Path of a file that the table names."""
        if not self.roots:
            return self.root / file
        name, _, rest = file.partition("/")
        return self.roots[name] / rest

    def waveform(self, index: int) -> audio.Waveform:
        """Samples (T,) of one utterance, 16 kHz mono.

        Raises:
            AudioError: The file cannot be decoded; see `emofocus.audio.loading.load`.
        """
        item = self.utterances[index]
        return audio.load(self.path(index), item.start, item.end)

    def labels(self) -> NDArray[np.int64]:
        """Class numbers (U,), in the order of the utterances."""
        numbers = self.table["emotion"].replace_strict(list(self.classes), list(range(len(self.classes))))
        return numbers.cast(pl.Int64).to_numpy()

    def labelled(self) -> NDArray[np.bool_]:
        """Whether the corpus of each utterance has utterances of each class (U, C)."""
        corpora, number = np.unique(self.table["corpus"].to_numpy().astype(str), return_inverse=True)
        present = np.zeros((len(corpora), len(self.classes)), dtype=bool)
        present[number, self.labels()] = True
        return np.asarray(present[number])

    def cells(self, columns: Sequence[str]) -> NDArray[np.int64]:
        """Number of each utterance's combination of values in some columns (U,)."""
        numbers = self.table.select(cell=pl.struct(columns).rank("dense"))["cell"]
        return numbers.cast(pl.Int64).to_numpy() - 1


@dataclass(frozen=True)
class Expected:
    """Content of a complete corpus, for `emofocus corpora check`.

    Attributes:
        labels: Number of utterances of each of the owner's labels; None where its owner does not say.
        speakers: Number of speakers that its files tell apart; None where its owner does not say.
        keys: Function that yields the keys of all utterances; it yields none if names follow no rule.
        sessions: Number of utterances of each session and class, for a corpus with sessions. Publications count
            classes, such as happy and excited together, so these are not the owner's labels.
        total: Number of utterances, where those of the labels are not known.
    """

    labels: Mapping[str, int | None]
    speakers: int | None
    keys: Callable[[], Iterable[str]] = tuple
    sessions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    total: int | None = None

    @property
    def utterances(self) -> int | None:
        """Number of utterances; None where its owner does not say, or it grows with each release."""
        known = [number for number in self.labels.values() if number is not None]
        return self.total if len(known) < len(self.labels) else sum(known)


@dataclass(frozen=True)
class Reader:
    """Reader of one corpus in its owner's layout.

    Attributes:
        title: Full name.
        language: ISO 639 code; several with spaces, of which each utterance then tells its own.
        license: SPDX name, or words.
        citation: Publication to cite.
        obtain: The owner's page, where the corpus is offered or requested.
        layout: Example of a file's path, for messages.
        labels: Owner's label → class, in the order of the logits; ``expected.labels`` also has the labels without a
            class.
        presets: Other label maps by name.
        expected: Content of the complete corpus.
        parse: Path below the root → utterance as its name describes it; None for a file of something else.
        find: Root → utterances with their owner's labels, sorted by file, for a corpus whose names do not tell
            everything.
    """

    title: str
    language: str
    license: str
    citation: str
    obtain: str
    layout: str
    labels: Mapping[str, str]
    expected: Expected
    parse: Callable[[PurePosixPath], Utterance | None]
    find: Callable[[Path], Iterable[Utterance]] | None = None
    presets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def read(self, root: Path) -> pl.DataFrame:
        """Read the corpus, or the part of it, below ``root``.

        Returns:
            Table with the columns of `SCHEMA`; emotions are the owner's labels.

        Raises:
            CorpusError: ``root`` is no folder, holds no file of this corpus, or a file in it is damaged.
        """
        if not root.is_dir():
            raise CorpusError(f"{root}: no such folder; {self.title} is expected there as {self.layout}")
        table = to_table(self.find(root) if self.find else read_by_name(self.parse)(root))
        if not len(table):
            audio = len(audio_files(root))
            raise CorpusError(
                f"{root}: not a {self.title} folder: none of its {audio} audio files is named like {self.layout}"
            )
        repeated = table.filter(table["key"].is_duplicated())["key"].unique().sort()
        if len(repeated):
            raise CorpusError(
                f"{root}: {len(repeated)} utterances are there twice, for example {repeated[0]!r}; "
                "point --root at one copy of the corpus"
            )
        strange = table.filter(~table["emotion"].is_in(list(self.expected.labels)))
        if len(strange):
            raise CorpusError(
                f"{root / strange['file'][0]}: {strange['emotion'][0]!r} is no emotion of {self.title} "
                f"({one_of(self.expected.labels)})"
            )
        return table.with_columns(language=pl.col("language").replace("", self.language))


def differences(table: pl.DataFrame, reader: Reader) -> list[str]:
    """Differences of a corpus from its owner's counts, one short sentence each; empty for a complete corpus.

    Args:
        table: The whole table that `Reader.read` returned.
        reader: Reader of the corpus.
    """
    expected = reader.expected
    labels = dict.fromkeys(expected.labels, 0) | dict(table["emotion"].value_counts().iter_rows())
    lines = [
        _difference(len(table), expected.utterances, "utterances"),
        _difference(len(set(table["speaker"]) - {""}), expected.speakers, "speakers"),
        *_session_differences(table, reader),
        *(_difference(n, expected.labels.get(label, 0), f"utterances labeled {label}") for label, n in labels.items()),
    ]
    return [line for line in lines if line]


def _session_differences(table: pl.DataFrame, reader: Reader) -> Iterator[str]:
    kept = table.filter(table["emotion"].is_in(list(reader.labels)))
    names = kept["emotion"].replace_strict(dict(reader.labels), return_dtype=pl.String)
    present = {(session, name): n for session, name, n in kept.group_by("session", names).len().iter_rows()}
    for session, counts in reader.expected.sessions.items():
        for name, n in counts.items():
            yield _difference(present.get((session, name), 0), n, f"{name} utterances", f"Session {session} has ")


def _difference(present: int, whole: int | None, unit: str, prefix: str = "") -> str:
    if whole in (None, present):
        return ""
    if prefix or whole is None or present > whole:
        return f"{prefix}{present} {unit}, its owner says {whole}"
    return f"{present} of {whole} {unit}"


def read_by_name(parse: Callable[[PurePosixPath], Utterance | None]) -> Callable[[Path], Iterator[Utterance]]:
    """Make a function `Reader.find` for a corpus whose file names tell everything.

    Args:
        parse: Path below the root → utterance; None for a file of something else.
    """

    def find(root: Path) -> Iterator[Utterance]:
        for path in audio_files(root):
            utterance = parse(path)
            if utterance is not None:
                yield utterance

    return find


def audio_files(root: Path, report: Report = log_unreadable) -> list[PurePosixPath]:
    """Paths below ``root`` of all audio files, sorted by name; linked folders are followed, each folder once.

    Args:
        root: Folder of the corpus.
        report: Takes the error of each folder that cannot be read.
    """
    return sorted(
        PurePosixPath(path.relative_to(root).as_posix())
        for path in files_below(root, report)
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("._")
    )


def to_table(utterances: Iterable[Utterance]) -> pl.DataFrame:
    """Make a table of records; each record without a key gets one."""
    return with_keys(pl.DataFrame([tuple(asdict(item).values()) for item in utterances], schema=SCHEMA, orient="row"))


def with_keys(table: pl.DataFrame) -> pl.DataFrame:
    """Fill empty keys with the file name without suffix, and the times of a cut."""
    times = pl.format("@{}-{}", pl.col("start").fill_null(0.0), pl.col("end").cast(pl.String).fill_null(""))
    whole = pl.col("start").is_null() & pl.col("end").is_null()
    default = pl.col("file").str.replace(r"\.[A-Za-z0-9]+$", "") + pl.when(whole).then(pl.lit("")).otherwise(times)
    return table.with_columns(key=pl.when(pl.col("key") == "").then(default).otherwise(pl.col("key")))


def _refuse_unknown_classes(corpus: Corpus) -> None:
    strange = corpus.table.filter(~pl.col("emotion").is_in(list(corpus.classes)))
    if len(strange):
        raise CorpusError(
            f"{corpus.name}: {strange['key'][0]}: {strange['emotion'][0]!r} is no class of it "
            f"({one_of(corpus.classes)}); {len(strange)} utterances are like this"
        )


def _refuse_wrong_times(corpus: Corpus) -> None:
    start = pl.col("start").fill_null(0.0)
    wrong = corpus.table.filter(~(start >= 0) | (pl.col("end").is_not_null() & ~(pl.col("end") > start)))
    if len(wrong):
        key, start_of, end_of = wrong.select("key", "start", "end").row(0)
        raise CorpusError(f"{corpus.name}: {key}: times from {start_of} to {end_of} s are negative or reversed")


def _refuse_repeated_keys(corpus: Corpus) -> None:
    repeated = corpus.table.filter(pl.col("key").is_duplicated())
    if len(repeated):
        raise CorpusError(f"{corpus.name}: the key {repeated['key'][0]!r} is there more than once")
