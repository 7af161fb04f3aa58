"""The names that ``import emofocus`` offers: whole, typed, and imported when they are used."""

import ast
import inspect
import subprocess
import sys

import pytest

import emofocus
from emofocus import errors
from helpers.paths import ROOT

TREE = ast.parse((ROOT / "src" / "emofocus" / "__init__.py").read_text())


def run(code: str) -> str:
    """Output of a program of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", emofocus.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    assert getattr(emofocus, name) is not None


def test_the_public_names_are_sorted_and_there_once() -> None:
    assert emofocus.__all__ == sorted(set(emofocus.__all__))


def test_dir_names_everything_before_it_is_imported() -> None:
    assert run("import emofocus; print(set(emofocus.__all__) - set(dir(emofocus)))") == "set()"


def test_a_name_that_does_not_exist_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'emofocus' has no attribute 'Recogniser'"):
        emofocus.Recogniser  # noqa: B018


def test_the_types_that_checkers_see_are_those_that_are_imported() -> None:
    """The block for type checkers and the table for `__getattr__` hold the same names in the same modules."""
    [block] = [node for node in TREE.body if isinstance(node, ast.If)]
    seen = {
        name.name: node.module.removeprefix("emofocus.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for name in node.names
    }
    assert seen == emofocus._MODULE_OF
    assert {*seen, "__version__"} == set(emofocus.__all__)


def test_every_error_is_public() -> None:
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert classes - set(emofocus.__all__) == set(), "add them to src/emofocus/__init__.py"


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; import emofocus; print([name for name in sys.modules if name.startswith('emofocus.')])"
    assert run(code) == "['emofocus.version']"
    assert run("import sys; import emofocus; print('numpy' in sys.modules)") == "False"
