"""SUBESCO, the Bangla emotional speech corpus of SUST: Sultana et al., PLoS ONE 16(4): e0250173, 2021.

Ten women and ten men say ten sentences in seven emotions, five times each, in a studio. License: CC BY 4.0.

Layout: one folder of ``F_02_MONIKA_S_1_NEUTRAL_5.wav``: sex, number and name of the speaker, number of the sentence,
emotion, take (the owner's card at https://huggingface.co/datasets/sustcsenlp/bn_emotion_speech_corpus).

Trap:
    A number is one speaker's only together with the letter of the sex, so both are the speaker's name here.
"""

import re
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

EMOTIONS = {
    "NEUTRAL": "neutral",
    "HAPPY": "happy",
    "SAD": "sad",
    "ANGRY": "angry",
    "FEAR": "fearful",
    "DISGUST": "disgust",
    "SURPRISE": "surprised",
}
EACH = 1000
"""Number of utterances of each emotion: 20 speakers, 10 sentences, 5 takes."""

_NAME = re.compile(r"([FM])_(\d\d)_([A-Z]+)_S_(\d{1,2})_([A-Z]+)_(\d)")


def parse(path: PurePosixPath) -> Utterance | None:
    """`F_02_MONIKA_S_1_NEUTRAL_5`: sex, speaker, name, sentence, emotion, take → utterance."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    sex, number, _, sentence, emotion, _ = match.groups()
    if emotion not in EMOTIONS:
        raise CorpusError(f"{path}: emotion {emotion!r} does not exist in SUBESCO ({one_of(EMOTIONS)})")
    return Utterance(
        file=path.as_posix(),
        emotion=emotion,
        speaker=f"{sex}_{number}",
        key=path.stem,
        text=sentence,
        gender="female" if sex == "F" else "male",
    )


SUBESCO = Reader(
    title="SUBESCO",
    language="bn",
    license="CC-BY-4.0",
    citation="Sultana et al., SUST Bangla Emotional Speech Corpus (SUBESCO): An audio-only emotional speech corpus for "
    "Bangla, PLoS ONE 16(4): e0250173, 2021",
    obtain="https://doi.org/10.5281/zenodo.4526477",
    layout="F_02_MONIKA_S_1_NEUTRAL_5.wav",
    labels=EMOTIONS,
    expected=Expected(labels=dict.fromkeys(EMOTIONS, EACH), speakers=20),
    parse=parse,
)
