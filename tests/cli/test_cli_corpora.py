"""`emofocus corpora …` as a user types it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from click.testing import CliRunner

from emofocus.cli.corpora import corpora
from emofocus.corpora import CORPORA, download
from emofocus.corpora.download import Downloaded
from emofocus.errors import EmofocusError, MissingExtraError
from helpers.trees import TREES


class Outcome(NamedTuple):
    """How a command ended; errors that a user can cause are told by the entry point."""

    code: int
    out: str
    error: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in an empty folder, in a terminal of 80 columns."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Outcome:
        result = CliRunner().invoke(corpora, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, EmofocusError | SystemExit):
            raise result.exception
        error = str(result.exception) if isinstance(result.exception, EmofocusError) else ""
        return Outcome(result.exit_code, result.stdout, error + result.stderr)

    return run


@pytest.fixture(scope="module")
def emodb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of EmoDB, with made-up sound."""
    return TREES["emodb"](tmp_path_factory.mktemp("emodb"), audio=True, seconds=0.05)


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


# list


def test_list_names_every_corpus(command: Command) -> None:
    done = command("list")
    assert done.code == 0
    assert widest(done.out) <= 80
    for name, reader in CORPORA.items():
        (line,) = (line for line in done.out.splitlines() if line.split()[:1] == [name])
        assert str(reader.expected.utterances or "?") in line
        assert line.rstrip().endswith("download" if name in download.OFFERS else "request")


# check


def test_check_of_a_whole_corpus(command: Command, emodb: Path) -> None:
    done = command("check", "emodb", "--root", emodb)
    assert done.code == 0, done.out
    assert done.out.splitlines()[-1] == "emodb is right: 535 utterances, 10 speakers, 0.01 h"
    assert widest(done.out) <= 80


def test_check_of_a_part_ends_with_code_1(command: Command, tmp_path: Path) -> None:
    root = TREES["emodb"](tmp_path / "emodb", audio=True, seconds=0.05)
    gone = next(root.rglob("*Fa.wav"))
    gone.unlink()
    done = command("check", "emodb", "--root", root)
    assert done.code == 1
    assert "70        71  differs" in done.out
    assert done.out.splitlines()[-1].startswith("emodb is NOT right: 534 of 535 utterances; ")
    assert list(Path().iterdir()) == []


def test_check_draws_a_figure_only_where_it_is_asked_for(command: Command, emodb: Path) -> None:
    assert command("check", "emodb", "--root", emodb).code == 0
    assert list(Path().iterdir()) == []


def test_check_writes_json_and_the_figure_where_it_is_told(command: Command, emodb: Path) -> None:
    assert command("check", "emodb", "--root", emodb, "--json", "a/r.json", "--figure", "a/f.pdf").code == 0
    report = json.loads(Path("a/r.json").read_text())
    assert report["counts"]["labels"]["bored"] == {"found": 81, "expected": 81}
    assert report["problems"] == []
    assert str(emodb) not in Path("a/r.json").read_text()
    assert Path("a/f.pdf").read_bytes()[:4] == b"%PDF"


def test_check_tells_which_labels_are_left_out(command: Command, emodb: Path) -> None:
    done = command("check", "emodb", "--root", emodb, "--labels", "four")
    assert done.code == 0
    assert done.out.count("left out") == 3


def test_check_without_a_figure_needs_no_matplotlib(
    command: Command, emodb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert command("check", "emodb", "--root", emodb).code == 0


def test_check_without_matplotlib_refuses_a_figure_at_once(
    command: Command, emodb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else name)
    done = command("check", "emodb", "--root", emodb, "--figure", "a.png")
    assert (done.code, done.out) == (1, "")
    assert done.error == str(MissingExtraError("matplotlib", "figures"))


def test_check_of_a_manifest(command: Command, emodb: Path) -> None:
    assert command("manifest", "emodb", "--root", emodb, "--out", "m.csv", "--only", "gender=male").code == 0
    done = command("check", "m.csv", "--root", emodb)
    assert done.code == 0, done.error
    assert done.out.splitlines()[-1].startswith("m is right: ")
    assert ", 5 speakers, " in done.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["check", "emodbb", "--root", "."], "unknown corpus 'emodbb' (valid: ravdess, "),
        (["check", "emodb"], "emodb needs --root"),
        (["check", "emodb", "--root", "nowhere"], "nowhere: no such folder"),
        (["download", "emodbb", "--out", "."], "unknown corpus 'emodbb' (valid: ravdess, "),
    ],
)
def test_bad_input_is_named(command: Command, arguments: list[str], problem: str) -> None:
    done = command(*arguments)
    assert done.code == 1
    assert problem in done.error


def test_an_unknown_label_is_named(command: Command, emodb: Path) -> None:
    done = command("check", "emodb", "--root", emodb, "--labels", "happy=joy")
    assert "emodb has no label 'joy' (valid: neutral, happy" in done.error


# manifest


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_manifest_with_four_classes(command: Command, emodb: Path, name: str) -> None:
    done = command("manifest", "emodb", "--root", emodb, "--out", name, "--labels", "four")
    assert done.code == 0
    assert done.out == f"{name}: 339 utterances; their files are below {emodb}\n"
    table = pl.read_csv(name) if name.endswith(".csv") else pl.read_ndjson(name)
    assert set(table["emotion"]) == {"neutral", "happy", "sad", "angry"}


def test_manifest_as_an_audformat_database(command: Command, emodb: Path) -> None:
    pytest.importorskip("audformat")
    assert command("manifest", "emodb", "--root", emodb, "--out", "database").code == 0
    assert Path("database/db.yaml").is_file()


def test_manifest_of_another_format_is_refused(command: Command, emodb: Path) -> None:
    done = command("manifest", "emodb", "--root", emodb, "--out", "m.txt")
    assert done.code == 1
    assert "--out m.txt: '.txt' is no manifest (valid: .csv, .jsonl, a folder)" in done.error


# download (what it does is tested in test_download.py)


def test_download_wants_the_license_accepted(command: Command) -> None:
    done = command("download", "ravdess", "--out", "corpus")
    assert done.code == 1
    assert "CC-BY-NC-SA-4.0 (name the authors, no commercial use" in done.out
    assert "add --accept-license" in done.error
    assert not Path("corpus").exists()


def test_download_of_a_licensed_corpus_says_where_to_ask(command: Command) -> None:
    done = command("download", "iemocap", "--out", "corpus", "--accept-license")
    assert done.code == 1
    assert CORPORA["iemocap"].obtain in done.error


@pytest.mark.parametrize("sha", ["", "abc123"])
def test_download_tells_how_it_ended(command: Command, monkeypatch: pytest.MonkeyPatch, sha: str) -> None:
    monkeypatch.setattr(download, "download", lambda *_: Downloaded(535, [], sha))
    done = command("download", "emodb", "--out", "corpus", "--accept-license")
    assert done.code == 0
    assert done.out.endswith("corpus: emodb is whole: 535 utterances\n")
    assert ("publishes no checksum" in done.out) == bool(sha)
    assert sha in done.out


def test_a_download_that_is_not_whole_ends_with_code_1(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "download", lambda *_: Downloaded(1, ["1 of 535 utterances"]))
    done = command("download", "emodb", "--out", "corpus", "--accept-license")
    assert done.code == 1
    assert "emodb in corpus is not whole: 1 of 535 utterances" in done.error
