"""Recordings that are kept for testing: no model that learns from several corpora is trained on them or chosen by them.

They are known by the name of their corpus (`emofocus.corpora.multi_corpus.KEPT`), by their owner's file names, and by
the hashes of the files in `kept_recordings.txt`, so that neither another name nor another folder lets them in.

The clips of `examples/` are from EmoDB, which is trained on. The protocol `unseen`, by which models to ship
are trained, leaves them out by name, and refuses their hashes: examples must not be what the model learnt by heart.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emofocus.corpora import Corpus
from emofocus.errors import SplitError
from emofocus.splits.folds import Folds, Positions, refuse_kept

RECORDINGS = "recordings.csv"
"""File of a result on several corpora with the hash of each recording, which proves what was trained on."""

HASHES = Path(__file__).with_suffix(".txt")
"""File with the corpus and the beginning of the hash of each kept recording."""

EXAMPLES = Path(__file__).with_name("example_recordings.txt")
"""File with the name in EmoDB of each clip of `examples/`, and the beginnings of its hashes as FLAC and as WAV."""

WITHOUT_EXAMPLES = "unseen"
"""Protocol that trains on no clip of `examples/`."""

DIGITS = 16
"""Hexadecimal digits of a BLAKE2b-128 hash in that file."""

FILE_NAMES: Mapping[str, re.Pattern[str]] = {
    "tess": re.compile(r"(?:OAF?|YAF)_[A-Za-z]+_(?:neutral|happy|sad|angry|fear|disgust|ps)"),
    "ased": re.compile(r"(?i)[nfhsa]\d-\d\d-\d\d-\d\d-\d\d"),
    "turev": re.compile(r"\d{4}_(?:hl|kz|mt|sk)_[a-z]+"),
}
"""Owner's file names without suffix, by corpus."""


@cache
def kept_hashes() -> Mapping[str, str]:
    """Beginning of the hash of each kept recording → name of its corpus."""
    return {digits: name for name, digits in _entries(HASHES)}


@cache
def example_hashes() -> Mapping[str, str]:
    """Beginning of each hash of a clip of `examples/` → its name in EmoDB."""
    return {digits: name for name, *hashes in _entries(EXAMPLES) for digits in hashes}


def _entries(path: Path) -> list[list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


def are_examples(files: pl.Series) -> NDArray[np.bool_]:
    """Whether each file (U,) is named as a clip of `examples/` is in EmoDB."""
    names = set(example_hashes().values())
    return np.array([PurePosixPath(file).stem in names for file in files], dtype=bool)


def refuse_kept_recordings(corpus: Corpus, folds: Folds, hashes: Sequence[str]) -> None:
    """Refuse folds whose training or validation part holds a kept recording, or `unseen` ones that hold an example.

    Args:
        corpus: Several corpora.
        folds: Positions in them.
        hashes: BLAKE2b-128 of the file of each utterance (U,), in hexadecimal digits.

    Raises:
        SplitError: It does, by the name of its corpus or of its file, or by its hash; the message names the file.
    """
    refuse_kept(corpus, folds)
    files = corpus.table["file"]
    tested = corpus.table["corpus"].is_in(corpus.kept)
    own = {hashes[index]: str(files[index]) for index in tested.arg_true()}
    for fold in folds:
        for part in (fold.train, fold.valid):
            for file, reason in _kept_in(files, part, hashes, own):
                raise SplitError(f"{file} is kept for testing ({reason}): nothing is trained on it or chosen by it")
            if folds.protocol == WITHOUT_EXAMPLES:
                _refuse_examples(files, part, hashes)


def _kept_in(
    files: pl.Series, part: Positions, hashes: Sequence[str], own: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """File and reason of each kept recording in a part."""
    for index in part:
        file, digits = str(files[int(index)]), hashes[int(index)]
        name = kept_hashes().get(digits[:DIGITS]) or _owner_of(file)
        if name:
            yield file, f"it is of {name}"
        elif digits in own:
            yield file, f"its bytes are those of {own[digits]}"


def _refuse_examples(files: pl.Series, part: Positions, hashes: Sequence[str]) -> None:
    for index in part:
        name = example_hashes().get(hashes[int(index)][:DIGITS])
        if name:
            raise SplitError(
                f"{files[int(index)]} is {name} of EmoDB, a clip of examples/: a model that is shown with it must not "
                f"be trained on it; leave it out, or name it {name}, which the protocol {WITHOUT_EXAMPLES} leaves out"
            )


def _owner_of(file: str) -> str:
    """Kept corpus whose owner names files like this one; empty for none."""
    stem = PurePosixPath(file).stem
    return next((name for name, pattern in FILE_NAMES.items() if pattern.fullmatch(stem)), "")
