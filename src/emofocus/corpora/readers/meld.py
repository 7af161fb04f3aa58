"""MELD, utterances of the TV series Friends: Poria et al., ACL 2019.

Dialogs with several speakers, labeled by who watched them in seven emotions. The owner's page gives the clips for
research; the series belongs to its makers.

Layout (https://github.com/declare-lab/MELD): a table for each part, ``train_sent_emo.csv``, ``dev_sent_emo.csv`` and
``test_sent_emo.csv``, and clips ``train_splits/dia0_utt0.mp4``, ``dev_splits_complete/`` and
``output_repeated_splits_test/``, wherever these folders are below the root. A ``.wav`` goes before an ``.mp4`` of the
same name.

Traps:
    Ids of dialogs and utterances start anew in each part, so that keys begin with the part.
    Parts share speakers: the six friends are in each. The protocol for them is ``owner-shared``.
    ``Speaker`` may be several people (All, Both, Ross and Joey) or a part ("Woman"), and one person may be spelt in
    two ways; names stay as they are. The tables tell no sex.
    Clips were cut by an aligner of text: some hold other words or minutes of the series (test dia38_utt4, dia220_utt0;
    the owner's issues 9, 20 and 30), and the laughter of the audience is in many.
    Two rows have no sound: the clip of train dia125_utt3 is damaged (issues 39 and 52), that of dev dia110_utt7 is
    missing (issues 22 and 27). They are left out. Clips without a row, such as ``final_videos_test...``, are passed by.
    Apostrophes of the tables are control characters in some copies.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from emofocus.corpora.corpus import SUFFIXES, Expected, Reader, Utterance
from emofocus.corpora.owner_table import find_table, read_rows
from emofocus.errors import CorpusError
from emofocus.utils.folder_tree import files_below, log_unreadable

EMOTIONS = {
    "neutral": "neutral",
    "joy": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fearful",
    "disgust": "disgust",
    "surprise": "surprised",
}
COUNTS = {"neutral": 6434, "joy": 2308, "sadness": 1002, "anger": 1607, "fear": 358, "disgust": 361, "surprise": 1636}
"""Number of utterances of each label in the three tables, less the two without sound, which are neutral."""

FOLDERS = {"train_splits": "train", "dev_splits_complete": "dev", "output_repeated_splits_test": "test"}
"""Folder of clips → the owner's name of the part."""

PARTITIONS = {"train": "train", "dev": "valid", "test": "test"}
NO_SOUND = ("train_dia125_utt3", "dev_dia110_utt7")
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")

_NAME = re.compile(r"dia\d+_utt\d+")


def find(root: Path) -> Iterator[Utterance]:
    """Utterances of the parts whose clips are below ``root``, sorted by file.

    Raises:
        CorpusError: The table of a part is missing or damaged.
    """
    clips = _clips(root)
    parts = {FOLDERS[clip.parent.name] for clip in clips}
    rows = {part: _rows(root, part) for part in sorted(parts)}
    for clip in clips:
        part = FOLDERS[clip.parent.name]
        row = rows[part].get(clip.stem)
        if row is not None and f"{part}_{clip.stem}" not in NO_SOUND:
            yield Utterance(
                file=clip.as_posix(),
                emotion=row["Emotion"].lower(),
                speaker=row["Speaker"],
                key=f"{part}_{clip.stem}",
                text=row["Utterance"],
                partition=PARTITIONS[part],
            )


def parse(path: PurePosixPath) -> Utterance | None:
    """`dev_splits_complete/dia0_utt0`: the name of a clip tells neither its emotion nor its speaker."""
    if _NAME.fullmatch(path.stem) is None or path.parent.name not in FOLDERS:
        return None
    return Utterance(file=path.as_posix(), emotion="", speaker="", key=f"{FOLDERS[path.parent.name]}_{path.stem}")


def _clips(root: Path) -> list[PurePosixPath]:
    """Clip of each utterance, sorted; of several files with one name, a video comes last."""
    order = (*SUFFIXES, ".mp4")
    clips: dict[PurePosixPath, PurePosixPath] = {}
    for path in files_below(root, log_unreadable):
        clip = PurePosixPath(path.relative_to(root).as_posix())
        if parse(clip) is None or clip.suffix.lower() not in order:
            continue
        other = clips.setdefault(clip.with_suffix(""), clip)
        if order.index(clip.suffix.lower()) < order.index(other.suffix.lower()):
            clips[clip.with_suffix("")] = clip
    return sorted(clips.values())


def _rows(root: Path, part: str) -> dict[str, dict[str, str]]:
    """Name of a clip → its row in the table of a part."""
    name = f"{part}_sent_emo.csv"
    table = find_table(root, name)
    if table is None:
        raise CorpusError(f"{root}: the clips of the part {part} are here, but not their table {name}")
    return {f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}": row for row in read_rows(table, COLUMNS)}


MELD = Reader(
    title="MELD",
    language="en",
    license="for research only",
    citation="Poria et al., MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations, ACL 2019",
    obtain="https://affective-meld.github.io",
    layout="train_splits/dia0_utt0.mp4 with train_sent_emo.csv",
    labels=EMOTIONS,
    expected=Expected(labels=COUNTS, speakers=None),
    parse=parse,
    find=find,
)
