"""URDU, spontaneous speech from Urdu talk shows: Latif et al., FIT 2018."""

import re
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

LETTERS = {"N": "Neutral", "H": "Happy", "S": "Sad", "A": "Angry"}
"""Letter in a file's name → the owner's label."""

_NAME = re.compile(r"(S([MF])\d+)_F\d+_([A-Z])\d+")


def parse(path: PurePosixPath) -> Utterance | None:
    """`Angry/SM1_F1_A01`: man or woman and number, file of this speaker, emotion's letter and number → utterance."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    if match[3] not in LETTERS:
        raise CorpusError(f"{path}: emotion {match[3]!r} does not exist in URDU ({one_of(LETTERS)})")
    return Utterance(
        file=path.as_posix(),
        emotion=LETTERS[match[3]],
        speaker=match[1],
        key=path.stem,
        gender="male" if match[2] == "M" else "female",
    )


URDU = Reader(
    title="URDU",
    language="ur",
    license="for research only",
    citation="Latif et al., Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages, FIT 2018",
    obtain="https://github.com/siddiquelatif/URDU-Dataset",
    layout="Angry/SM1_F1_A01.wav",
    labels={label: label.lower() for label in LETTERS.values()},
    # Its paper says 38 speakers; the files tell 29 apart.
    expected=Expected(labels=dict.fromkeys(LETTERS.values(), 100), speakers=29),
    parse=parse,
)
