"""CREMA-D: Cao et al., IEEE Transactions on Affective Computing 5(4), 2014."""

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance, read_by_name
from emofocus.errors import CorpusError, one_of
from emofocus.utils.folder_tree import files_below

EMOTIONS = {
    "NEU": "neutral",
    "HAP": "happy",
    "SAD": "sad",
    "ANG": "angry",
    "FEA": "fearful",
    "DIS": "disgust",
}
SENTENCES = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")

INTENSITIES = ("XX", "LO", "MD", "HI", "X")
"""Unspecified, low, medium, high; ``X`` is a typing error of one file, `1040_ITH_SAD_X.wav`."""

DEMOGRAPHICS = "VideoDemographics.csv"
"""The owner's table of actors."""

_NAME = re.compile(r"(1\d{3})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")


def parse(path: PurePosixPath) -> Utterance | None:
    """`AudioWAV/AAAA_SSS_EEE_II`: actor, sentence, emotion, intensity → utterance without a gender."""
    match = _NAME.fullmatch(path.stem)
    if match is None or not 1001 <= int(match[1]) <= 1091:
        return None
    for what, code, valid in (
        ("sentence", match[2], SENTENCES),
        ("emotion", match[3], tuple(EMOTIONS)),
        ("intensity", match[4], INTENSITIES),
    ):
        if code not in valid:
            raise CorpusError(f"{path}: {what} {code!r} does not exist in CREMA-D ({one_of(valid)})")
    return Utterance(file=path.as_posix(), emotion=match[3], speaker=match[1], key=path.stem, text=match[2])


def find(root: Path) -> Iterator[Utterance]:
    """Utterances below ``root``, with genders from the owner's table if it exists."""
    genders: dict[str, str] | None = None
    for utterance in read_by_name(parse)(root):
        if genders is None:
            genders = read_genders(root)
        yield replace(utterance, gender=genders.get(utterance.speaker, ""))


def read_genders(root: Path) -> dict[str, str]:
    """Actor → gender from the owner's table; empty if it is not below ``root``.

    Raises:
        CorpusError: The table lacks the columns ActorID or Sex.
    """
    tables = (path for path in files_below(root, lambda _: None) if path.name == DEMOGRAPHICS)
    path = min(tables, default=None)
    if path is None:
        return {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as opened:
        rows = csv.DictReader(opened)
        if not {"ActorID", "Sex"} <= set(rows.fieldnames or ()):
            raise CorpusError(f"{path}: no columns ActorID and Sex; it starts with {','.join(rows.fieldnames or ())!r}")
        genders = {row["ActorID"]: str(row["Sex"]).strip().lower() for row in rows}
    return {actor: gender for actor, gender in genders.items() if gender in ("female", "male")}


CREMA_D = Reader(
    title="CREMA-D",
    language="en",
    license="ODbL-1.0",
    citation="Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, "
    "IEEE Transactions on Affective Computing 5(4), 2014",
    obtain="https://github.com/CheyneyComputerScience/CREMA-D",
    layout="AudioWAV/1001_DFA_ANG_XX.wav",
    labels=EMOTIONS,
    # 91 actors say 12 sentences, one of them in three intensities except neutrally; twenty recordings are missing.
    expected=Expected(labels={label: 1087 if label == "NEU" else 1271 for label in EMOTIONS}, speakers=91),
    parse=parse,
    find=find,
)
