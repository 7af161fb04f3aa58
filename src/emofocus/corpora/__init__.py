"""Corpora: a reader for each public corpus, manifests and folders for all others, and one table of utterances."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import polars as pl

from emofocus.corpora.class_folders import read_class_folders
from emofocus.corpora.corpus import Corpus, Reader, Utterance, differences
from emofocus.corpora.labels import (
    LabelMap,
    apply_labels,
    classes_of,
    counts_of,
    label_map,
    lines_of,
    presets_of,
    presets_of_labels,
    unknown_lines,
)
from emofocus.corpora.manifest import NO_COLUMNS, is_manifest, read_manifest
from emofocus.corpora.multi_corpus import KEPT, joined, refuse_repeated
from emofocus.corpora.readers.cremad import CREMA_D
from emofocus.corpora.readers.emodb import EMODB
from emofocus.corpora.readers.emovo import EMOVO
from emofocus.corpora.readers.emozionalmente import EMOZIONALMENTE
from emofocus.corpora.readers.esd import ESD
from emofocus.corpora.readers.iemocap import IEMOCAP
from emofocus.corpora.readers.meld import MELD
from emofocus.corpora.readers.mesd import MESD
from emofocus.corpora.readers.msp_podcast import MSP_PODCAST
from emofocus.corpora.readers.nemo import NEMO
from emofocus.corpora.readers.ravdess import RAVDESS, RAVDESS_SONG
from emofocus.corpora.readers.savee import SAVEE
from emofocus.corpora.readers.subesco import SUBESCO
from emofocus.corpora.readers.tess import TESS
from emofocus.corpora.readers.urdu import URDU
from emofocus.errors import CorpusError, one_of
from emofocus.utils.folder_tree import is_folder
from emofocus.utils.progress import log_line
from emofocus.utils.table_text import near

CORPORA: dict[str, Reader] = {
    "ravdess": RAVDESS,
    "ravdess-song": RAVDESS_SONG,
    "iemocap": IEMOCAP,
    "emodb": EMODB,
    "crema-d": CREMA_D,
    "tess": TESS,
    "savee": SAVEE,
    "emovo": EMOVO,
    "nemo": NEMO,
    "urdu": URDU,
    "esd": ESD,
    "meld": MELD,
    "msp-podcast": MSP_PODCAST,
    "emozionalmente": EMOZIONALMENTE,
    "subesco": SUBESCO,
    "mesd": MESD,
}

MANIFEST = "manifest.csv"
"""Name of a manifest that lies in the folder of its corpus."""

FILTERS = ("speaker", "session", "gender", "language", "style", "text", "channel")
"""Columns that the option `--only` accepts."""

__all__ = [
    "CORPORA",
    "Corpus",
    "LabeledTable",
    "Reader",
    "Utterance",
    "is_folder_of_data",
    "read_corpora",
    "read_corpus",
    "read_labeled",
    "reader_of",
]


@dataclass(frozen=True)
class LabeledTable:
    """Utterances of a corpus or manifest with their owner's labels, and the classes that these become.

    Attributes:
        name: Short name.
        root: Folder of the files.
        table: All utterances, columns as in `SCHEMA`.
        labels: Owner's label → class.
        reader: Reader of the corpus; None for a manifest.
        differences: Differences from the owner's counts, before a filter.
    """

    name: str
    root: Path
    table: pl.DataFrame
    labels: LabelMap
    reader: Reader | None = None
    differences: Sequence[str] = ()


def read_corpora(
    names: Sequence[str],
    roots: Sequence[str] = (),
    labels: str | None = None,
    only: Iterable[str] = (),
    keep: Iterable[str] = (),
    columns: Mapping[str, str] = NO_COLUMNS,
) -> Corpus:
    """Read a corpus, or several as one (`emofocus.corpora.multi_corpus`).

    Args:
        names: Names or manifests, as `read_corpus` takes them; a manifest among several is named after its file, or
            after its folder if its file is called `manifest.csv`.
        roots: ``NAME=FOLDER`` for single corpora, or a folder: that of a single corpus, or the one in which several lie
            under their names.
        labels: As `read_corpus`; of several corpora, a name in `emofocus.corpora.multi_corpus.HARMONIES`.
        only: Filters, each for all corpora.
        keep: Names of those of several corpora that are only tested, apart from those in `KEPT`.
        columns: As `read_corpus`, of a single corpus.

    Raises:
        CorpusError: As `read_corpus` and `joined`, or a root or a kept corpus belongs to no corpus.
    """
    refuse_repeated([short_name(name) for name in names])
    short = {name: short_name(name) for name in names}
    folders = roots_of(short, roots)
    only = tuple(only)
    if len(names) == 1 and not keep:
        return read_corpus(names[0], folders.get(names[0]), labels, only, columns)
    if columns:
        raise CorpusError("--columns is for one manifest; of several, rename the columns in the files")
    strange = [name for name in keep if name not in short.values()]
    if strange:
        raise CorpusError(f"--keep {strange[0]}: no such corpus is read ({one_of(short.values())})")
    corpora = [replace(read_corpus(name, folders.get(name), None, only), name=short[name]) for name in names]
    return joined(corpora, labels, (*KEPT, *keep))


def roots_of(short: Mapping[str, str], roots: Sequence[str]) -> dict[str, Path]:
    """Folder of each corpus that has one, by the name that was given; ``short`` are their names in results.

    Raises:
        CorpusError: More than one folder is named for a corpus, or one for none.
    """
    folders: dict[str, Path] = {}
    common: list[str] = []
    for root in roots:
        head, equals, folder = root.partition("=")
        owners = [name for name, own in short.items() if equals and head == own]
        if not owners:
            common.append(root)
        folders.update(dict.fromkeys(owners, Path(folder)))
    if len(common) > 1:
        raise CorpusError(
            f"--root {common[1]}: of several folders, each is given as NAME=FOLDER ({one_of(short.values())})"
        )
    if common and len(short) == 1:
        return dict.fromkeys(short, Path(common[0]))
    if common:
        below = {name: Path(common[0]) / own for name, own in short.items() if not is_manifest(name)}
        return below | folders
    return folders


def short_name(name: str) -> str:
    """Name of a corpus in results."""
    path = Path(name)
    if is_folder_of_data(name):
        return path.absolute().name
    if not is_manifest(name):
        return name
    return path.absolute().parent.name if path.name == MANIFEST else path.stem


def is_folder_of_data(name: str) -> bool:
    """Whether a name is a folder with a manifest or with a folder for each class, not a corpus or a database."""
    return name not in CORPORA and not is_manifest(name) and is_folder(Path(name))


def read_corpus(
    name: str,
    root: str | Path | None = None,
    labels: str | None = None,
    only: Iterable[str] = (),
    columns: Mapping[str, str] = NO_COLUMNS,
) -> Corpus:
    """Read a corpus from its owner's layout, from a manifest, or from a folder with a folder for each class.

    Args:
        name: Name in `CORPORA`, path of a CSV or JSONL manifest, folder of an audformat database, or folder with a
            `manifest.csv` or with a folder for each class. Any other name is that of a corpus in whose folder, the
            ``root``, there is a `manifest.csv`.
        root: Folder of the corpus; for a manifest, the folder of its paths, by default the manifest's own.
        labels: Name of a preset, or ``"happy=hap,exc sad=sad"``; the corpus' usual classes by default.
        only: Filters such as ``style=improvised``; utterances must pass all of them.
        columns: Our column → its name in the manifest, for columns of other names.

    Raises:
        CorpusError: The corpus is unknown, the folder does not hold it, or a filter keeps nothing.
    """
    source = read_labeled(name, root, labels, only, columns)
    _log_differences(source.name, source.differences)
    kept, left_out = apply_labels(source.table, source.labels)
    license = source.reader.license if source.reader else "unknown"
    return Corpus(source.name, source.root, classes_of(source.labels), kept, license, left_out)


def read_labeled(
    name: str,
    root: str | Path | None = None,
    labels: str | None = None,
    only: Iterable[str] = (),
    columns: Mapping[str, str] = NO_COLUMNS,
) -> LabeledTable:
    """Read the utterances of a corpus or manifest, and name on stderr the class of each label, and labels without one.

    Args:
        name: As in `read_corpus`.
        root: As in `read_corpus`.
        labels: As in `read_corpus`.
        only: As in `read_corpus`.
        columns: As in `read_corpus`.

    Raises:
        CorpusError: As `read_corpus`.
    """
    if is_manifest(name):
        source = _read_manifest(Path(name), root, labels, only, columns)
    elif name not in CORPORA and root is not None and (Path(root) / MANIFEST).is_file():
        source = _read_manifest(Path(root) / MANIFEST, root, labels, only, columns)
        source = replace(source, name=short_name(name))
    elif is_folder_of_data(name) and (Path(name) / MANIFEST).is_file():
        manifest = _read_manifest(Path(name) / MANIFEST, root, labels, only, columns)
        source = replace(manifest, name=short_name(name))
    else:
        if columns:
            raise CorpusError(f"--columns: {name} is no manifest, whose columns may have other names")
        folder = is_folder_of_data(name)
        source = _read_class_folders(Path(name), labels, only) if folder else _read(name, root, labels, only)
    counts = counts_of(source.table)
    lines = [*lines_of(counts, source.labels)]
    if source.reader is None and labels in (None, "default"):
        lines += unknown_lines(counts, source.labels)
        lines += ["--labels says what is meant: all, four, or such as 'happy=hap,exc sad=sad'"] * (len(lines) > 1)
    for line in lines:
        log_line(f"{source.name}: {line}")
    return source


def reader_of(name: str) -> Reader:
    """Reader of a corpus by name.

    Raises:
        CorpusError: The corpus is unknown.
    """
    if name not in CORPORA:
        others = (
            "or a manifest that ends in .csv or .jsonl, a folder with a folder for each class, "
            f"or any name with a --root that holds a {MANIFEST}"
        )
        raise CorpusError(f"unknown corpus {name!r} ({one_of(CORPORA)}; {others})")
    return CORPORA[name]


def _read(name: str, root: str | Path | None, labels: str | None, only: Iterable[str]) -> LabeledTable:
    reader = reader_of(name)
    if root is None:
        raise CorpusError(f"the corpus {name} needs --root, the folder it is in")
    whole = reader.read(Path(root))
    mapping = label_map(labels, presets_of(reader))
    _refuse_unknown_labels(name, mapping, reader.expected.labels)
    return LabeledTable(name, Path(root), filtered(whole, only), mapping, reader, differences(whole, reader))


def _read_manifest(
    path: Path, root: str | Path | None, labels: str | None, only: Iterable[str], columns: Mapping[str, str]
) -> LabeledTable:
    root = Path(root) if root is not None else path if path.is_dir() else path.parent
    table = read_manifest(path, check_files=root, speaker_of=speaker_by_name, columns=columns)
    return _labeled(path.stem, path.name, root, filtered(table, only), labels)


def _read_class_folders(path: Path, labels: str | None, only: Iterable[str]) -> LabeledTable:
    table = filtered(read_class_folders(path, speaker_by_name), only)
    name = short_name(str(path))
    return _labeled(name, name, path, table, labels)


def _labeled(name: str, source: str, root: Path, table: pl.DataFrame, labels: str | None) -> LabeledTable:
    """Table of no known corpus, with the classes of its labels; ``source`` is its name in messages."""
    counts = counts_of(table)
    mapping = label_map(labels, presets_of_labels(counts))
    _refuse_unknown_labels(source, mapping, counts)
    return LabeledTable(name, root, table, mapping)


def speaker_by_name(file: str) -> str:
    """Speaker of a file, parsed by the first corpus whose naming rule fits; empty if none does."""
    for reader in CORPORA.values():
        with suppress(CorpusError):
            utterance = reader.parse(PurePosixPath(file))
            if utterance is not None:
                return utterance.speaker
    return ""


def filtered(table: pl.DataFrame, only: Iterable[str]) -> pl.DataFrame:
    """Keep the rows that pass filters such as ``style=improvised``.

    Raises:
        CorpusError: A column is unknown, or no row has the value.
    """
    for item in only:
        column, _, value = item.partition("=")
        if column not in FILTERS:
            raise CorpusError(f"--only {item}: no such column ({one_of(FILTERS)})")
        kept = table.filter(pl.col(column) == value)
        if not len(kept):
            raise CorpusError(f"--only {item} keeps nothing ({one_of(table[column].unique().sort()[:20])})")
        table = kept
    return table


def _log_differences(name: str, lines: Sequence[str], at_most: int = 3) -> None:
    for line in lines[:at_most]:
        log_line(f"{name}: {line}")
    if len(lines) > at_most:
        log_line(f"{name}: ... and {len(lines) - at_most} more: emofocus corpora check")


def _refuse_unknown_labels(name: str, mapping: Mapping[str, str], known: Collection[str]) -> None:
    unknown = [label for label in mapping if label not in known]
    if unknown:
        raise CorpusError(f"{name} has no label {unknown[0]!r}{near(unknown[0], known)} ({one_of(known)})")
