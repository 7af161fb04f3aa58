"""The shape of the project: what imports what, what starts fast, and that the README is true."""

import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from emofocus.cli.main import TRAINING
from helpers.paths import ROOT
from helpers.speeds import slow_but

PACKAGE = ROOT / "src" / "emofocus"

# A package imports only from the rows above its own. Packages of one row do not know each other.
RULE = """
errors version
utils
config audio
segments features corpora
models recognition splits metrics
data serving agents
export
training
cluster evaluation
cli
"""
ROW = {name: number for number, line in enumerate(RULE.split("\n")) for name in line.split()}
GRAPH = runpy.run_path(str(ROOT / "docs" / "import_graph.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))


def test_a_package_imports_only_from_the_rows_above() -> None:
    for package, imported in GRAPH["package_graph"]().items():
        for name in imported:
            assert ROW[name] < ROW[package], f"{package} imports {name}"


def test_no_packages_import_each_other_in_a_circle() -> None:
    assert GRAPH["floors"](GRAPH["package_graph"]())


def test_a_circle_is_named() -> None:
    with pytest.raises(ValueError, match="each other: one, two"):
        GRAPH["floors"]({"one": {"two"}, "two": {"one"}, "three": set()})


def test_recognizing_needs_none_of_the_training_packages() -> None:
    heavy = [
        "torch",
        "lightning_fabric",
        "sklearn",
        "safetensors",
        "lmdb",
        "polars",
        "scipy",
        "onnx",
        "librosa",
        "yaml",
        "rich",
        "av",
        "_hashlib",
        "importlib.resources",
    ]
    code = (
        "import sys; from emofocus import Recognizer; import emofocus.cli.predict, emofocus.cli.main; "
        f"Recognizer.from_pretrained(); print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "missing",
    slow_but(sorted({*TRAINING} - {"pooch", "scipy", "sklearn"}), quick=["torch"]),  # those three load late
)
def test_without_the_training_extra_every_command_says_how_to_install_it(missing: str, tmp_path: Path) -> None:
    corpus = ["--corpus", "ravdess", "--root", str(tmp_path)]
    commands = [
        ["train", *corpus, "--out", str(tmp_path / "out")],
        ["crossval", *corpus, "--out", str(tmp_path / "out")],
        ["features", *corpus, str(tmp_path / "out")],
        ["export", str(tmp_path), str(tmp_path / "out")],
        ["corpora", "list"],
    ]
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from emofocus.cli.main import main\n"
        f"for command in {commands}:\n"
        "    sys.argv[1:] = command\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"this needs {missing}, which is not installed: pip install 'emofocus[train]'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_recognizing_tells_nobody(tmp_path: Path) -> None:
    """onnxruntime's telemetry is off: it leaves no device number and no queue of events in the user's home."""
    environment = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    code = "from emofocus import Recognizer; Recognizer.from_pretrained()"
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_modules_and_functions_stay_readable() -> None:
    lengths = []
    for path in MODULES:
        text = path.read_text()
        assert len(text.splitlines()) <= 600, path
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        lengths.extend((node.end_lineno or 0) - node.lineno + 1 for node in functions)
    lengths.sort()
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[int(0.95 * len(lengths))] <= 40


def test_the_tree_of_the_page_on_architecture_names_every_package() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    for path in PACKAGE.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            assert f"  {path.name}/ " in page, path.name


def test_the_page_on_architecture_has_the_rule_and_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert f"```{RULE}```" in page
    named = set(re.findall(r"`([a-z_/]+\.py|[a-z_]+/[a-z_/]*)`", page))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (PACKAGE / name).exists() and not (ROOT / name).exists()] == []


def test_the_readmes_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    monkeypatch.chdir(ROOT)
    for block in blocks:
        exec(block, {})


def test_nothing_speaks_of_another_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".txt", ".json", ""} and path.name != "test_project.py":
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert "/" + "work/" not in text, name
            assert "/" + "root/" not in text, name


UNCLEAR = re.compile(
    r"""\A(?:What|Of|See\ the)\ |     # a docstring's beginning
    ^\ +\w+:\ (?:As\ there|As\ above|There\.|Of\ |What\ |Whose|Where\ to) |  # the beginning of an argument's
    ^\ +(\w+):\ (?:The|An?)\ \1\.$     # its name again""",
    re.MULTILINE | re.VERBOSE,
)
"""Docstrings, and descriptions of arguments, that do not name their subject, or say no more than its name."""


def docstrings(tree: ast.Module) -> list[str]:
    """Docstrings of a module, its classes and functions, and the texts below its constants."""
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    values = [node.value for body in bodies for node in body if isinstance(node, ast.Expr)]
    return [node.value for node in values if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_name_their_subject(path: Path) -> None:
    assert [text for text in docstrings(ast.parse(path.read_text())) if UNCLEAR.search(text)] == []


def test_an_unclear_docstring_is_found() -> None:
    text = '''
def f(number: int) -> None:
    """Do it.

    Args:
        number: As there.
    """

def g(number: int) -> None:
    """Do it again.

    Args:
        number: The number.
    """

LIMIT = 3
"""Of all samples."""
'''
    assert len([text for text in docstrings(ast.parse(text)) if UNCLEAR.search(text)]) == 3


BY_MESSAGE = {"utils/storage.py"}
"""Modules that must tell errors apart by their text, because pyarrow gives several errors one type."""


QUESTIONS = {"startswith", "endswith", "partition", "rpartition", "find", "index", "count"}
"""Methods that a text is asked with; others, such as `splitlines`, only shape it for a reader."""


def message_names(tree: ast.Module) -> set[str]:
    """Names in a module that hold the text of an error or of a warning.

    These are names of ``str(error)``, parameters called ``message``, and loop variables over ``….warnings``.
    """
    nodes = list(ast.walk(tree))
    assigned = [node for node in nodes if isinstance(node, ast.Assign) and is_message(node.value, set())]
    loops = [node for node in nodes if isinstance(node, ast.For | ast.comprehension)]
    targets = [target for node in assigned for target in node.targets]
    targets += [node.target for node in loops if isinstance(node.iter, ast.Attribute) and node.iter.attr == "warnings"]
    return {ast.unparse(target) for target in targets} | {
        node.arg for node in nodes if isinstance(node, ast.arg) and node.arg == "message"
    }


def is_message(node: ast.expr, names: set[str]) -> bool:
    """Whether an expression is the text of an error, or one of the names."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "str" and node.args:
        return ast.unparse(node.args[0]) in {"error", "exception", "warning"}
    return ast.unparse(node) in names


def decides_on_a_message(tree: ast.Module) -> bool:
    """Whether a module compares the text of an error or of a warning, or asks what it holds or how it begins."""
    names = message_names(tree)
    asked: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            asked += [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            asked += [node.func.value] if node.func.attr in QUESTIONS else []
            asked += node.args if ast.unparse(node.func.value) == "re" and node.func.attr != "sub" else []
    return any(is_message(node, names) for node in asked)


def test_no_module_decides_on_the_text_of_an_error() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix() for path in MODULES if decides_on_a_message(ast.parse(path.read_text()))
    }
    assert found == BY_MESSAGE


@pytest.mark.parametrize(
    "code",
    [
        "silent = 'silent' in str(error)",
        "text = str(error)\nlost = re.search('lost', text)",
        "def valid_keys(kind: type, message: str) -> bool:\n    return 'unknown field' in message",
        "kinds = {text.partition(':')[0] for text in prediction.warnings}",
        "for text in prediction.warnings:\n    shown = not text.startswith(OMITTED)",
    ],
)
def test_a_decision_on_a_text_is_found(code: str) -> None:
    assert decides_on_a_message(ast.parse(code))


def test_a_text_that_is_only_shown_is_no_decision() -> None:
    code = "reason = str(error).splitlines()[0]\nlines = [f'! {text}' for text in prediction.warnings]"
    assert not decides_on_a_message(ast.parse(code))


def test_no_two_test_files_share_a_name() -> None:
    """Pytest imports them by their names: of two files `test_voices.py`, one was not run."""
    names = sorted(path.name for path in ROOT.glob("tests/**/test_*.py"))
    assert len(names) == len(set(names)), [name for name in set(names) if names.count(name) > 1]
