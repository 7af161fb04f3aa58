"""The tutorials run as they are written: each page is one shell script, in a folder of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import ROOT

PAGES = sorted(path for path in (ROOT / "docs" / "tutorials").glob("*.md") if path.stem != "index")
NOTEBOOK = ROOT / "docs" / "tutorials" / "notebook.ipynb"
SLOW = {"cluster", "fine-tune", "own-data"}
NEEDS = {
    "add-a-corpus": "polars",
    "add-a-model": "torch",
    "cluster": "ray",
    "fine-tune": "torch",
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
    assert {path.name for path in (*PAGES, NOTEBOOK)} == set(re.findall(r"\]\(([a-z-]+\.(?:md|ipynb))\)", index))


def cells_of(kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def test_the_notebook_runs_as_it_is_written(tmp_path: Path) -> None:
    for part in ("matplotlib", "polars"):
        pytest.importorskip(part)
    programs = ["".join(cell["source"]) for cell in cells_of("code")]
    program = "\n".join(["import matplotlib", "matplotlib.use('Agg')", *programs])
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=NOTEBOOK.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_notebook_was_executed_and_is_small_and_names_no_folder_of_its_maker() -> None:
    cells = cells_of("code")
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert NOTEBOOK.stat().st_size < 250_000
    assert not re.search(r"/(work|root|home|tmp)/", NOTEBOOK.read_text(encoding="utf-8"))
