"""EMOVO, the Italian emotional speech database: Costantini et al., LREC 2014."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

# The code is the Italian word's start: neutro, gioia, tristezza, rabbia, paura, disgusto, sorpresa.
EMOTIONS = {
    "neu": "neutral",
    "gio": "happy",
    "tri": "sad",
    "rab": "angry",
    "pau": "fearful",
    "dis": "disgust",
    "sor": "surprised",
}
SPEAKERS = ("f1", "f2", "f3", "m1", "m2", "m3")

SENTENCES = ("b1", "b2", "b3", "d1", "d2", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5")
"""Codes of the sentences: short, questions, long, and without meaning."""

_NAME = re.compile(r"([a-z]{3})-([fm]\d)-([a-z]\d)")


def parse(path: PurePosixPath) -> Utterance | None:
    """`f1/dis-f1-b1`: emotion, speaker, sentence → utterance."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    emotion, speaker, sentence = match.groups()
    for what, code, valid in (
        ("emotion", emotion, tuple(EMOTIONS)),
        ("speaker", speaker, SPEAKERS),
        ("sentence", sentence, SENTENCES),
    ):
        if code not in valid:
            raise CorpusError(f"{path}: {what} {code!r} does not exist in EMOVO ({one_of(valid)})")
    return Utterance(
        file=path.as_posix(),
        emotion=emotion,
        speaker=speaker,
        key=path.stem,
        gender="male" if speaker.startswith("m") else "female",
        text=sentence,
    )


def names() -> Iterator[str]:
    """Every key; each speaker says each sentence in each emotion."""
    return ("-".join(parts) for parts in product(EMOTIONS, SPEAKERS, SENTENCES))


EMOVO = Reader(
    title="EMOVO",
    language="it",
    license="for research only",
    citation="Costantini et al., EMOVO Corpus: an Italian Emotional Speech Database, LREC 2014",
    obtain="http://voice.fub.it/activities/corpora/emovo/index.html",
    layout="f1/dis-f1-b1.wav",
    labels=EMOTIONS,
    expected=Expected(
        labels=dict.fromkeys(EMOTIONS, len(SPEAKERS) * len(SENTENCES)), speakers=len(SPEAKERS), keys=names
    ),
    parse=parse,
)
