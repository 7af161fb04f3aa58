"""File formats of splits: JSON, EmoBox' folds, a CSV with a column ``split``, a folder of lists."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl

from emofocus.corpora import Corpus, reader_of
from emofocus.corpora.corpus import SCHEMA, to_table, with_keys
from emofocus.corpora.manifest import SPLITS, read_listing, read_split_table
from emofocus.errors import SplitError, one_of
from emofocus.splits.folds import PARTS, Fold, Folds, locate, refuse_kept
from emofocus.splits.protocols import PROTOCOLS, VALIDATION_GROUPS, part_of, speaker_groups, speaker_units
from emofocus.utils.folder_tree import files_below, log_unreadable

LISTS = (".txt", ".lst", ".list", ".csv", ".jsonl")
"""Suffixes of files that may list the utterances of a part."""

_PART = re.compile(rf"(?i)(?:^|[^a-z])({'|'.join(sorted(SPLITS, key=len, reverse=True))})(?:[^a-z]|$)")
_FOLD = re.compile(r"(?i)fold[_-]?(\d+)")
_AUDIO = re.compile(r"(?i)^(.*?\.(?:wav|flac|mp3|ogg|opus|m4a|webm))(?=[\s,;|]|$)")


@dataclass(frozen=True, eq=False)
class Split:
    """Folds as they were read, with a table of their utterances.

    Attributes:
        source: File or folder of the split.
        protocol: Name of its protocol, or of its file.
        seed: Seed of the folds; None if unknown.
        table: One row per utterance, columns of `SCHEMA`; unknown values are empty.
        folds: Positions in the table.
    """

    source: Path
    protocol: str
    seed: int | None
    table: pl.DataFrame
    folds: tuple[Fold, ...]

    def within(self, corpus: Corpus) -> tuple[Fold, ...]:
        """Folds as positions in a corpus.

        Raises:
            SplitError: Some utterances are not in the corpus.
        """
        files = self.table["file"].to_list()
        positions = locate(files, corpus, str(self.source)) if files else np.zeros(0, np.int64)
        return tuple(Fold(*(positions[part] for part in fold.parts().values())) for fold in self.folds)


def utterances_from_names(split: Split, name: str) -> pl.DataFrame:
    """Parse a split's file names into a table, for a corpus whose files are not at hand.

    Args:
        split: Split with the file names.
        name: Name of a corpus in `CORPORA`.

    Returns:
        One row per utterance, columns of `SCHEMA`.

    Raises:
        CorpusError: The corpus is unknown.
        SplitError: Some names are not of this corpus.
    """
    reader = reader_of(name)
    rows = [reader.parse(PurePosixPath(file)) for file in split.table["file"]]
    strange = [file for file, row in zip(split.table["file"], rows, strict=True) if row is None]
    if strange:
        raise SplitError(
            f"{split.source}: {len(strange)} names are not like {reader.layout}, for example {strange[0]!r}"
        )
    parsed = to_table(row for row in rows if row is not None)
    listed = split.table["emotion"]
    return parsed.with_columns(emotion=pl.when(listed == "").then(parsed["emotion"]).otherwise(listed))


def read_split(path: Path) -> Split:
    """Read a split in any format of this module.

    Raises:
        SplitError: ``path`` holds no split, or a damaged one.
        CorpusError: A line of a list or a manifest is wrong.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise SplitError(f"{path}: no such file or folder")
    if path.suffix == ".json":
        return _read_json(path)
    if path.suffix in (".csv", ".jsonl"):
        return _read_table(path)
    raise SplitError(f"{path}: a split is a .json of folds, a .csv or .jsonl with a column split, or a folder of lists")


def read_folds(path: Path, corpus: Corpus, protocol: str | None, seed: int) -> Folds:
    """Read folds for training on a corpus.

    If folds have no validation part, as EmoBox' folds, whole speakers of the training part form one.

    Args:
        path: Split in a format that `read_split` reads.
        corpus: Corpus to train on.
        protocol: Name of the protocol, where ``random`` admits that speakers are shared; None for the split's own.
        seed: Seed of a validation part.

    Raises:
        SplitError: The folds do not match the corpus.
    """
    split = read_split(path)
    name = protocol or split.protocol
    if protocol not in (None, "random", split.protocol):
        raise SplitError(f"--protocol {protocol} with --folds {path}: these folds are called {split.protocol!r}")
    folds, note = [], f"folds of {path.name}"
    for fold in split.within(corpus):
        if not len(fold.valid):
            fold = with_validation(corpus, fold, seed)
            note = f"folds of {path.name}, with a speaker-disjoint validation part of ours"
        folds.append(fold)
    refuse_kept(corpus, folds)
    if name in PROTOCOLS:
        note = f"{PROTOCOLS[name].note} ({note})"
    return Folds(name, note, name == "random", split.seed, tuple(folds))


def with_validation(corpus: Corpus, fold: Fold, seed: int) -> Fold:
    """Move some whole speakers of the training part to a validation part."""
    part = part_of(corpus, fold.train)
    count = min(VALIDATION_GROUPS, len(set(speaker_units(part))))
    chosen = speaker_groups(part, count, seed) == 0
    return Fold(train=fold.train[~chosen], valid=fold.train[chosen], test=fold.test)


def _read_json(path: Path) -> Split:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        parts = [{name: [str(key) for key in fold.get(name, [])] for name in PARTS} for fold in values["folds"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SplitError(
            f'{path}: no folds; {{"folds": [{{"train": […], "valid": […], "test": […]}}, …]}} is expected ({error})'
        ) from error
    names = list(dict.fromkeys(key for fold in parts for keys in fold.values() for key in keys))
    position = {name: index for index, name in enumerate(names)}
    folds = tuple(Fold.of(*([position[key] for key in fold[name]] for name in PARTS)) for fold in parts)
    seed = values.get("seed")
    protocol = str(values.get("protocol", path.stem))
    return Split(path, protocol, seed if isinstance(seed, int) else None, _bare_table(names), folds)


def _read_table(path: Path) -> Split:
    table = read_split_table(path)
    numbers = table["fold"].to_list() if "fold" in table.columns else [""] * len(table)
    parts: dict[str, dict[str, list[int]]] = defaultdict(lambda: {name: [] for name in PARTS})
    keys = table["key"].to_list()
    unique = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    for key, number, part in zip(keys, numbers, table["split"], strict=True):
        parts[number][part].append(unique[key])
    known = table.select(list(SCHEMA)).unique("key", keep="first", maintain_order=True)
    folds = tuple(Fold.of(**parts[number]) for number in sorted(parts))
    return Split(path, path.stem, None, known, folds)


def _read_folder(path: Path) -> Split:
    lists: dict[str, dict[str, list[Path]]] = defaultdict(lambda: {name: [] for name in PARTS})
    for file in sorted(files_below(path, log_unreadable)):
        part = _PART.search(file.stem)
        if file.suffix.lower() in LISTS and part:
            fold = _FOLD.search(file.stem) or _FOLD.search(file.parent.name)
            name = f"{int(fold[1]):06}" if fold else file.parent.relative_to(path).as_posix()
            lists[name][SPLITS[part[1].lower()]].append(file)
    if not lists:
        raise SplitError(
            f"{path}: holds no list of a part: files such as train.txt or c_test_fold_1.jsonl ({one_of(LISTS)})"
        )
    tables = {(fold, part): _read_lists(lists[fold][part]) for fold in sorted(lists) for part in PARTS}
    known = pl.concat(tables.values()).unique("key", keep="first", maintain_order=True)
    position = known.select("key", position=pl.int_range(pl.len()))
    folds = tuple(
        Fold.of(*(tables[fold, part].join(position, on="key", how="inner")["position"] for part in PARTS))
        for fold in sorted(lists)
    )
    return Split(path, path.name, None, known, folds)


def _read_lists(files: list[Path]) -> pl.DataFrame:
    tables = [_read_list(file) if file.suffix in (".txt", ".lst", ".list") else read_listing(file) for file in files]
    return pl.concat([_bare_table([]), *tables])


def _read_list(file: Path) -> pl.DataFrame:
    """Read a list with one path per line; text behind the path is ignored."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SplitError(f"{file}: cannot be read as text ({error})") from error
    names = []
    for line in filter(None, map(str.strip, lines)):
        path = _AUDIO.match(line)
        names.append(path[1] if path else re.split(r"[\s,;|]", line)[0])
    return _bare_table(names)


def _bare_table(files: list[str]) -> pl.DataFrame:
    """Table of files about which nothing else is known."""
    table = pl.DataFrame({"file": files}, schema={"file": pl.String})
    rest = {
        name: pl.lit(None, dtype=kind) if kind == pl.Float64 else pl.lit("")
        for name, kind in SCHEMA.items()
        if name != "file"
    }
    return with_keys(table.with_columns(**rest).select(list(SCHEMA)))
