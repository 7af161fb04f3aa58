"""What runs where: a table that lives on a terminal, and lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from emofocus.utils.progress import log_line

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"

Key = tuple[str, int]
"""A run's name, and the number of a fold."""


@dataclass(frozen=True)
class Cell:
    """What is known of one fold."""

    state: str = WAITING
    node: str = ""
    note: str = ""


class Board:
    """What folds say about themselves; an actor."""

    def __init__(self) -> None:
        self._cells: dict[Key, Cell] = {}

    def tell(self, key: Key, **news: str) -> None:
        """Something new of a fold."""
        self._cells[key] = replace(self._cells.get(key, Cell()), **news)

    def look(self) -> dict[Key, Cell]:
        """All of it."""
        return dict(self._cells)


@contextmanager
def shown(look: Callable[[], dict[Key, Cell]]) -> Iterator[Callable[[], None]]:
    """Give a function that shows the board as it is now, to be called now and then."""
    if not sys.stderr.isatty():
        yield _Lines(look).show
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda: live.update(table_of(look()), refresh=True)


class _Lines:
    """A line whenever a fold begins or ends."""

    def __init__(self, look: Callable[[], dict[Key, Cell]]) -> None:
        self._look = look
        self._said: dict[Key, tuple[str, str]] = {}

    def show(self) -> None:
        cells = self._look()
        for key, cell in cells.items():
            if cell.state != WAITING and self._said.get(key) != (cell.state, cell.node):
                self._said[key] = cell.state, cell.node
                ended = sum(other.state in (DONE, FAILED) for other in cells.values())
                note = f": {cell.note}" if cell.note else ""
                where = f"{key[0]} fold {key[1]} {cell.state} on {cell.node or 'no node'}"
                log_line(f"{where}{note} ({ended}/{len(cells)} ended)")


def table_of(cells: dict[Key, Cell]) -> Any:
    """A table of the folds that run or have failed, and how many wait and are done."""
    from rich import box
    from rich.table import Table

    counts = {state: sum(cell.state == state for cell in cells.values()) for state in (WAITING, RUNNING, DONE, FAILED)}
    caption = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    table = Table("run", "fold", "node", "state", box=box.SIMPLE_HEAD, caption=caption)
    for (run, fold), cell in cells.items():
        if cell.state in (RUNNING, FAILED):
            table.add_row(run, str(fold), cell.node, cell.note or cell.state)
    return table
