"""Recordings that are kept for testing: no model that learns from several corpora is trained on them or chosen by them.

They are known by the name of their corpus (`emofocus.corpora.multi_corpus.KEPT`), by their owner's file names, and by
the hashes of the files in `kept_recordings.txt`, so that neither another name nor another folder lets them in.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import polars as pl

from emofocus.corpora import Corpus
from emofocus.errors import SplitError
from emofocus.splits.folds import Fold, Positions, refuse_kept

RECORDINGS = "recordings.csv"
"""File of a result on several corpora with the hash of each recording, which proves what was trained on."""

HASHES = Path(__file__).with_suffix(".txt")
"""File with the corpus and the beginning of the hash of each kept recording."""

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
    lines = (line.split() for line in HASHES.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {digits: name for name, digits in lines}


def refuse_kept_recordings(corpus: Corpus, folds: Iterable[Fold], hashes: Sequence[str]) -> None:
    """Refuse folds whose training or validation part holds a kept recording.

    Args:
        corpus: Several corpora.
        folds: Positions in them.
        hashes: BLAKE2b-128 of the file of each utterance (U,), in hexadecimal digits.

    Raises:
        SplitError: It does, by the name of its corpus or of its file, or by its hash; the message names the file.
    """
    folds = list(folds)
    refuse_kept(corpus, folds)
    files = corpus.table["file"]
    tested = corpus.table["corpus"].is_in(corpus.kept)
    own = {hashes[index]: str(files[index]) for index in tested.arg_true()}
    for fold in folds:
        for part in (fold.train, fold.valid):
            for file, reason in _kept_in(files, part, hashes, own):
                raise SplitError(f"{file} is kept for testing ({reason}): nothing is trained on it or chosen by it")


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


def _owner_of(file: str) -> str:
    """Kept corpus whose owner names files like this one; empty for none."""
    stem = PurePosixPath(file).stem
    return next((name for name, pattern in FILE_NAMES.items() if pattern.fullmatch(stem)), "")
