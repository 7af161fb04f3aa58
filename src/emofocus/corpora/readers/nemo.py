"""nEMO, the dataset of emotional speech in Polish: Christop, LREC-COLING 2024."""

import re
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

EMOTIONS = {
    "neutral": "neutral",
    "happiness": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fearful",
    "surprised": "surprised",
}
COUNTS = {"neutral": 809, "happiness": 749, "sadness": 769, "anger": 749, "fear": 736, "surprised": 669}
WOMEN = ("EB0", "IC0", "KD0", "MK0")
MEN = ("KS0", "MP0", "SM0", "TP0", "WR0")

_NAME = re.compile(r"([A-Z]{2}\d)_([a-z]+)_(\d{1,2})")


def parse(path: PurePosixPath) -> Utterance | None:
    """`samples/EB0_anger_1`: speaker, emotion, sentence → utterance."""
    match = _NAME.fullmatch(path.stem)
    if match is None or match[1] not in WOMEN + MEN:
        return None
    speaker, emotion, sentence = match.groups()
    if emotion not in EMOTIONS:
        raise CorpusError(f"{path}: emotion {emotion!r} does not exist in nEMO ({one_of(EMOTIONS)})")
    return Utterance(
        file=path.as_posix(),
        emotion=emotion,
        speaker=speaker,
        key=path.stem,
        gender="female" if speaker in WOMEN else "male",
        text=sentence,
    )


NEMO = Reader(
    title="nEMO",
    language="pl",
    license="CC-BY-NC-SA-4.0",
    citation="Christop, nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024",
    obtain="https://huggingface.co/datasets/amu-cai/nEMO",
    layout="samples/EB0_anger_1.wav",
    labels=EMOTIONS,
    expected=Expected(labels=COUNTS, speakers=len(WOMEN + MEN)),
    parse=parse,
)
