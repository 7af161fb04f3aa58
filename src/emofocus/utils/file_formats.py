"""The format of a file to write, which its suffix names: one rule for every command with ``--out FILE``."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from emofocus.errors import ConfigError, one_of


def suffix_of(path: Path, valid: Iterable[str]) -> str:
    """The suffix of a file to write, in the spelling of the valid ones, whatever the case of its letters.

    Args:
        path: The file.
        valid: Suffixes that can be written, each with its dot.

    Raises:
        ConfigError: The file has another suffix, or none; the message names the valid ones.
    """
    by_name = {suffix.lower(): suffix for suffix in valid}
    suffix = by_name.get(path.suffix.lower())
    if suffix is None:
        raise ConfigError(f"{path}: cannot write {path.suffix or 'a file without a suffix'} ({one_of(by_name)})")
    return suffix


def format_of(asked: str | None, out: Path | None, formats: Mapping[str, str], plain: str) -> str:
    """The format of an output: the one that is asked for; otherwise the one that the file's suffix names.

    Args:
        asked: Name of a format, which need not be the suffix's; None for the suffix's.
        out: File to write; None for the terminal. A folder has files of the plain format.
        formats: Suffixes and their formats.
        plain: Format on the terminal.

    Raises:
        ConfigError: No format is asked for, and the suffix names none.
    """
    if asked is not None:
        return asked
    return plain if out is None or out.is_dir() else formats[suffix_of(out, formats)]
