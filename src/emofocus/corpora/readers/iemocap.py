"""IEMOCAP: Busso et al., Language Resources and Evaluation 42(4), 2008."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from emofocus.corpora.corpus import SUFFIXES, Expected, Reader, Utterance
from emofocus.errors import CorpusError, one_of

LABELS = {
    "neu": 1708,
    "hap": 595,
    "exc": 1041,
    "sad": 1084,
    "ang": 1103,
    "fru": 1849,
    "sur": 107,
    "fea": 40,
    "dis": 2,
    "oth": 3,
    "xxx": 2507,
}
"""Number of utterances of each label; ``xxx`` means that the annotators do not agree."""

FOUR = {"neu": "neutral", "hap": "happy", "exc": "happy", "sad": "sad", "ang": "angry"}
"""Label map of nearly every publication, with 5531 utterances."""

PRESETS = {
    "happy-only": {label: name for label, name in FOUR.items() if label != "exc"},
    "excited-only": {label: name for label, name in FOUR.items() if label != "hap"},
    "five": {**FOUR, "fru": "frustrated"},
    "all": {
        "neu": "neutral",
        "hap": "happy",
        "sad": "sad",
        "ang": "angry",
        "fea": "fearful",
        "dis": "disgust",
        "sur": "surprised",
        "exc": "excited",
        "fru": "frustrated",
        "oth": "other",
    },
}

SESSIONS = {
    "1": {"neutral": 384, "happy": 278, "sad": 194, "angry": 229},
    "2": {"neutral": 362, "happy": 327, "sad": 197, "angry": 137},
    "3": {"neutral": 320, "happy": 286, "sad": 305, "angry": 240},
    "4": {"neutral": 258, "happy": 303, "sad": 143, "angry": 327},
    "5": {"neutral": 384, "happy": 442, "sad": 245, "angry": 170},
}
"""Number of utterances of each session and each class of `FOUR`."""

FOLDER = "IEMOCAP_full_release"
"""Folder in the owner's archive."""

STYLES = {"impro": "improvised", "script": "scripted"}

# The dialog with its session and style, then after the last underscore the letter of who speaks. The dialog's own
# letter is that of the actor whose motion was captured: both actors speak in every dialog.
_TURN = re.compile(r"Ses0([1-5])[FM]_(impro|script)\w*_([FM])[A-Z0-9]*")
_TIMES = re.compile(r"\[(\d+(?:\.\d+)?) - (\d+(?:\.\d+)?)\]")
_RATINGS = re.compile(r"\[[-+.\d]+(?:, *[-+.\d]+){2}\]")
_TRANSCRIPT = re.compile(r"(Ses0\S+) \[[^]]*\]: *(.*)")


def find(root: Path) -> Iterator[Utterance]:
    """Utterances of the five sessions, sorted by file.

    Raises:
        CorpusError: A session or audio is missing, or an annotation is damaged.
    """
    home = root / FOLDER if (root / FOLDER).is_dir() else root
    present = [number for number in SESSIONS if (home / f"Session{number}").is_dir()]
    if not present:
        return
    _refuse_a_part(home, present)
    audio = _audio(home)
    turns = [turn for number in present for turn in _session(home, number)]
    _refuse_missing_audio(home, [turn.key for turn in turns if turn.key not in audio])
    for turn in sorted(turns, key=lambda turn: audio[turn.key]):
        yield replace(turn, file=audio[turn.key].relative_to(root).as_posix())


def parse(path: PurePosixPath) -> Utterance | None:
    """Parse the name of an utterance, which tells all but the emotion."""
    turn = _TURN.fullmatch(path.stem)
    if turn is None:
        return None
    session, style, letter = turn.groups()
    return Utterance(
        file=path.as_posix(),
        emotion="",
        speaker=session + letter,
        key=path.stem,
        session=session,
        gender="female" if letter == "F" else "male",
        style=STYLES[style],
    )


def parse_line(line: str) -> Utterance:
    """Parse a line of an annotation: ``[6.2901 - 8.2357]⇥Ses01F_impro01_F000⇥neu⇥[2.5, 2.5, 2.5]`` → utterance.

    The file of the utterance stays empty.

    Raises:
        ValueError: The line is damaged; the message says how.
    """
    fields = line.split("\t")
    if len(fields) != 4:
        raise ValueError(f"damaged line {line!r}: {len(fields)} fields between tabs, not 4")
    times, name, label, ratings = fields
    turn = parse(PurePosixPath(name))
    _refuse_wrong_times(line, times)
    if turn is None:
        raise ValueError(f"damaged line {line!r}: {name!r} is not like Ses01F_impro01_F000")
    if label not in LABELS:
        raise ValueError(f"{label!r} is no emotion of IEMOCAP ({one_of(LABELS)})")
    if not _RATINGS.fullmatch(ratings):
        raise ValueError(f"damaged line {line!r}: {ratings!r} are not three ratings")
    return replace(turn, emotion=label)


def _session(home: Path, number: str) -> Iterator[Utterance]:
    dialogs = home / f"Session{number}" / "dialog"
    # Subfolders hold what single annotators said, and archives made on a Mac hold a `._` twin of every file.
    annotations = [path for path in sorted(dialogs.glob("EmoEvaluation/*.txt")) if not path.name.startswith("._")]
    if not annotations:
        raise CorpusError(f"{dialogs / 'EmoEvaluation'}: no annotation (*.txt) is here")
    for path in annotations:
        texts = _transcripts(dialogs / "transcriptions" / path.name)
        for utterance in _annotation(path, number):
            yield replace(utterance, text=texts.get(utterance.key, ""))


def _annotation(path: Path, number: str) -> Iterator[Utterance]:
    for position, line in enumerate(_lines(path), start=1):
        # The other lines are the header, single annotators' and blank ones.
        if not (line.startswith("[") or "\tSes0" in line):
            continue
        try:
            utterance = parse_line(line)
        except ValueError as error:
            raise CorpusError(f"{path}, line {position}: {error}") from None
        if utterance.session != number:
            raise CorpusError(f"{path}, line {position}: {utterance.key} does not belong to Session{number}")
        yield utterance


def _transcripts(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    matches = (_TRANSCRIPT.match(line) for line in _lines(path))
    return {match[1]: match[2].strip() for match in matches if match}


def _lines(path: Path) -> list[str]:
    # Annotators' remarks are in more than one encoding, and none of them matters here.
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [line.rstrip() for line in text.split("\n")]


def _audio(home: Path) -> dict[str, Path]:
    """Utterance → its file; a `.wav` goes before a `.flac` of the same utterance."""
    files = sorted(home.glob("Session[1-5]/sentences/wav/*/*"))
    return {file.stem: file for file in files if file.suffix.lower() in SUFFIXES and not file.name.startswith("._")}


def _refuse_wrong_times(line: str, times: str) -> None:
    match = _TIMES.fullmatch(times)
    if match is None:
        raise ValueError(f"damaged line {line!r}: {times!r} are no times")
    if not float(match[1]) < float(match[2]):
        raise ValueError(f"damaged line {line!r}: it ends before it starts")


def _refuse_a_part(home: Path, present: list[str]) -> None:
    missing = [f"Session{number}" for number in SESSIONS if number not in present]
    if missing:
        raise CorpusError(
            f"{home}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; there is "
            f"{', '.join(f'Session{number}' for number in present)}. Results on a part of IEMOCAP compare with "
            "nobody's; where a part is meant, take it of the whole corpus: --only session=1"
        )


def _refuse_missing_audio(home: Path, silent: list[str]) -> None:
    if silent:
        raise CorpusError(
            f"{home}: {len(silent)} annotated utterances have no audio file in SessionN/sentences/wav/DIALOG, "
            f"for example {', '.join(silent[:3])}"
        )


IEMOCAP = Reader(
    title="IEMOCAP",
    language="en",
    license="licensed by its owner for research, never redistributed",
    citation="Busso et al., IEMOCAP: Interactive emotional dyadic motion capture database, "
    "Language Resources and Evaluation 42(4), 2008",
    obtain="https://sail.usc.edu/iemocap/",
    layout="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav "
    "and Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
    labels=FOUR,
    presets=PRESETS,
    expected=Expected(labels=LABELS, speakers=10, sessions=SESSIONS),
    parse=parse,
    find=find,
)
