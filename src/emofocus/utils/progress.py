"""Progress of long work: a live bar on a terminal, plain lines elsewhere; always on stderr.

Of several processes that train in parallel, the first one speaks.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

LINE_EVERY = 15.0
"""Seconds between two plain lines."""

_plain = False


def plain() -> None:
    """Show plain lines in this process even on a terminal: it is one of several that write to it."""
    global _plain
    _plain = True


def track(
    items: Sequence[Item], title: str, unit: str = "item", status: Callable[[], str] | None = None
) -> Iterator[Item]:
    """Go through items and show how far it is, and what ``status`` says each time it is looked at."""
    if not items:
        return
    if not _is_first():
        yield from items
        return
    if sys.stderr.isatty() and not _plain:
        yield from _bar(items, title, status)
        return
    started = shown = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown > LINE_EVERY:
            left = (now - started) / number * (len(items) - number)
            now_at = f", {status()}" if status else ""
            say(f"{title}: {number}/{len(items)} {unit}{now_at}, {left:.0f} s left")
            shown = now


def _bar(items: Sequence[Item], title: str, status: Callable[[], str] | None) -> Iterator[Item]:
    """A live bar with the time that is left."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[status]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=len(items), status="")
        for item in items:
            yield item
            progress.update(task, advance=1, status=status() if status else "")


def telling(items: Iterable[Item], line: Callable[[Item, float], str]) -> Iterator[Item]:
    """Go through items of which nobody knows the number, and say a line now and then.

    Args:
        items: To go through.
        line: The last item and the seconds since the first → what to say.
    """
    began = shown = time.monotonic()
    for item in items:
        yield item
        now = time.monotonic()
        if now - shown > LINE_EVERY:
            say(line(item, now - began))
            shown = now


def say(text: str) -> None:
    """One line on stderr."""
    if _is_first():
        print(text, file=sys.stderr, flush=True)


def _is_first() -> bool:
    """Fabric's own processes have a LOCAL_RANK alone; torchrun and Ray give each a RANK among those of all machines."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"
