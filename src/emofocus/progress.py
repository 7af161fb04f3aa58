"""Progress of long work: a live bar on a terminal, plain lines elsewhere; always on stderr.

Of several processes that train in parallel, the first one speaks.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

LINE_EVERY = 15.0
"""Seconds between two plain lines."""


def track(items: Sequence[Item], title: str, unit: str = "item") -> Iterator[Item]:
    """Go through items and show how far it is."""
    if not items:
        return
    if not _is_first():
        yield from items
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as bar

        yield from bar(items, description=title, console=Console(stderr=True), transient=True)
        return
    started = shown = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown > LINE_EVERY:
            left = (now - started) / number * (len(items) - number)
            say(f"{title}: {number}/{len(items)} {unit}, {left:.0f} s left")
            shown = now


def say(text: str) -> None:
    """One line on stderr."""
    if _is_first():
        print(text, file=sys.stderr, flush=True)


def _is_first() -> bool:
    return os.environ.get("LOCAL_RANK", "0") == "0"
