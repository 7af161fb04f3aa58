"""Folds: which utterances train, validate and test; to one JSON file and back."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emofocus.corpora import Corpus
from emofocus.errors import SplitError
from emofocus.utils.atomic import write_text

PARTS = ("train", "valid", "test")

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions in the corpus of the utterances of each part; what is in no part is not used."""

    train: Positions
    valid: Positions
    test: Positions

    @classmethod
    def of(cls, train: Any, valid: Any, test: Any) -> "Fold":
        """From any sequences of positions."""
        return cls(*(np.asarray(part, dtype=np.int64).reshape(-1) for part in (train, valid, test)))

    def parts(self) -> dict[str, Positions]:
        """Positions by the part's name."""
        return {name: getattr(self, name) for name in PARTS}


@dataclass(frozen=True, eq=False)
class Folds(Sequence[Fold]):
    """Folds of one corpus and how they came about.

    Attributes:
        protocol: Name of the way they were dealt.
        note: What a reader of a number made with them must know.
        speakers_shared: Whether the parts share speakers, by intent.
        seed: What they were dealt with, None if nobody knows.
    """

    protocol: str
    note: str
    speakers_shared: bool
    seed: int | None
    folds: tuple[Fold, ...]

    def __len__(self) -> int:
        return len(self.folds)

    def __getitem__(self, index: int) -> Fold:  # type: ignore[override]
        return self.folds[index]

    def digest(self, corpus: Corpus) -> str:
        """Hash that is equal where the same utterances are in the same parts."""
        keys = corpus.table["key"]
        return digest_of({name: keys.gather(part).to_list() for name, part in fold.parts().items()} for fold in self)


def digest_of(folds: Iterable[Mapping[str, Sequence[str]]]) -> str:
    """Hash of the keys in each part of each fold, whatever their order."""
    state = hashlib.sha256()
    for fold in folds:
        for name in PARTS:
            state.update(f"\n{name}\n".encode())
            state.update("\n".join(sorted(fold[name])).encode())
    return state.hexdigest()[:16]


def write_folds(folds: Folds, corpus: Corpus, path: Path) -> None:
    """Write folds as JSON, the keys of each part of each fold, one fold a line."""
    keys = corpus.table["key"]
    head = {
        "corpus": corpus.name,
        "protocol": folds.protocol,
        "note": folds.note,
        "seed": folds.seed,
    }
    lines = [
        json.dumps({name: keys.gather(positions).to_list() for name, positions in fold.parts().items()})
        for fold in folds
    ]
    write_text(path, json.dumps(head)[:-1] + ', "folds": [\n' + ",\n".join(lines) + "\n]}\n")


def locate(names: Sequence[str], corpus: Corpus, source: str) -> Positions:
    """Positions of utterances that are called by key, file, or file name, with or without suffix.

    Raises:
        SplitError: Some of them are not in the corpus.
    """
    wanted = pl.Series("name", names, dtype=pl.String).str.replace_all("\\", "/", literal=True)
    best = wanted
    for column in spellings(corpus.table):
        found = _match(wanted, column)
        if not found.has_nulls():
            return found.cast(pl.Int64).to_numpy()
        best = min(best, wanted.filter(found.is_null()), key=len)
    raise SplitError(
        f"{source} does not match {corpus.name}: {len(best)} of {len(wanted)} utterances are not in it, "
        f"for example {best[0]!r}; it has for example {corpus.table['key'][0]!r}"
    )


def spellings(table: pl.DataFrame) -> list[pl.Series]:
    """The ways a list may call an utterance, the surest first: key, file, both without suffix, name alone."""
    bare = table["file"].str.replace(r"\.[A-Za-z0-9]+$", "")
    return [table["key"], table["file"], bare, bare.str.extract(r"([^/]+)$")]


def _match(wanted: pl.Series, column: pl.Series) -> pl.Series:
    """Position of each wanted name in a column; null where it is not there, or more than once."""
    known = pl.DataFrame({"name": column, "position": np.arange(len(column))})
    known = known.filter(known["name"].is_unique())
    tail = wanted if "/" in str(column[0]) else wanted.str.extract(r"([^/]+)$")
    for names in (wanted, tail, tail.str.replace(r"\.[A-Za-z0-9]+$", "")):
        found = names.to_frame("name").join(known, on="name", how="left", maintain_order="left")["position"]
        if not found.has_nulls():
            return found
    return found
