"""EmoDB, the Berlin database of emotional speech: Burkhardt et al., Interspeech 2005."""

import re
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

# The letter is the German word's first: neutral, Freude, Trauer, Wut, Angst, Ekel, Langeweile.
EMOTIONS = {
    "N": "neutral",
    "F": "happy",
    "T": "sad",
    "W": "angry",
    "A": "fearful",
    "E": "disgust",
    "L": "bored",
}
COUNTS = {"neutral": 79, "happy": 71, "sad": 62, "angry": 127, "fearful": 69, "disgust": 46, "bored": 81}
MEN = {"03", "10", "11", "12", "15"}
WOMEN = {"08", "09", "13", "14", "16"}

_NAME = re.compile(r"(\d\d)([ab]\d\d)([A-Z])[a-z]")


def parse(path: PurePosixPath) -> Utterance | None:
    """`wav/SSTTTEv`: speaker, text, emotion's letter, version → utterance."""
    match = _NAME.fullmatch(path.stem)
    if match is None or match[1] not in MEN | WOMEN:
        return None
    if match[3] not in EMOTIONS:
        raise CorpusError(f"{path}: emotion {match[3]!r} does not exist in EmoDB ({one_of(EMOTIONS)})")
    return Utterance(
        file=path.as_posix(),
        emotion=EMOTIONS[match[3]],
        speaker=match[1],
        key=path.stem,
        gender="male" if match[1] in MEN else "female",
        text=match[2],
    )


EMODB = Reader(
    title="EmoDB",
    language="de",
    license="free to use with citation",
    citation="Burkhardt et al., A Database of German Emotional Speech, Interspeech 2005",
    obtain="http://emodb.bilderbar.info",
    layout="wav/03a01Fa.wav",
    labels={label: label for label in EMOTIONS.values()},
    expected=Expected(labels=COUNTS, speakers=10),
    parse=parse,
)
