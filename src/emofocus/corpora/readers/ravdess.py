"""RAVDESS speech and song: Livingstone and Russo, PLoS ONE 13(5): e0196391, 2018."""

import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
SENTENCES = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}

COPIES = {"03-01-03-01-02-02-07": "03-01-03-01-02-01-07"}
"""Key of a copy → key of its original: two files of the corpus are identical."""

NO_SONG = 18
"""The actor who did not sing."""

# modality 03 audio · channel 01 speech or 02 song · emotion · intensity · statement · repetition · actor
_NAME = re.compile(r"03-(01|02)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")


def parse(path: PurePosixPath, channel: str) -> Utterance | None:
    """`Actor_XX/03-CC-EE-II-SS-RR-AA` → utterance; odd actors are men."""
    match = _NAME.fullmatch(path.stem)
    if match is None or match[1] != channel:
        return None
    emotion, intensity, statement, repetition, actor = match.groups()[1:]
    _check(path, "emotion", emotion, EMOTIONS)
    _check(path, "intensity", intensity, ("01", "02"))
    _check(path, "statement", statement, SENTENCES)
    _check(path, "repetition", repetition, ("01", "02"))
    _check(path, "actor", actor, [f"{number:02}" for number in range(1, 25)])
    return Utterance(
        file=path.as_posix(),
        emotion=EMOTIONS[emotion],
        speaker=actor,
        key=path.stem,
        gender="male" if int(actor) % 2 else "female",
        text=SENTENCES[statement],
        source=COPIES.get(path.stem, ""),
    )


def names(channel: str, emotions: int, actors: list[int]) -> Callable[[], Iterator[str]]:
    """Function that yields every key of one channel; neutral has no strong intensity."""

    def every() -> Iterator[str]:
        for actor, emotion, intensity in product(actors, range(1, emotions + 1), (1, 2)):
            if emotion > 1 or intensity == 1:
                for statement, repetition in product((1, 2), (1, 2)):
                    yield f"03-{channel}-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}"

    return every


def _check(path: PurePosixPath, what: str, code: str, valid: object) -> None:
    if code not in valid:  # type: ignore[operator]
        raise CorpusError(f"{path}: {what} {code!r} does not exist in RAVDESS ({one_of(valid)})")  # type: ignore[arg-type]


def _reader(channel: str, title: str, emotions: int, actors: list[int]) -> Reader:
    labels = list(EMOTIONS.values())[:emotions]
    return Reader(
        title=title,
        language="en",
        license="CC-BY-NC-SA-4.0",
        citation="Livingstone and Russo, PLoS ONE 13(5): e0196391, 2018",
        obtain="https://zenodo.org/records/1188976",
        layout=f"Actor_01/03-{channel}-05-01-02-01-01.wav",
        labels={label: label for label in labels},
        presets={"seven": {label: "neutral" if label == "calm" else label for label in labels}} if emotions > 7 else {},
        expected=Expected(
            labels={label: len(actors) * (4 if label == "neutral" else 8) for label in labels},
            speakers=len(actors),
            keys=names(channel, emotions, actors),
        ),
        parse=lambda path: parse(path, channel),
    )


EVERYBODY = list(range(1, 25))
RAVDESS = _reader("01", "RAVDESS speech", 8, EVERYBODY)
RAVDESS_SONG = _reader("02", "RAVDESS song", 6, [actor for actor in EVERYBODY if actor != NO_SONG])
