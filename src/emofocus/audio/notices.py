"""Facts about a recording that is unusual, and is read and recognized all the same."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

ReadingKind: TypeAlias = Literal["cut", "damaged", "tracks", "inverted"]
"""Notices of reading. The recording ends too early; parts of it cannot be decoded; it has several audio tracks;
its channels cancel each other."""

QualityKind: TypeAlias = Literal["offset", "soft", "clipped", "narrow", "noisy", "sparse"]
"""Kinds of notices of its sound (`emofocus.audio.quality`)."""

Kind: TypeAlias = ReadingKind | QualityKind


class Notice(NamedTuple):
    """A fact about a recording that its listener should know.

    Attributes:
        kind: Its kind.
        text: The fact, without the file's name.
    """

    kind: Kind
    text: str

    def __str__(self) -> str:
        """Spell it as the warnings of a prediction are: the kind, a colon, and the fact."""
        return f"{self.kind}: {self.text}"


Warn: TypeAlias = Callable[[Notice], None]
"""Takes a notice."""


def ignore(_: Notice) -> None:
    """Take a notice and do nothing."""
