"""The report of `emofocus corpora check` as tables of at most 80 columns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emofocus.corpora.check import SILENCE_DB, Count, Report, Speaker, some

LISTED = 10
"""Names that the report lists at most; its JSON has all of them."""


def print_report(report: Report, classes: Mapping[str, str], console: Console) -> None:
    """Print the report without its verdict.

    Args:
        report: Result of `emofocus.corpora.check.inspect`.
        classes: Label → class; labels without a class are left out of training.
        console: Console to print to.
    """
    console.print(_summary(report))
    console.print(_labels(report, classes))
    if report.counts.sessions:
        console.print(_sessions(report))
    console.print(_speakers(report))
    for line in _findings(report):
        console.print(line, soft_wrap=False)


def columns(*names: str, right: Sequence[str] = (), wrapped: Sequence[str] = ()) -> Table:
    """Make a table without borders.

    Args:
        names: Headings of the columns.
        right: Columns aligned to the right.
        wrapped: Columns that are wrapped if there is no room.
    """
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in names:
        table.add_column(
            name, justify="right" if name in right else "left", no_wrap=name not in wrapped, overflow="fold"
        )
    return table


def _summary(report: Report) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _facts(report):
        table.add_row(f"[bold]{name}[/bold]", value)
    return table


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    counts, lengths = report.counts, report.durations
    yield "corpus", escape(report.corpus)
    yield "utterances", _count_text(counts.utterances)
    yield "speakers", _count_text(counts.speakers)
    yield "gender", _listed(counts.genders)
    if lengths:
        yield "length", f"{lengths.total / 3600:.2f} h in all, {lengths.median:.2f} s in the median"
        yield "shortest", f"{lengths.shortest:.2f} s: {escape(lengths.shortest_key)}"
        yield "longest", f"{lengths.longest:.2f} s: {escape(lengths.longest_key)}"
    yield "rates", _listed({f"{rate} Hz": n for rate, n in report.rates.items()})
    yield "channels", _listed(report.channels)
    yield "formats", _listed(report.formats)


def _labels(report: Report, classes: Mapping[str, str]) -> Table:
    table = columns("label", "class", "found", "expected", "", right=("found", "expected"))
    for label, n in report.counts.labels.items():
        name = escape(classes[label]) if label in classes else "[dim]left out[/dim]"
        table.add_row(escape(label), name, *_cells(n))
    return table


def _cells(n: Count) -> tuple[str, str, str]:
    expected = "" if n.expected is None else str(n.expected)
    return str(n.found), expected, "" if n.right else "[bold red]differs[/bold red]"


def _sessions(report: Report) -> Table:
    """Table with a row per session and a column per class."""
    sessions = report.counts.sessions
    names = list(dict.fromkeys(name for labels in sessions.values() for name in labels))
    table = columns("session", *map(escape, names), right=tuple(map(escape, names)))
    for session, labels in sessions.items():
        table.add_row(escape(session), *(_count_text(labels.get(name, Count(0))) for name in names))
    return table


def _speakers(report: Report) -> Table:
    """Table of the speakers of each gender with their numbers of utterances."""
    table = columns("gender", "speakers", "utterances of each", right=("speakers",), wrapped=("utterances of each",))
    groups: dict[str, dict[str, Speaker]] = {}
    for name, speaker in report.counts.by_speaker.items():
        groups.setdefault(speaker.gender or "not known", {})[name] = speaker
    for gender, speakers in sorted(groups.items()):
        numbers = {speaker.utterances for speaker in speakers.values()}
        text = f"{numbers.pop()} each: {', '.join(speakers)}" if len(numbers) == 1 else _numbered(speakers)
        table.add_row(escape(gender), str(len(speakers)), escape(text))
    return table


def _numbered(speakers: Mapping[str, Speaker]) -> str:
    return ", ".join(f"{name}: {speaker.utterances}" for name, speaker in speakers.items())


def _findings(report: Report) -> Iterator[str]:
    known = [" = ".join(group.keys) for group in report.copies if group.known]
    unknown = [" = ".join(group.keys) + _contradiction(group.labels) for group in report.copies if not group.known]
    damaged = [f"{name} ({reason})" for name, reason in report.damaged.items()]
    clipped = [f"{key} ({share:.2%} of it)" for key, share in report.clipped.items()]
    yield from _finding("missing", report.counts.missing)
    yield from _finding("cannot be decoded", damaged)
    yield from _finding("equal audio", unknown)
    yield from _finding("equal audio, known to be the owner's slip", known)
    yield from _finding(f"silent (nothing above {SILENCE_DB:.0f} dBFS)", report.silent)
    yield from _finding("clipped", clipped)
    yield from _finding("audio files that are not the corpus' own", report.extra)


def _finding(title: str, names: list[str]) -> Iterator[str]:
    if names:
        yield f"[bold]{len(names)} {title}:[/bold] {escape(some(names, LISTED))}"


def _contradiction(labels: list[str]) -> str:
    return f" (labeled {' and '.join(labels)})" if len(labels) > 1 else ""


def _count_text(n: Count) -> str:
    return str(n.found) if n.right else f"[bold red]{n.found}, not {n.expected}[/bold red]"


def _listed(counts: Mapping[Any, int]) -> str:
    """Values with their counts, such as ``16000 Hz: 1430, 48000 Hz: 10``; a single value stands alone."""
    if len(counts) == 1:
        return escape(str(next(iter(counts))))
    return escape(", ".join(f"{name}: {n}" for name, n in counts.items()))
