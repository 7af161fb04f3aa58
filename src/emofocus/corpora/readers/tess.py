"""TESS, the Toronto emotional speech set: Pichora-Fuller and Dupuis, 2020."""

import re
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

EMOTIONS = {
    "neutral": "neutral",
    "happy": "happy",
    "sad": "sad",
    "angry": "angry",
    "fear": "fearful",
    "disgust": "disgust",
    "ps": "surprised",
}
"""``ps`` is pleasant surprise."""

SPELLINGS = dict.fromkeys(("surprise", "surprised", "pleasant_surprise", "pleasant_surprised"), "ps")
"""Other spellings of pleasant surprise in copies of the corpus."""

MISNOMERS = {"OA": "OAF"}
"""Misspelled speaker → speaker: `OA_bite_neutral.wav` is the older woman's."""

_NAME = re.compile(r"(OAF?|YAF)_([A-Za-z]+)_([A-Za-z_]+)")


def parse(path: PurePosixPath) -> Utterance | None:
    """`OAF_back_angry`: older or younger actress, word, emotion → utterance, in whatever folder it is."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, word, emotion = MISNOMERS.get(match[1], match[1]), match[2].lower(), match[3].lower()
    emotion = SPELLINGS.get(emotion, emotion)
    if emotion not in EMOTIONS:
        raise CorpusError(f"{path}: emotion {match[3]!r} does not exist in TESS ({one_of(EMOTIONS)})")
    return Utterance(
        file=path.as_posix(),
        emotion=emotion,
        speaker=speaker,
        key=f"{speaker}_{word}_{emotion}",
        gender="female",
        text=word,
    )


TESS = Reader(
    title="TESS",
    language="en",
    license="CC-BY-NC-ND-4.0",
    citation="Pichora-Fuller and Dupuis, Toronto emotional speech set (TESS), Borealis, 2020, doi:10.5683/SP2/E8H2MF",
    obtain="https://doi.org/10.5683/SP2/E8H2MF",
    layout="OAF_back_angry.wav",
    labels=EMOTIONS,
    expected=Expected(labels=dict.fromkeys(EMOTIONS, 400), speakers=2),
    parse=parse,
)
