"""What every corpus becomes: one record an utterance."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emofocus.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled stretch of speech.

    Attributes:
        file: Path below the corpus' root, with forward slashes.
        emotion: One of the corpus' classes.
        speaker: Who speaks; unique within the corpus.
        gender: ``female``, ``male`` or empty when unknown.
        text: What is said, or a code of it; empty when unknown.
    """

    file: str
    emotion: str
    speaker: str
    gender: str = ""
    text: str = ""


@dataclass(frozen=True)
class Corpus:
    """Utterances of one corpus, its root folder and its classes in the order of the logits."""

    name: str
    root: Path
    classes: tuple[str, ...]
    utterances: tuple[Utterance, ...]
    license: str

    def paths(self) -> list[Path]:
        """Files, in the order of the utterances."""
        return [self.root / utterance.file for utterance in self.utterances]

    def labels(self) -> list[int]:
        """Class numbers, in the order of the utterances."""
        number = {label: index for index, label in enumerate(self.classes)}
        return [number[utterance.emotion] for utterance in self.utterances]


@dataclass(frozen=True)
class Reader:
    """How one corpus is recognised and read from its owner's layout.

    Attributes:
        title: Full name.
        classes: Emotions, in the order of the logits.
        expected: Utterances of the whole corpus.
        license: SPDX name, or words.
        layout: What a file looks like, for messages.
        parse: Relative path → utterance, or None for files that are not the corpus' own.
    """

    title: str
    classes: tuple[str, ...]
    expected: int
    license: str
    layout: str
    citation: str
    parse: Callable[[Path], Utterance | None]
    suffixes: Sequence[str] = field(default=(".wav", ".flac"))

    def read(self, name: str, root: Path) -> Corpus:
        """Read the corpus below ``root``; a folder that holds only a part of it is read as far as it goes.

        Raises:
            CorpusError: ``root`` is no folder, or holds no file of this corpus.
        """
        if not root.is_dir():
            raise CorpusError(f"{root}: no such folder; {self.title} is expected there as {self.layout}")
        files = sorted(path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in self.suffixes)
        found = [item for item in map(self.parse, files) if item is not None]
        if not found:
            raise CorpusError(
                f"{root}: not a {self.title} folder: none of its {len(files)} audio files is named like {self.layout}"
            )
        _refuse_duplicates(root, found)
        return Corpus(name, root, self.classes, tuple(found), self.license)


def _refuse_duplicates(root: Path, utterances: list[Utterance]) -> None:
    repeated = [stem for stem, n in Counter(Path(item.file).stem for item in utterances).items() if n > 1]
    if repeated:
        raise CorpusError(
            f"{root}: {len(repeated)} utterances are there twice, for example {repeated[0]!r}; "
            "point --root at one copy of the corpus"
        )
