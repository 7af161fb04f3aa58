"""The paper's tables with our figures beside them, and published systems under named protocols."""

from collections.abc import Sequence

from emofocus.evaluation.report.entries import OPTIMISTIC, Entry
from emofocus.evaluation.report.formatting import NONE, NOT_MEASURED, figure_with_interval, seeds, spread
from emofocus.evaluation.report.literature import REFERENCES, TABLES, Published, References, Table
from emofocus.splits.protocols import PROTOCOLS
from emofocus.utils.markdown import table

RANDOM = f"`random` ({OPTIMISTIC})"


def papers_tables(entries: Sequence[Entry]) -> str:
    """All tables of the paper, with our figures beside them."""
    return "\n".join(f"### {item.title}\n\n{paper_table(item, entries)}" for item in TABLES)


def paper_table(item: Table, entries: Sequence[Entry]) -> str:
    """One table of the paper, with a row per system.

    Columns hold the paper's figures, ours with shared speakers, and ours without.
    """
    rows = []
    for system in item.systems:
        ours = [entry for entry in entries if (entry.corpus, entry.model) == (item.corpus, system.model)]
        shared = [_line(entry) for entry in ours if entry.optimistic]
        apart = [_line(entry) for entry in ours if not entry.optimistic]
        printed = f"WA {system.wa or NONE}, UA {system.ua or NONE}" if system.wa or system.ua else NONE
        row = [system.system, printed, "<br>".join(shared) or f"{RANDOM}: {NOT_MEASURED}"]
        rows.append([*row, "<br>".join(apart) or NOT_MEASURED, system.remark])
    head = ["system", f"the paper: {item.protocol}", "emofocus, test speakers heard in training"]
    return table([*head, "emofocus, test speakers not heard", "remark"], rows)


def _line(entry: Entry) -> str:
    """One of our results as a line of a cell."""
    wa, ua = (spread(entry.mean[number], entry.deviation[number]) for number in range(2))
    return f"{entry.marked_protocol}, `{entry.recipe}`, {seeds(entry)}: WA {wa}, UA {ua}"


def references(entries: Sequence[Entry]) -> str:
    """Published systems by corpus and protocol, each followed by ours under the same protocol."""
    protocols = dict.fromkeys((item.corpus, item.protocol) for item in REFERENCES)
    rows: list[list[str]] = []
    for corpus, protocol in protocols:
        named = [
            f"`{corpus}`",
            f"`{protocol}` ({OPTIMISTIC})" if PROTOCOLS[protocol].speakers_shared else f"`{protocol}`",
        ]
        items = [item for item in REFERENCES if (item.corpus, item.protocol) == (corpus, protocol)]
        ours = [entry for entry in entries if (entry.corpus, entry.protocol) == (corpus, protocol)]
        rows += [[*named, *_reference(item, system)] for item in items for system in item.systems]
        rows += [[*named, *_ours(entry)] for entry in ours]
        if not ours:
            rows.append([*named, "**emofocus**", NOT_MEASURED, NOT_MEASURED, ""])
    return table(["corpus", "protocol", "system", "WA %", "UA %", "by whom, and caveats"], rows)


def _reference(item: References, system: Published) -> list[str]:
    source = f"{item.source}; {system.remark}" if system.remark else item.source
    return [system.system, system.wa or NONE, system.ua or NONE, source]


def _ours(entry: Entry) -> list[str]:
    wa, ua = (figure_with_interval(entry, number) for number in range(2))
    return [f"**emofocus** `{entry.model}`", wa, ua, f"`{entry.recipe}`, {seeds(entry)}"]
