"""Whether an output holds the same work: one rule for every command that writes an output.

A command notes what its output depends on (inputs, settings, model, versions) in a record beside it. Run again, it
compares that record with what it is asked for: the same work goes on, other work is refused in a line that names each
difference.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from emofocus.errors import ConfigError
from emofocus.utils.atomic import write_text

Record = Mapping[str, object]
"""Plain data, ready for JSON. A nested mapping is compared name by name."""

REMEDY = "name another --out, or remove it to begin again"

PROVENANCE = "provenance.json"
"""Name of the record of an output that is a folder."""

ABSENT = "absent"
"""Text that stands in a message for a value that one of two records lacks."""

SHOWN = 60
"""Letters of a value that a message shows."""


def record_path(output: Path) -> Path:
    """Path of the record of an output that is one file: a hidden file in the same folder."""
    return output.with_name(f".{output.name}.settings")


def resumes(output: Path, record: Path, wanted: Record, occupied: bool) -> bool:
    """Whether an output was begun by the same work; a new output gets its record.

    Args:
        output: File or folder, for messages.
        record: File of the record.
        wanted: Record of all that the output depends on.
        occupied: Whether something lies there already.

    Raises:
        ConfigError: Other work lies there, or work of which there is no record.
    """
    if not occupied:
        write_record(record, wanted)
        return False
    there = read_record(record)
    if there is None:
        raise ConfigError(f"{output} is there already, and nobody knows how it was made; {REMEDY}")
    refuse_other_work(output, there, wanted)
    return True


def refuse_other_work(output: object, there: Record, wanted: Record, remedy: str = REMEDY) -> None:
    """Refuse an output whose record differs from what is asked for.

    Raises:
        ConfigError: It does; the message names each difference, and the remedy.
    """
    different = list(differences(there, wanted))
    if different:
        raise ConfigError(f"{output} holds another run ({', '.join(different)}); {remedy}")


def differences(there: Record, wanted: Record, prefix: str = "") -> Iterator[str]:
    """Spell each difference as ``seed is 0, not 1``.

    Both sides are compared as JSON has them, so that a tuple equals a list. What only ``there`` has is a difference
    inside a nested mapping, because settings that are unset are not written. At the top it is none.
    """
    for name, value in json.loads(json.dumps(dict(wanted))).items():
        before = there.get(name)
        if isinstance(value, dict) and isinstance(before, Mapping):
            yield from differences(before, value, f"{prefix}{name}.")
            for lost in sorted(before.keys() - value.keys()):
                yield f"{prefix}{name}.{lost} is {_shown(lost, before)}, not {ABSENT}"
        elif before != value:
            yield f"{prefix}{name} is {_shown(name, there)}, not {_shown(name, {name: value})}"


def _shown(name: str, record: Record) -> str:
    text = repr(record[name]) if name in record else ABSENT
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def read_record(path: Path) -> Record | None:
    """The record in a file; None if there is no such file, or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_record(path: Path, record: Record) -> None:
    """Write a record, atomically."""
    write_text(path, json.dumps(dict(record), indent=1) + "\n")


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, its first 16 hexadecimal digits."""
    import hashlib  # here: OpenSSL takes longer to load than a clip to be recognized

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def file_state(path: Path) -> list[int]:
    """Size in bytes and time of the last change in nanoseconds: cheap, and enough to notice a replaced recording.

    Raises:
        OSError: The file cannot be looked at.
    """
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def states_hash(root: Path, files: Iterable[str]) -> str:
    """16 hexadecimal digits that tell files below a folder, by name, size and time of the last change, from others."""
    import hashlib

    states = [[name, *(file_state(root / name) if (root / name).exists() else ())] for name in files]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:16]
