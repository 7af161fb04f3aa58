"""Ctrl-C in a command whose work is kept."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from emofocus.utils.progress import log_line

INTERRUPTED = 130
"""Exit code of a program that the signal of Ctrl-C has ended, as shells spell it."""


@contextmanager
def resumable(out: object) -> Iterator[None]:
    """End the program on Ctrl-C with a line that says that nothing is lost.

    Args:
        out: The output, for the line.
    """
    try:
        yield
    except KeyboardInterrupt:
        log_line(f"{out}: interrupted; the same command goes on from here")
        sys.exit(INTERRUPTED)


def resumes(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command with an argument `out` `resumable`. It stands directly above the function, or above `grouped`."""

    @wraps(command)
    def run(**arguments: Any) -> None:
        with resumable(arguments["out"]):
            command(**arguments)

    return run
