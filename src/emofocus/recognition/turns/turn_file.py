"""Files of turns: diarizations and transcripts, read and written again with the emotion of each turn."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from emofocus.errors import ConfigError, one_of
from emofocus.recognition.turns import cues, rttm, tables, textgrid
from emofocus.recognition.turns.parsed import Parsed
from emofocus.recognition.turns.turn import Turn, TurnEmotion, checked_turns
from emofocus.utils.table_text import is_wide

PARSERS: dict[str, Callable[[str, str, str], Parsed]] = {
    "rttm": rttm.parse,
    "json": tables.parse_json,
    "srt": cues.parse_srt,
    "vtt": cues.parse_vtt,
    "textgrid": textgrid.parse,
    "csv": tables.parse_csv,
}
"""Format → function that reads it, given its text, the name of its file and that of the recording."""

SUFFIXES = {".rttm": "rttm", ".json": "json", ".srt": "srt", ".vtt": "vtt", ".TextGrid": "textgrid", ".csv": "csv"}
"""Suffixes of files, and their formats."""

PLAIN = ("json", "csv")
"""Formats that turns of every other format can be written in."""


@dataclass(frozen=True, slots=True)
class TurnFile:
    """A diarization or a transcript.

    Attributes:
        name: Name of the file.
        format: A key of `PARSERS`.
        turns: Turns in the order of the file.
        parsed: The rest of the file, which is written again as it was.
    """

    name: str
    format: str
    turns: tuple[Turn, ...]
    parsed: Parsed

    @property
    def notices(self) -> tuple[str, ...]:
        """Facts about the file that its user should know."""
        return self.parsed.notices

    @classmethod
    def read(cls, path: Path, recording: str = "") -> "TurnFile":
        """Read a file.

        Args:
            path: The file; its suffix tells its format.
            recording: Name of the recording, which chooses the turns of a file of several recordings; empty for any.

        Raises:
            ConfigError: The file cannot be read, is of no known format, or is damaged.
        """
        format = format_by_suffix(path.name)
        try:
            return cls.parse(path.read_bytes(), format, str(path), recording)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error

    @classmethod
    def parse(cls, content: bytes, format: str, name: str, recording: str = "") -> "TurnFile":
        """Read the content of a file.

        Args:
            content: Text in UTF-8, or in UTF-16 with a byte order mark.
            format: A key of `PARSERS`.
            name: Name of the file in errors.
            recording: Name of the recording, as in `read`.

        Raises:
            ConfigError: It is damaged, or holds no turns.
        """
        try:
            text = content.decode("utf-16" if is_wide(content) else "utf-8-sig")
        except UnicodeError as error:
            raise ConfigError(f"{name}: is no text in UTF-8 or UTF-16 ({error})") from error
        parsed = PARSERS[format](text, name, recording)
        return cls(name, format, checked_turns(parsed.turns, name), parsed)

    def text(self, emotions: Sequence[TurnEmotion], labels: Sequence[str], format: str | None = None) -> str:
        """Text of the same file with the emotion of each turn.

        Args:
            emotions: Emotions of the turns, in their order.
            labels: All emotions of the model.
            format: The file's own format, which is the default, or one of `PLAIN`: then the turns alone.

        Raises:
            ConfigError: The turns cannot be written in the format.
        """
        if format in (None, self.format):
            return self.parsed.render(emotions, labels)
        return _plain(emotions, labels, self.check_format(format))

    def check_format(self, format: str | None) -> str:
        """The format of a result, if turns of this file can be written in it.

        Raises:
            ConfigError: They cannot.
        """
        valid = dict.fromkeys((self.format, *PLAIN))
        if format is not None and format not in valid:
            raise ConfigError(f"turns of {self.name} cannot be written as {format!r} ({one_of(valid)})")
        return format or self.format


def format_by_suffix(name: str) -> str:
    """Format of a file of turns by the suffix of its name.

    Raises:
        ConfigError: The suffix belongs to no format.
    """
    by_suffix = {suffix.lower(): format for suffix, format in SUFFIXES.items()}
    suffix = Path(name).suffix.lower()
    if suffix not in by_suffix:
        raise ConfigError(f"{name}: not a file of turns by its suffix, {suffix!r} ({one_of(SUFFIXES)})")
    return by_suffix[suffix]


def turns_of(segments: Iterable[Any], name: str = "segments") -> tuple[Turn, ...]:
    """Turns that a program gives: each a `Turn`, ``(start, end)``, ``(start, end, speaker)``, or a mapping.

    Args:
        segments: Turns in any order.
        name: Name of them in errors.

    Raises:
        ConfigError: One of them is none of those, or its times are not possible.
    """
    plain = [segment._asdict() if isinstance(segment, Turn) else segment for segment in segments]
    entries = [dict(zip(Turn._fields, item, strict=False)) if isinstance(item, tuple) else item for item in plain]
    return checked_turns(tables.turns_of_entries(entries, name), name)


def _plain(emotions: Sequence[TurnEmotion], labels: Sequence[str], format: str) -> str:
    """The turns alone, as one of `PLAIN`."""
    rows = [emotion.to_dict() for emotion in emotions]
    if format == "json":
        return json.dumps({"segments": rows}, ensure_ascii=False, indent=1) + "\n"
    fields = ("start", "end", "speaker", "text", "channel")
    stream = StringIO()
    tables.write_csv(
        stream, ",", [*fields], [[row.get(name, "") for name in fields] for row in rows], list(emotions), labels
    )
    return stream.getvalue()
