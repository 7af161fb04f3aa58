"""What workers are told: the model, which clips are wanted, and when to go carefully."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from emofocus.recognition.engine import PRECISION_FILES
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer, model_folder


@dataclass(frozen=True)
class Model:
    """A model as it is sent to workers, who need no copy of their own.

    Attributes:
        files: The graph of one precision, and `config.json`.
        options: How workers load it.
    """

    files: dict[str, bytes]
    options: RecognitionOptions

    @classmethod
    def of(cls, source: str | None, options: RecognitionOptions) -> "Model":
        """Read a model that `Recognizer.load` can load."""
        folder = model_folder(source)
        files = {name: (folder / name).read_bytes() for name in (PRECISION_FILES[options.precision], "config.json")}
        return cls(files, options)

    def load(self) -> Recognizer:
        """The recognizer of one worker."""
        with tempfile.TemporaryDirectory(prefix="emofocus-") as folder:
            for name, content in self.files.items():
                Path(folder, name).write_bytes(content)
            return Recognizer.load(folder, self.options)


@dataclass(frozen=True)
class Wanted:
    """Which clips get a row; the others are only heard where they keep them company.

    Attributes:
        size: Clips of a part.
        repeated: Positions of clips that were named before, and have their row there.
        again: Of parts that are done but for some clips: the positions of those.
    """

    size: int
    repeated: frozenset[int]
    again: dict[int, frozenset[int]]

    def __contains__(self, position: int) -> bool:
        """Whether the clip there gets a row."""
        missing = self.again.get(position // self.size)
        return position not in self.repeated and (missing is None or position in missing)


class Desk:
    """Where workers learn what to do, as often as they are started. It is an actor beside the one who asked.

    Args:
        model: What recognizes.
        wanted: Which clips get a row.
        asked: What `version_and_host` said where the work was asked for.
    """

    def __init__(self, model: Model, wanted: Wanted, asked: tuple[str, str]) -> None:
        self._task = model, wanted, asked
        self._begun: dict[int, int] = {}

    def task(self) -> tuple[Model, Wanted, tuple[str, str]]:
        """What every worker is told."""
        return self._task

    def begin(self, part: int) -> int:
        """How often it has been begun, this time included."""
        self._begun[part] = self._begun.get(part, 0) + 1
        return self._begun[part]
