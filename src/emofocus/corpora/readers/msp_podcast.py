"""MSP-Podcast, speaking turns of podcasts: Lotfian and Busso, IEEE Transactions on Affective Computing 10(4), 2019.

Natural English speech of more than a thousand speakers, each turn labeled by at least five listeners. The University of
Texas at Dallas licenses it to institutions.

Layout (readme of release 1.12): ``Audios/MSP-PODCAST_0001_0008.wav`` and ``Labels/labels_consensus.csv`` or ``.json``
(``labels_concensus`` in releases up to 1.8) with FileName, EmoClass, EmoAct, EmoVal, EmoDom, SpkrID, Gender and
Split_Set. EmoClass is A angry, S sad, H happy, U surprised, F fearful, D disgust, C contempt, N neutral, O other, X no
agreement; the last two have no class. In JSON the names of files are the keys.

Parts are the owner's: Train, Development, Test1, Test2 and, without labels in most releases, Test3. The protocol
``owner`` makes a fold of each test part with labels.

Traps:
    Numbers of utterances grow with each release, so that none are checked: say which release you used.
    SpkrID is Unknown for some turns of the training part. They have no speaker here, and protocols that deal whole
    speakers refuse them. Test parts share speakers with each other.
    Wavs without a row (Test3, files of former releases) are passed by. Arousal, valence and dominance (EmoAct, EmoVal,
    EmoDom, from 1 to 7) are not read.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from emofocus.corpora.corpus import Expected, Reader, Utterance, audio_files
from emofocus.corpora.owner_table import find_table, read_rows
from emofocus.errors import CorpusError, one_of

EMOTIONS = {
    "N": "neutral",
    "H": "happy",
    "S": "sad",
    "A": "angry",
    "F": "fearful",
    "D": "disgust",
    "U": "surprised",
    "C": "contempt",
}
LETTERS = (*EMOTIONS, "O", "X")

PARTITIONS = {
    "Train": "train",
    "Development": "valid",
    "Validation": "valid",
    "Test1": "test1",
    "Test2": "test2",
    "Test3": "test3",
}
TABLES = ("labels_consensus.csv", "labels_concensus.csv", "labels_consensus.json", "labels_concensus.json")
COLUMNS = ("EmoClass", "SpkrID", "Gender", "Split_Set")

_NAME = re.compile(r"MSP-PODCAST_\d+(?:_\d+)+")


def find(root: Path) -> Iterator[Utterance]:
    """Utterances below ``root`` that the table of labels names, sorted by file.

    Raises:
        CorpusError: The table is missing or damaged, or has an unknown part.
    """
    files = [path for path in audio_files(root) if _NAME.fullmatch(path.stem)]
    if not files:
        return
    table = next((found for name in TABLES if (found := find_table(root, name))), None)
    if table is None:
        raise CorpusError(f"{root}: its audio files are here, but not their labels ({one_of(TABLES)})")
    rows = read_labels(table)
    for path in files:
        if path.stem in rows:
            yield _utterance(path, rows[path.stem], table)


def parse(path: PurePosixPath) -> Utterance | None:
    """`MSP-PODCAST_0001_0008`: the name tells podcast and turn, and neither emotion nor speaker."""
    if _NAME.fullmatch(path.stem) is None:
        return None
    return Utterance(file=path.as_posix(), emotion="", speaker="", key=path.stem)


def read_labels(path: Path) -> dict[str, Mapping[str, str]]:
    """Name of a turn → its row in the table of labels.

    Raises:
        CorpusError: The table is damaged.
    """
    if path.suffix == ".csv":
        return {PurePosixPath(row["FileName"]).stem: row for row in read_rows(path, ("FileName", *COLUMNS))}
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: unreadable: {error}") from error
    if not isinstance(content, dict):
        raise CorpusError(f"{path}: an object with the names of files as keys is expected")
    return {PurePosixPath(name).stem: _row(path, name, row) for name, row in content.items()}


def _row(path: Path, name: str, row: Any) -> Mapping[str, str]:
    missing = [column for column in COLUMNS if not isinstance(row, dict) or column not in row]
    if missing:
        raise CorpusError(f"{path}: {name} has no {missing[0]} ({one_of(COLUMNS)})")
    return {column: str(row[column]).strip() for column in COLUMNS}


def _utterance(path: PurePosixPath, row: Mapping[str, str], table: Path) -> Utterance:
    part, gender = row["Split_Set"], row["Gender"].lower()
    if part not in PARTITIONS:
        raise CorpusError(f"{table}: {path.stem} is in an unknown part {part!r} ({one_of(PARTITIONS)})")
    return Utterance(
        file=path.as_posix(),
        emotion=row["EmoClass"],
        speaker="" if row["SpkrID"] == "Unknown" else row["SpkrID"],
        key=path.stem,
        gender=gender if gender in ("female", "male") else "",
        partition=PARTITIONS[part],
    )


MSP_PODCAST = Reader(
    title="MSP-Podcast",
    language="en",
    license="licensed by its owner to institutions, never redistributed",
    citation="Lotfian and Busso, Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional "
    "Speech from Existing Podcast Recordings, IEEE Transactions on Affective Computing 10(4), 2019",
    obtain="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
    layout="Audios/MSP-PODCAST_0001_0008.wav with Labels/labels_consensus.csv",
    labels=EMOTIONS,
    expected=Expected(labels=dict.fromkeys(LETTERS), speakers=None),
    parse=parse,
    find=find,
)
