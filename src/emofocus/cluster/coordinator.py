"""State that the workers of a bulk run share: their task, and the number of attempts at each part."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from emofocus.cluster.connection import Requester
from emofocus.recognition.engine import PRECISION_FILES
from emofocus.recognition.options import RecognitionOptions
from emofocus.recognition.recognizer import Recognizer, model_folder
from emofocus.recognition.voice import VoiceProfile

PROFILE = "voice.json"
"""Name of the profile of a voice among the files that workers get."""


@dataclass(frozen=True)
class PortableModel:
    """A model in a form that is sent to workers, which therefore need no copy of their own.

    Attributes:
        files: Content of the graph of one precision, of `config.json`, and of the profile of a voice, by name.
        options: Options with which workers load it.
    """

    files: dict[str, bytes]
    options: RecognitionOptions

    @classmethod
    def read(cls, source: str | None, options: RecognitionOptions) -> "PortableModel":
        """Read a model.

        Args:
            source: A model directory, a name on the Hub, or None, as in `Recognizer.load`.
            options: Options with which workers load it.

        Raises:
            ModelError: The model does not exist, or a file of it is missing.
            ConfigError: The profile of the voice cannot be read.
        """
        folder = model_folder(source)
        files = {name: (folder / name).read_bytes() for name in (PRECISION_FILES[options.precision], "config.json")}
        if options.voice is not None:
            files[PROFILE] = VoiceProfile.load(Path(options.voice)).to_json().encode()
        return cls(files, options)

    def load(self) -> Recognizer:
        """Load the recognizer of one worker."""
        with tempfile.TemporaryDirectory(prefix="emofocus-") as folder:
            for name, content in self.files.items():
                Path(folder, name).write_bytes(content)
            voice = str(Path(folder, PROFILE)) if PROFILE in self.files else None
            return Recognizer.load(folder, replace(self.options, voice=voice))


@dataclass(frozen=True)
class Selection:
    """The clips that get a row. Others are recognized only as members of a selected clip's batch.

    Attributes:
        part_size: Clips of a part.
        repeated: Positions of clips that occur earlier in the input and have their row there.
        again: Positions of the clips of each part that is otherwise done which failed, or whose recording was replaced.
    """

    part_size: int
    repeated: frozenset[int]
    again: dict[int, frozenset[int]]

    def __contains__(self, position: int) -> bool:
        """Whether the clip at a position of the input gets a row."""
        again = self.again.get(position // self.part_size)
        return position not in self.repeated and (again is None or position in again)


@dataclass(frozen=True)
class BulkTask:
    """The task of every worker.

    Attributes:
        model: The model to use.
        selection: The clips that get a row.
        requester: The process that runs the command.
    """

    model: PortableModel
    selection: Selection
    requester: Requester


class Coordinator:
    """Holds the task, and counts the attempts at each part; a Ray actor on the node that runs the command.

    Args:
        task: The task of every worker.
    """

    def __init__(self, task: BulkTask) -> None:
        self._task = task
        self._attempts: Counter[int] = Counter()

    def task(self) -> BulkTask:
        """The task of every worker."""
        return self._task

    def begin(self, part: int) -> int:
        """Count an attempt at a part; return the number of attempts so far, including this one."""
        self._attempts[part] += 1
        return self._attempts[part]
