"""RAVDESS speech: Livingstone and Russo, PLoS ONE 13(5): e0196391, 2018."""

import re
from pathlib import Path

from emofocus.corpora.base import Reader, Utterance

CLASSES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
SENTENCES = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}

# modality 03 audio · channel 01 speech · emotion · intensity · statement · repetition · actor
_NAME = re.compile(r"03-01-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")


def parse(path: Path) -> Utterance | None:
    """`Actor_XX/03-01-EE-II-SS-RR-AA` → utterance; odd actors are men."""
    match = _NAME.fullmatch(path.stem)
    if match is None or not 1 <= int(match[5]) <= 24:
        return None
    return Utterance(
        file=path.as_posix(),
        emotion=CLASSES[int(match[1]) - 1],
        speaker=match[5],
        gender="male" if int(match[5]) % 2 else "female",
        text=SENTENCES[match[3]],
    )


RAVDESS = Reader(
    title="RAVDESS speech",
    classes=CLASSES,
    expected=1440,
    license="CC-BY-NC-SA-4.0",
    layout="Actor_01/03-01-05-01-02-01-01.wav",
    citation="Livingstone and Russo, PLoS ONE 13(5): e0196391, 2018",
    parse=parse,
)
