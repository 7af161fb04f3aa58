"""The tutorials run as they are written: each page is one shell script, in a folder of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import ROOT

PAGES = sorted(path for path in (ROOT / "docs" / "tutorials").glob("*.md") if path.stem != "index")
SLOW = {"cluster", "own-data"}
NEEDS = {
    "add-a-corpus": "polars",
    "add-a-model": "torch",
    "cluster": "ray",
    "own-data": "torch",
    "serve": "fastapi",
}

BLOCK = re.compile(r'^```(sh|python)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
"""Language, name of the file to save, if the page names one, and text."""


def script_of(page: str) -> str:
    """All blocks of a page in their order: commands as they are, programs given to Python."""
    parts = ["set -euo pipefail", "set -m", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for language, file, text in BLOCK.findall(page):
        reader = f"cat > {file}" if file else "python -"
        parts.append(text if language == "sh" else f"{reader} <<'END OF PROGRAM'\n{text}END OF PROGRAM\n")
    return "\n".join(parts)


@pytest.mark.parametrize(
    "page",
    [pytest.param(path, marks=[pytest.mark.slow] if path.stem in SLOW else [], id=path.stem) for path in PAGES],
)
def test_a_tutorial_runs_as_it_is_written(page: Path, tmp_path: Path) -> None:
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem])
    run(script_of(page.read_text(encoding="utf-8")), tmp_path)


def test_the_readmes_commands_and_program_run_as_they_are_written(tmp_path: Path) -> None:
    """All but make and what follows from it, which `.ci/run` does."""
    run(
        re.sub(r"^(make|\.) .*$", "", script_of((ROOT / "README.md").read_text(encoding="utf-8")), flags=re.M), tmp_path
    )


def run(script: str, tmp_path: Path) -> None:
    """Run a script in a folder with the examples, where `python` and `emofocus` are those of the tests."""
    if shutil.which("bash") is None or shutil.which("curl") is None:
        pytest.skip("needs bash and curl")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, arguments in (("python", ""), ("emofocus", "-m emofocus ")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        (tools / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f".{os.pathsep}{ROOT / 'src'}",
    }
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_every_tutorial_is_in_the_list() -> None:
    index = (ROOT / "docs" / "tutorials" / "index.md").read_text(encoding="utf-8")
    assert {path.name for path in PAGES} == set(re.findall(r"\]\(([a-z-]+\.md)\)", index))
