"""Hook of MkDocs: notebooks and files outside docs/ become pages, links between all of them hold, commands are listed.

Links in Markdown files are those of the repository, so that they work beside the sources too. On the site a link to
``../CHANGELOG.md`` leads to ``changelog.md``. A link that leads to no page makes ``mkdocs build --strict`` fail.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from emofocus.cli.main import SECTIONS

ROOT = Path(__file__).parents[1]

PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "reference/benchmarks.md",
    "docs/tutorials/notebook.ipynb": "tutorials/notebook.md",
    "src/emofocus/assets/default/README.md": "reference/model-card.md",
}
"""File of the repository → page of the site."""

SOURCES = {page: source for source, page in PAGES.items()}

COMMANDS = "<!-- every command: docs/site_links.py writes them here -->"
"""Place of the reference of all commands."""

LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?(?:\s+\"[^\"]*\")?\))")
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/, and the files below results/ that pages link to."""
    for source, page in PAGES.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        text = notebook_page(content) if source.endswith(".ipynb") else FRONT_MATTER.sub("", content)
        files.append(File.generated(config, page, content=text))
    linked = {name for file in list(files) if file.src_uri.endswith(".md") for name in _results_of(file)}
    for name in sorted(linked):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def notebook_page(content: str) -> str:
    """Markdown of an executed notebook: its text, its programs, and their outputs."""
    parts = []
    for cell in json.loads(content)["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += [_output(output) for output in cell.get("outputs", ())]
    return "\n\n".join(parts)


def _output(output: dict[str, Any]) -> str:
    """One output of a cell: HTML, else a picture, else text."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "text/html" in data:
        return "<div markdown='0'>" + "".join(data["text/html"]).replace("\n\n", "\n") + "</div>"
    if "image/png" in data:
        return f"![Output of the program above](data:image/png;base64,{''.join(data['image/png']).strip()})"
    return "```text\n" + "".join(data["text/plain"]).rstrip() + "\n```"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links of the repository to those of the site."""
    here = page.file.src_uri

    def rewritten(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        there = _site_name(_repository_name(here, target))
        return match[1] + posixpath.relpath(there, posixpath.dirname(here) or ".") + match[3]

    return LINK.sub(rewritten, markdown).replace(COMMANDS, _commands())


def _commands() -> str:
    """Blocks of mkdocs-click for all commands, by section."""
    parts = []
    for section, entries in SECTIONS.items():
        parts.append(f"## {section}\n")
        for name, entry in entries.items():
            parts.append(
                f"::: mkdocs-click\n    :module: emofocus.cli.{entry.file}\n    :command: {entry.function or name}\n"
                f"    :prog_name: emofocus {name}\n    :depth: 2\n    :style: plain\n"
            )
    return "\n".join(parts)


def _repository_name(here: str, target: str) -> str:
    """Name in the repository of what a page links to."""
    source = SOURCES.get(here, f"docs/{here}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _site_name(name: str) -> str:
    """Name on the site of a file of the repository."""
    return PAGES.get(name, name.removeprefix("docs/"))


def _results_of(file: File) -> set[str]:
    """Files below results/ that a page links to."""
    names = {_repository_name(file.src_uri, match[2]) for match in LINK.finditer(file.content_string)}
    return {name for name in names if name.startswith("results/") and (ROOT / name).is_file()}
