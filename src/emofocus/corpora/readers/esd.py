"""ESD, the emotional speech dataset of Singapore: Zhou et al., Speech Communication 137, 2022.

Ten speakers of Mandarin (0001 to 0010) and ten of English (0011 to 0020), five women and five men each, say 350
sentences in neutral, happy, sad, angry and surprised voice. The owner offers it for research.

Layout: ``SPEAKER/EMOTION/PART/SPEAKER_NUMBER.wav``, where PART is train, evaluation or test; copies without PART are
read, too. Numbers go on from emotion to emotion, 350 each, so that number modulo 350 is the sentence. Languages and
sexes are those of the README in the owner's archive.

Traps:
    The parts divide the sentences, and every speaker is in all three: the protocol for them is ``owner-shared``.
    Speakers of one language share their sentences. The owner's transcripts (``0001/0001.txt``) come in several
    encodings and are not read.
"""

import re
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

EMOTIONS = {
    "Neutral": "neutral",
    "Happy": "happy",
    "Sad": "sad",
    "Angry": "angry",
    "Surprise": "surprised",
}
PARTITIONS = {"train": "train", "evaluation": "valid", "test": "test"}
SENTENCES = 350
WOMEN = ("0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019")
MEN = ("0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020")

_NAME = re.compile(r"(\d{4})_(\d{6})")


def parse(path: PurePosixPath) -> Utterance | None:
    """`0011/Angry/train/0011_000351`: speaker and number, in folders of its emotion and part → utterance."""
    match = _NAME.fullmatch(path.stem)
    if match is None or match[1] not in WOMEN + MEN:
        return None
    speaker, number = match.groups()
    partition = PARTITIONS.get(path.parent.name, "")
    emotion = (path.parent.parent if partition else path.parent).name
    if emotion not in EMOTIONS:
        raise CorpusError(f"{path}: emotion {emotion!r} does not exist in ESD ({one_of(EMOTIONS)})")
    language = "zh" if int(speaker) <= 10 else "en"
    return Utterance(
        file=path.as_posix(),
        emotion=emotion,
        speaker=speaker,
        key=path.stem,
        text=f"{language}{(int(number) - 1) % SENTENCES + 1:03}",
        gender="female" if speaker in WOMEN else "male",
        language=language,
        partition=partition,
    )


ESD = Reader(
    title="ESD",
    language="en zh",
    license="for research only",
    citation="Zhou et al., Emotional voice conversion: Theory, databases and ESD, Speech Communication 137, 2022",
    obtain="https://github.com/HLTSingapore/Emotional-Speech-Data",
    layout="0011/Angry/train/0011_000351.wav",
    labels=EMOTIONS,
    expected=Expected(
        labels=dict.fromkeys(EMOTIONS, len(WOMEN + MEN) * SENTENCES),
        speakers=len(WOMEN + MEN),
    ),
    parse=parse,
)
