"""SAVEE, the Surrey audio-visual expressed emotion database: Haq and Jackson, 2010."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

EMOTIONS = {
    "n": "neutral",
    "h": "happy",
    "sa": "sad",
    "a": "angry",
    "f": "fearful",
    "d": "disgust",
    "su": "surprised",
}
SPEAKERS = ("DC", "JE", "JK", "KL")

SENTENCES = {emotion: 30 if emotion == "n" else 15 for emotion in EMOTIONS}
"""Number of sentences of each speaker and emotion."""

COMMON = 3
"""Number of sentences that all emotions share; the code of the others holds the emotion."""

_NAME = re.compile(r"(?:([A-Z]{2})_)?([a-z]{1,2})(\d\d)")


def parse(path: PurePosixPath) -> Utterance | None:
    """`DC_a01` or the owner's other layout, `AudioData/DC/a01`: speaker, emotion, sentence → utterance."""
    match = _NAME.fullmatch(path.stem)
    speaker = match and (match[1] or path.parent.name)
    if match is None or speaker not in SPEAKERS:
        return None
    emotion, sentence = match[2], match[3]
    if emotion not in EMOTIONS:
        raise CorpusError(f"{path}: emotion {emotion!r} does not exist in SAVEE ({one_of(EMOTIONS)})")
    return Utterance(
        file=path.as_posix(),
        emotion=emotion,
        speaker=speaker,
        key=f"{speaker}_{emotion}{sentence}",
        gender="male",
        text=sentence if int(sentence) <= COMMON else f"{emotion}{sentence}",
    )


def names() -> Iterator[str]:
    """Every key."""
    for speaker in SPEAKERS:
        for emotion, sentences in SENTENCES.items():
            for sentence in range(1, sentences + 1):
                yield f"{speaker}_{emotion}{sentence:02}"


SAVEE = Reader(
    title="SAVEE",
    language="en",
    license="for research only",
    citation="Haq and Jackson, Multimodal Emotion Recognition, in Machine Audition, IGI Global, 2010",
    obtain="http://kahlan.eps.surrey.ac.uk/savee/",
    layout="DC_a01.wav",
    labels=EMOTIONS,
    expected=Expected(
        labels={emotion: len(SPEAKERS) * sentences for emotion, sentences in SENTENCES.items()},
        speakers=len(SPEAKERS),
        keys=names,
    ),
    parse=parse,
)
