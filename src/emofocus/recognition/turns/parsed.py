"""Content of a file of turns: the turns, and a way to write the file again with their emotions."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from emofocus.errors import ConfigError
from emofocus.recognition.turns.turn import Turn, TurnEmotion

Render = Callable[[Sequence[TurnEmotion], Sequence[str]], str]
"""Writes a file again, given the emotions of its turns, in their order, and all emotions of the model."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """Content of a file of turns.

    Attributes:
        turns: Turns in the order of the file.
        render: Writes the file again.
        notices: Facts about the file that its user should know.
    """

    turns: Sequence[Turn]
    render: Render
    notices: tuple[str, ...] = ()


def names_of_recording(named: Collection[str], recording: str, name: str) -> tuple[set[str], tuple[str, ...]]:
    """Names by which a file of turns calls a recording, and notices.

    A file of one recording is taken for this one whatever it calls it, because a program that was given samples and no
    file knows no name.

    Args:
        named: Names of the recordings that the file has turns of.
        recording: Name of the recording, with or without its folder; empty if it is not known.
        name: Name of the file in errors.

    Raises:
        ConfigError: The file has turns of several recordings, and of none that is called like this one.
    """
    every = {*named}
    wanted = _names(recording)
    same = {other for other in every if _names(other) & wanted}
    if not recording or (every and same == every):
        return every, ()
    if same:
        return same, ()
    listed = " ".join(", ".join(sorted(every)[:3]).split()) + (", …" if len(every) > 3 else "")
    if len(every) > 1:
        raise ConfigError(
            f"{name}: a transcript of other recordings? It has turns of {len(every)} ({listed}), "
            f"and none is called {recording}"
        )
    return every, (f"{name}: calls its recording {listed}, not {PurePosixPath(recording).stem}",) if every else ()


def _names(text: str) -> set[str]:
    """Names of a file: with and without its suffix."""
    path = PurePosixPath(text.replace("\\", "/"))
    return {path.name, path.stem} - {""}
