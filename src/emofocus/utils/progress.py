"""Progress of long work: a live bar on a terminal, plain lines elsewhere; always on stderr.

Where several processes train together, only the first one writes.
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


def use_plain_lines() -> None:
    """Write plain lines in this process even on a terminal, because several processes write to it."""
    global _plain
    _plain = True


def track(
    items: Sequence[Item], title: str, unit: str = "item", status: Callable[[], str] | None = None
) -> Iterator[Item]:
    """Yield items and show how many are done.

    Args:
        items: Items to yield.
        title: Name of the work.
        unit: Plural noun for the items, in plain lines.
        status: Gives a short text that each bar or line ends with.
    """
    if not items:
        return
    if not _is_first():
        yield from items
        return
    if shows_bars():
        yield from _bar(items, len(items), title, status)
        return
    started = shown = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown > LINE_EVERY:
            left = (now - started) / number * (len(items) - number)
            suffix = f", {status()}" if status else ""
            log_line(f"{title}: {number}/{len(items)} {unit}{suffix}, {left:.0f} s left")
            shown = now


def shows_bars() -> bool:
    """Whether progress is shown as a live bar."""
    return sys.stderr.isatty() and not _plain and _is_first()


def _bar(
    items: Iterable[Item],
    total: int,
    title: str,
    status: Callable[[], str] | None,
    size: Callable[[Item], int] = lambda _: 1,
) -> Iterator[Item]:
    """Yield items with a live bar that shows the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[status]}"))
    name = TextColumn("{task.description}", markup=False)
    with Progress(name, *columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, status="")
        for item in items:
            yield item
            progress.update(task, advance=size(item), status=status() if status else "")


def log_progress(
    items: Iterable[Item],
    line: Callable[[Item, float], str],
    title: str = "",
    total: int | None = None,
    size: Callable[[Item], int] = lambda _: 1,
) -> Iterator[Item]:
    """Yield items, and write a line every `LINE_EVERY` seconds; with a total, show a bar on a terminal instead.

    Args:
        items: Items to yield.
        line: The last item and the seconds since the first → text of the line.
        title: Name of the work in the bar.
        total: Sum of the items' sizes, where it is known.
        size: Size of an item.
    """
    if total is not None and shows_bars():
        yield from _bar(items, total, title, None, size)
        return
    began = shown = time.monotonic()
    for item in items:
        yield item
        now = time.monotonic()
        if now - shown > LINE_EVERY:
            log_line(line(item, now - began))
            shown = now


def log_line(text: str) -> None:
    """Write one line to stderr."""
    if _is_first():
        print(text, file=sys.stderr, flush=True)


def _is_first() -> bool:
    """Whether this is the first of the processes that train together.

    Fabric sets only LOCAL_RANK; torchrun and Ray also set RANK, which counts over all machines.
    """
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"
