"""A release: the wheel carries the page of the service, and the source archive builds the same wheel."""

import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from emofocus.version import __version__
from helpers.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INCLUDED = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
IGNORED = shutil.ignore_patterns("node_modules", "__pycache__", "page", "results", "gallery")
PAGE = ("index.html", "assets/index.js", "model/model.onnx", "model/config.json")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """What a release is made of, without the page as it is built."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in (*INCLUDED, "/pyproject.toml", "/.gitignore"):
        source = ROOT / name.removeprefix("/")
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=IGNORED)
        else:
            shutil.copy(source, folder)
    return folder


@pytest.fixture
def sources_with_page(sources: Path) -> Path:
    """The same, and a page of four small files."""
    for name in PAGE:
        file = sources / "src" / "emofocus" / "serving" / "page" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    shutil.copy(sources / "src/emofocus/assets/default/model.onnx", file.parents[1] / "model" / "model.onnx")
    return sources


def build(kind: str, sources: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build a ``wheel``, ``sdist`` or ``editable`` as pip does, without a network."""
    code = f"from hatchling.build import build_{kind} as build; print(build({str(out)!r}))"
    return subprocess.run([sys.executable, "-c", code], cwd=sources, capture_output=True, text=True)


def built(kind: str, sources: Path, out: Path) -> Path:
    """Build it, and return the file."""
    out.mkdir(exist_ok=True)
    done = build(kind, sources, out)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_nothing_is_released_without_the_page(kind: str, sources: Path, tmp_path: Path) -> None:
    done = build(kind, sources, tmp_path)
    assert done.returncode
    assert "lacks index.html, assets, model/model.onnx, model/config.json. Run make page" in done.stderr


def test_a_page_of_another_model_is_not_released(sources_with_page: Path, tmp_path: Path) -> None:
    """`make page MODEL=DIR` leaves such a page; the service would show it the shipped model's graph."""
    (sources_with_page / "src/emofocus/serving/page/model/model.onnx").write_bytes(b"another")
    done = build("wheel", sources_with_page, tmp_path)
    assert done.returncode
    assert "runs another model than" in done.stderr


def test_an_editable_install_needs_no_page(sources: Path, tmp_path: Path) -> None:
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["PageHook"]
    hook(str(sources), {}, None, None, str(tmp_path), "wheel").initialize("editable", {})


def test_the_source_archive_builds_the_same_wheel(sources_with_page: Path, tmp_path: Path) -> None:
    (sources_with_page / "src/emofocus/serving/page/model/model.onnx.gz").write_bytes(b"compressed")
    wheel = built("wheel", sources_with_page, tmp_path / "direct")
    archive = built("sdist", sources_with_page, tmp_path / "archive")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    again = built("wheel", tmp_path / f"emofocus-{__version__}", tmp_path / "again")
    names = zipfile.ZipFile(wheel).namelist()
    assert zipfile.ZipFile(again).namelist() == names
    assert again.read_bytes() == wheel.read_bytes()
    assert {f"emofocus/serving/page/{name}" for name in PAGE} - set(names) == {"emofocus/serving/page/model/model.onnx"}
    assert "emofocus/serving/page/model/model.onnx.gz" not in names
    assert "emofocus/assets/default/model.onnx" in names  # the wheel holds it once; the service shows it to the page
    assert {name.split("/")[0] for name in names} == {"emofocus", f"emofocus-{__version__}.dist-info"}


def test_the_source_archive_holds_what_the_page_and_the_tests_are_made_of(
    sources_with_page: Path, tmp_path: Path
) -> None:
    archive = built("sdist", sources_with_page, tmp_path / "archive")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    needed = {"page/package-lock.json", "page/src/main.ts", "page/model_files.py", "Makefile", "constraints.txt"}
    assert needed | {"hatch_build.py", "tests/conftest.py", "CITATION.cff", "CHANGELOG.md"} <= names
    assert not [name for name in names if "node_modules" in name]


def test_the_citation_and_the_changelog_name_the_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
