"""MESD, the Mexican emotional speech database: Duville et al., Data 6(12): 130, 2021.

Single words of Mexican Spanish in six emotions by voices of three women, two men and six children, none of them a
professional actor. License: CC BY 4.0.

Layout: one folder of ``Anger_C_A_abajo.wav``: emotion, voice (F woman, M man, C child), list of words (A or B), word,
which may hold underscores. 48 words a voice and emotion are 864; the owner says no number by emotion.

Traps:
    A name tells the kind of voice and not who speaks. Speakers are therefore unknown, and protocols that keep them
    apart refuse the corpus. Children have no sex here: ``--only gender=`` keeps them alone.
    Words of list B differ from emotion to emotion, so that the word alone tells the emotion.
    The owner's archive has a second folder of the same recordings with reduced intelligibility, as heard through an
    implant. Folders with ``reduced`` in their name are not read.
"""

import re
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

EMOTIONS = {
    "Neutral": "neutral",
    "Happiness": "happy",
    "Sadness": "sad",
    "Anger": "angry",
    "Fear": "fearful",
    "Disgust": "disgust",
}
GENDERS = {"F": "female", "M": "male", "C": ""}
"""Letter of a voice → gender; a child's is not told."""

_NAME = re.compile(r"([A-Z][a-z]+)_([FMC])_([AB])_(\w+)")


def parse(path: PurePosixPath) -> Utterance | None:
    """`Anger_C_A_abajo`: emotion, voice, list, word → utterance without a speaker."""
    match = _NAME.fullmatch(path.stem)
    if match is None or any("reduced" in folder.lower() for folder in path.parts[:-1]):
        return None
    emotion, voice, _, word = match.groups()
    if emotion not in EMOTIONS:
        raise CorpusError(f"{path}: emotion {emotion!r} does not exist in MESD ({one_of(EMOTIONS)})")
    return Utterance(
        file=path.as_posix(),
        emotion=emotion,
        speaker="",
        key=path.stem,
        text=word,
        gender=GENDERS[voice],
    )


MESD = Reader(
    title="MESD",
    language="es",
    license="CC-BY-4.0",
    citation="Duville et al., Mexican Emotional Speech Database Based on Semantic, Frequency, Familiarity, "
    "Concreteness, and Cultural Shaping of Affective Prosody, Data 6(12): 130, 2021",
    obtain="https://data.mendeley.com/datasets/cy34mh68j9",
    layout="Anger_C_A_abajo.wav",
    labels=EMOTIONS,
    expected=Expected(labels=dict.fromkeys(EMOTIONS), speakers=None, total=864),
    parse=parse,
)
