"""The documentation site: its pages are in its navigation, and its reference is whole."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import emofocus
from emofocus.cli.main import SECTIONS
from helpers.paths import ROOT

DOCS = ROOT / "docs"
PYTHON = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
ORDER = [name for section, entries in SECTIONS.items() for name in (section.lower(), *entries)]
"""Sections and commands in the order of work."""

NAMED = re.findall(r"^::: (emofocus\S+)$", PYTHON, re.MULTILINE)


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages - set(re.findall(r"[\w/-]+\.md", navigation)) == set()


def test_every_public_name_is_in_the_reference() -> None:
    for name in set(emofocus.__all__) - {"__version__"}:
        module = getattr(emofocus, name).__module__
        assert f"{module}.{name}" in NAMED or module in NAMED, name


@pytest.mark.parametrize("path", NAMED)
def test_a_name_of_the_reference_says_something(path: str) -> None:
    module, _, name = path.rpartition(".")
    try:
        found = (
            importlib.import_module(path) if module == "emofocus" else getattr(importlib.import_module(module), name)
        )
    except (ImportError, emofocus.MissingExtraError) as error:
        pytest.skip(str(error))
    assert len((inspect.getdoc(found) or "").split()) > 4


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocs_click")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}  # a note of the theme's makers
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    commands = (tmp_path / "site" / "reference" / "commands.html").read_text(encoding="utf-8")
    shown = [name for name in re.findall(r'<h[23] id="(?:emofocus-)?([a-z]+)"', commands) if name in ORDER]
    assert shown == ORDER
