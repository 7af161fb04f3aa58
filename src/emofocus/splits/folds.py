"""Folds of a corpus into training, validation and test parts, and their JSON file."""

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
"""Positions of utterances in a corpus (P,)."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions in the corpus of the utterances of each part; utterances in no part are not used."""

    train: Positions
    valid: Positions
    test: Positions

    @classmethod
    def of(cls, train: Any, valid: Any, test: Any) -> "Fold":
        """Make a fold from any sequences of positions."""
        return cls(*(np.asarray(part, dtype=np.int64).reshape(-1) for part in (train, valid, test)))

    def parts(self) -> dict[str, Positions]:
        """Positions by name of the part."""
        return {name: getattr(self, name) for name in PARTS}


@dataclass(frozen=True, eq=False)
class Folds(Sequence[Fold]):
    """Folds of one corpus.

    Attributes:
        protocol: Name of the protocol.
        note: Remark that belongs beside every figure measured with these folds.
        speakers_shared: Whether the parts share speakers on purpose.
        seed: Seed of the folds; None if unknown.
        folds: The folds in their order.
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
        """Hash of the folds; equal if the same utterances are in the same parts."""
        keys = corpus.table["key"]
        return digest_of({name: keys.gather(part).to_list() for name, part in fold.parts().items()} for fold in self)


def digest_of(folds: Iterable[Mapping[str, Sequence[str]]]) -> str:
    """Hash of the keys in each part of each fold, independent of the order within a part."""
    state = hashlib.sha256()
    for fold in folds:
        for name in PARTS:
            state.update(f"\n{name}\n".encode())
            state.update("\n".join(sorted(fold[name])).encode())
    return state.hexdigest()[:16]


def refuse_kept(corpus: Corpus, folds: Iterable[Fold]) -> None:
    """Refuse folds that train on a corpus that is only tested, or are chosen by it.

    Raises:
        SplitError: They do; the message names the corpus.
    """
    names = corpus.table["corpus"]
    for fold in folds:
        used = set(names.gather(fold.train)) | set(names.gather(fold.valid))
        for name in corpus.kept:
            if name in used:
                raise SplitError(
                    f"{name} is kept for testing: nothing is trained on it or chosen by it; leave it out, or take the "
                    "protocol unseen"
                )


def write_folds(folds: Folds, corpus: Corpus, path: Path) -> None:
    """Write the keys of each part of each fold as JSON, one fold per line."""
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
    """Find utterances by key, file or file name, with or without suffix.

    Args:
        names: Names of utterances (P,).
        corpus: Corpus that holds them.
        source: Origin of the names, for the message.

    Returns:
        Positions (P,).

    Raises:
        SplitError: Some utterances are not in the corpus.
    """
    wanted = pl.Series("name", names, dtype=pl.String).str.replace_all("\\", "/", literal=True)
    best = wanted
    for column in spellings(corpus.table):
        positions = _match(wanted, column)
        if not positions.has_nulls():
            return positions.cast(pl.Int64).to_numpy()
        best = min(best, wanted.filter(positions.is_null()), key=len)
    raise SplitError(
        f"{source} does not match {corpus.name}: {len(best)} of {len(wanted)} utterances are not in it, "
        f"for example {best[0]!r}; it has for example {corpus.table['key'][0]!r}"
    )


def spellings(table: pl.DataFrame) -> list[pl.Series]:
    """Names by which a list may call an utterance, most exact first: key, file, file without suffix, file name."""
    bare = table["file"].str.replace(r"\.[A-Za-z0-9]+$", "")
    return [table["key"], table["file"], bare, bare.str.extract(r"([^/]+)$")]


def _match(wanted: pl.Series, column: pl.Series) -> pl.Series:
    """Position of each wanted name in a column; null if the name is absent or repeated."""
    known = pl.DataFrame({"name": column, "position": np.arange(len(column))})
    known = known.filter(known["name"].is_unique())
    tail = wanted if "/" in str(column[0]) else wanted.str.extract(r"([^/]+)$")
    for names in (wanted, tail, tail.str.replace(r"\.[A-Za-z0-9]+$", "")):
        positions = names.to_frame("name").join(known, on="name", how="left", maintain_order="left")["position"]
        if not positions.has_nulls():
            break
    return positions
