"""Progress of folds on a cluster: a live table on a terminal, lines elsewhere."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emofocus.utils.progress import log_line

if TYPE_CHECKING:
    from rich.table import Table

WAITING, RUNNING, DONE, FAILED = STATES = "waiting", "running", "done", "failed"

FoldKey = tuple[str, int]
"""Name of a run, and number of a fold."""


@dataclass(frozen=True)
class FoldStatus:
    """Status of one fold.

    Attributes:
        state: One of `STATES`.
        node: Host that trains it.
        note: The last epoch's figures, the result, or the reason of a failure.
    """

    state: str = WAITING
    node: str = ""
    note: str = ""


Statuses = Mapping[FoldKey, FoldStatus]


class Dashboard:
    """Collects the status of all folds; a Ray actor, which the folds call."""

    def __init__(self) -> None:
        self._statuses: dict[FoldKey, FoldStatus] = {}

    def update(self, key: FoldKey, **changes: str) -> None:
        """Change fields of a fold's status."""
        self._statuses[key] = replace(self._statuses.get(key, FoldStatus()), **changes)

    def statuses(self) -> Statuses:
        """Status of all folds."""
        return dict(self._statuses)


@contextmanager
def shown(statuses: Callable[[], Statuses]) -> Iterator[Callable[[], None]]:
    """Show the statuses until the end of the block.

    Args:
        statuses: Returns the present statuses.

    Yields:
        A function that shows them, to be called every second or so.
    """
    if not sys.stderr.isatty():
        yield _LineView(statuses).show
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda: live.update(table_of(statuses()), refresh=True)


class _LineView:
    """Writes a line whenever a fold begins or ends."""

    def __init__(self, statuses: Callable[[], Statuses]) -> None:
        self._statuses = statuses
        self._written: dict[FoldKey, tuple[str, str]] = {}

    def show(self) -> None:
        """Write the lines of folds that have changed."""
        statuses = self._statuses()
        ended = sum(status.state in (DONE, FAILED) for status in statuses.values())
        for (run, fold), status in statuses.items():
            written = status.state, status.node
            if status.state == WAITING or self._written.get((run, fold)) == written:
                continue
            self._written[run, fold] = written
            note = f": {status.note}" if status.note else ""
            event = f"{run} fold {fold} {status.state} on {status.node or 'no node'}"
            log_line(f"{event}{note} ({ended}/{len(statuses)} ended)")


def table_of(statuses: Statuses) -> "Table":
    """Table of the folds that run or have failed, with the number of folds in each state."""
    from rich import box
    from rich.table import Table

    counts = Counter(status.state for status in statuses.values())
    caption = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    table = Table("run", "fold", "node", "state", box=box.SIMPLE_HEAD, caption=caption)
    for (run, fold), status in statuses.items():
        if status.state in (RUNNING, FAILED):
            table.add_row(run, str(fold), status.node, status.note or status.state)
    return table
