"""Files below a folder, those in linked folders included."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from emofocus.utils.progress import log_line

Report = Callable[[OSError], None]
"""Takes the error of a folder that cannot be read."""


def is_file(path: Path) -> bool:
    """Whether a path is a file; a name that no file can have, or may not be looked at, is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; a name that no folder can have, or may not be looked at, is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def files_below(folder: Path, report: Report) -> Iterator[Path]:
    """Files below a folder, in no order.

    Linked folders are followed. Every folder is walked once, under its own name before that of a link, so that loops
    of links end.

    Args:
        folder: Folder at the top.
        report: Takes the error of each folder that cannot be read; the others are walked.
    """
    seen: set[tuple[int, int]] = set()
    linked = [folder]
    while linked:
        linked.sort()
        plain, found = [linked.pop(0)], []
        while plain:
            current = plain.pop()
            try:
                status = current.stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                entries = list(os.scandir(current))
            except OSError as error:
                report(error)
                continue
            for entry in entries:
                path = current / entry.name
                if not _is_folder(entry):
                    found.append(path)
                elif entry.is_symlink():
                    linked.append(path)
                else:
                    plain.append(path)
        yield from (path for path in found if is_file(path))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder or a link to one; a link that leads to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def log_unreadable(error: OSError) -> None:
    """Name a folder that cannot be read on stderr: a `Report` for work that goes on without it."""
    log_line(f"{os.fsdecode(error.filename)}: cannot be read ({error.strerror})")
