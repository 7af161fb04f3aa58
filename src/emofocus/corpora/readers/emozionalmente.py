"""Emozionalmente, acted emotional speech in Italian: Catania et al., IEEE TASLP 33, 2025.

431 amateurs say some of 18 sentences in the big six emotions and neutrally, each with a microphone of their own.
License: CC BY 4.0.

Layout (https://doi.org/10.5281/zenodo.12616095, and ESPnet's recipe for it): ``audio/*.wav``, named after the time of
recording; ``metadata/samples.csv`` with file_name, actor, sentence and emotion_expressed; ``metadata/users.csv`` with
username and gender; since version 1.1 ``metadata/split/train.csv``, ``dev.csv`` and ``test.csv`` with file_name.

Traps:
    Names of files tell nothing. Labels are what an actor meant: listeners hear it in two clips of three.
    ``users.csv`` also lists those who only listened. Genders other than female and male count as not known.
    Three sentences are also EMOVO's. 44 actors have one clip, one has 105.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from emofocus.corpora.corpus import Expected, Reader, Utterance, audio_files
from emofocus.corpora.owner_table import find_table, read_rows
from emofocus.errors import CorpusError

EMOTIONS = {
    "neutrality": "neutral",
    "joy": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fearful",
    "disgust": "disgust",
    "surprise": "surprised",
}
PARTITIONS = {"train.csv": "train", "dev.csv": "valid", "test.csv": "test"}
GENDERS = {"female": "female", "f": "female", "male": "male", "m": "male"}


def find(root: Path) -> Iterator[Utterance]:
    """Utterances below ``root`` that the owner's table names, sorted by file.

    Raises:
        CorpusError: A table is missing or damaged, or a file is in two parts.
    """
    samples = find_table(root, "samples.csv")
    if samples is None:
        return
    rows = {
        row["file_name"]: row for row in read_rows(samples, ("file_name", "actor", "sentence", "emotion_expressed"))
    }
    by_stem = {PurePosixPath(name).stem: row for name, row in rows.items()}
    genders = read_genders(samples.with_name("users.csv"))
    partitions = read_partitions(samples.parent / "split")
    for path in audio_files(root):
        row = by_stem.get(path.stem)
        if row is not None:
            yield Utterance(
                file=path.as_posix(),
                emotion=row["emotion_expressed"],
                speaker=row["actor"],
                key=path.stem,
                text=row["sentence"],
                gender=genders.get(row["actor"], ""),
                partition=partitions.get(row["file_name"], ""),
            )


def read_genders(path: Path) -> dict[str, str]:
    """Actor → female or male, for those who say so.

    Raises:
        CorpusError: The table is missing or damaged.
    """
    rows = read_rows(path, ("username", "gender"))
    return {row["username"]: GENDERS.get(row["gender"].lower(), "") for row in rows}


def read_partitions(folder: Path) -> dict[str, str]:
    """File → the owner's part; empty for version 1.0, which has no parts.

    Raises:
        CorpusError: A part is missing or damaged, or a file is in two parts.
    """
    partitions: dict[str, str] = {}
    if not folder.is_dir():
        return partitions
    for table, partition in PARTITIONS.items():
        for row in read_rows(folder / table, ("file_name",)):
            name = row["file_name"]
            if partitions.setdefault(name, partition) != partition:
                raise CorpusError(f"{folder / table}: {name} is in the part {partitions[name]}, too")
    return partitions


EMOZIONALMENTE = Reader(
    title="Emozionalmente",
    language="it",
    license="CC-BY-4.0",
    citation="Catania et al., Emozionalmente: A Crowdsourced Corpus of Simulated Emotional Speech in Italian, "
    "IEEE Transactions on Audio, Speech and Language Processing 33, 2025",
    obtain="https://doi.org/10.5281/zenodo.12616095",
    layout="audio/NAME.wav with metadata/samples.csv and metadata/users.csv",
    labels=EMOTIONS,
    expected=Expected(labels=dict.fromkeys(EMOTIONS), speakers=431, total=6902),
    parse=lambda _: None,
    find=find,
)
