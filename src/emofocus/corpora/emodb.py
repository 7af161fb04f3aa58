"""EmoDB, the Berlin database of emotional speech: Burkhardt et al., Interspeech 2005."""

import re
from pathlib import Path

from emofocus.corpora.base import Reader, Utterance

# The letter is the German word's first: Ärger/Wut, Langeweile, Ekel, Angst, Freude, Trauer, neutral.
EMOTIONS = {
    "N": "neutral",
    "F": "happy",
    "T": "sad",
    "W": "angry",
    "A": "fearful",
    "E": "disgust",
    "L": "bored",
}
MEN = {"03", "10", "11", "12", "15"}
WOMEN = {"08", "09", "13", "14", "16"}

_NAME = re.compile(r"(\d\d)([ab]\d\d)([NFTWAEL])[a-z]")


def parse(path: Path) -> Utterance | None:
    """`wav/SSTTTEv`: speaker, text, emotion's letter, version → utterance."""
    match = _NAME.fullmatch(path.stem)
    if match is None or match[1] not in MEN | WOMEN:
        return None
    gender = "male" if match[1] in MEN else "female"
    return Utterance(path.as_posix(), EMOTIONS[match[3]], match[1], gender, text=match[2])


EMODB = Reader(
    title="EmoDB",
    classes=tuple(EMOTIONS.values()),
    expected=535,
    license="free to use with citation",
    layout="wav/03a01Fa.wav",
    citation="Burkhardt et al., A Database of German Emotional Speech, Interspeech 2005",
    parse=parse,
)
