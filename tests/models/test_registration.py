"""A network is one class and one entry of `MODELS`: nothing else names it."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from emofocus import Recognizer
from emofocus.cli.main import app
from emofocus.features.front_end import FrontEnd
from emofocus.models import MODELS, Model, build
from helpers.toy import TOY_RECIPE, Toy
from helpers.untrained import config_of


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "toy", Model(Toy, TOY_RECIPE))


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("toy")
def test_a_registered_network_is_trained_cross_validated_exported_and_used(small_corpus: Path, tmp_path: Path) -> None:
    common = ["--corpus", "emodb", "--root", small_corpus, "--protocol", "random", "--model", "toy"]
    common += ["--recipe", "paper", "--cache", tmp_path / "cache", "--threads", 1]
    run("train", *common, "--out", tmp_path / "trained")
    run("crossval", *common, "--out", tmp_path / "run")
    run("export", tmp_path / "run" / "fold-1", tmp_path / "exported")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["model"], summary["parameters"], len(summary["folds"])) == ("toy", 7 * 13 + 7, 5)
    clip = next(small_corpus.rglob("*.wav"))
    for directory in ("trained", "exported"):
        assert Recognizer.from_pretrained(tmp_path / directory)(clip).label in summary["classes"]


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("command", ["train", "crossval"])
def test_help_lists_every_registered_network(command: str) -> None:
    shown = "".join(run(command, "--help").split())
    assert ",".join(MODELS) in shown
    assert "toy" in MODELS


@pytest.mark.parametrize("name", MODELS)
def test_the_entry_says_truly_whether_the_network_attends(name: str) -> None:
    config = config_of(name)
    features = torch.randn(2, config.segment.frames, FrontEnd(config.features).size)
    with torch.inference_mode():
        maps = build(config).eval()(features, need_maps=True).maps
    assert (maps is not None) == MODELS[name].attends
