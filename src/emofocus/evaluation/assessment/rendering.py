"""Reports as Markdown, JSON, one HTML page, and on a terminal."""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path

import msgspec

from emofocus.evaluation.assessment.evaluation import Report
from emofocus.evaluation.assessment.sections import Section, Table, sections_of, title_of
from emofocus.utils import markdown
from emofocus.utils.atomic import write_text
from emofocus.utils.file_formats import suffix_of

EMPHASIS = re.compile(r"\*\*(.+?)\*\*|\*(.+?)\*")
"""Words that Markdown sets apart."""


def markdown_text(report: Report) -> str:
    """A report as Markdown."""
    parts = [f"# {title_of(report)}\n"]
    for section in sections_of(report):
        parts += [f"## {_sentence(section.title)}\n"] if section.title else []
        parts += [f"{text}\n" for text in section.texts]
        parts += [_markdown_table(section.table)] if section.table else []
        parts += [f"{text}\n" for text in section.after]
    return "\n".join(parts)


def _markdown_table(table: Table) -> str:
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in table.rows]
    return markdown.table(list(table.head), rows, table.right)


def json_text(report: Report) -> str:
    """A report as JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"


def page_text(report: Report) -> str:
    """A report as one HTML page that needs no other file."""
    template = (resources.files("emofocus.evaluation.assessment") / "page.html").read_text(encoding="utf-8")
    body = "\n".join(part for section in sections_of(report) for part in _page_section(section))
    title = html.escape(title_of(report))
    return template.replace("@@TITLE@@", title).replace("@@BODY@@", body).replace("@@VERSION@@", report.version)


def _page_section(section: Section) -> Iterator[str]:
    yield "<section>"
    if section.title:
        yield f"<h2>{html.escape(_sentence(section.title))}</h2>"
    yield from (f"<p>{_inline(text)}</p>" for text in section.texts)
    if section.drawing:
        yield f"<figure>{section.drawing}</figure>"
    if section.table:
        yield _page_table(section.table)
    yield from (f'<p class="soft">{_inline(text)}</p>' for text in section.after)
    yield "</section>"


def _page_table(table: Table) -> str:
    def cell(tag: str, number: int, text: str, style: str = "") -> str:
        side = ' class="right"' if number >= table.right else ""
        return f"<{tag}{side}{style}>{html.escape(text)}</{tag}>"

    head = "".join(cell("th", number, text) for number, text in enumerate(table.head))
    rows = []
    for place, row in enumerate(table.rows):
        shades = ["", *(f' style="--share:{share:.3f}"' for share in table.shades[place])] if table.shades else []
        cells = (cell("td", number, text, shades[number] if shades else "") for number, text in enumerate(row))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    kind = ' class="shaded"' if table.shades else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="table"><table{kind}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    """A sentence as HTML, in which Markdown's emphasis is one."""
    return EMPHASIS.sub(lambda found: f"<b>{found[1]}</b>" if found[1] else f"<i>{found[2]}</i>", html.escape(text))


def _sentence(title: str) -> str:
    return title[:1].upper() + title[1:]


WRITERS: Mapping[str, Callable[[Report], str]] = {".html": page_text, ".md": markdown_text, ".json": json_text}
"""Suffix of a report → function that makes its text."""


def write_report(report: Report, path: Path) -> None:
    """Write a report in the format of a file's suffix.

    Raises:
        ConfigError: The suffix is none of `WRITERS`.
    """
    write_text(path, WRITERS[suffix_of(path, WRITERS)](report))


def print_report(report: Report) -> None:
    """Print a report on the terminal, without its details."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(title_of(report), style="bold"))
    for section in sections_of(report):
        if section.detail and not section.texts:
            continue
        if section.title:
            console.print(Text(f"\n{_sentence(section.title)}", style="bold"))
        for text in section.texts:
            console.print(Text(EMPHASIS.sub(lambda found: found[1] or found[2], text)))
        if section.table and not section.detail:
            shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
            for number, name in enumerate(section.table.head):
                shown.add_column(name, justify="right" if number >= section.table.right else "left", overflow="fold")
            for row in section.table.rows:
                shown.add_row(*map(Text, row))
            console.print(shown)
