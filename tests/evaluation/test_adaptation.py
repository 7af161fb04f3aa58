"""Adaptation measured over trained folds: what counts as heard, and that unadapted scores are the run's own."""

import csv
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from emofocus.cli.main import app
from emofocus.corpora import read_corpus
from emofocus.errors import ConfigError
from emofocus.evaluation import adaptation
from emofocus.evaluation.adaptation import Condition, measure_adaptation
from emofocus.evaluation.results import read_results, read_run
from helpers.encoders import tiny_whisper

CLASSES = ("happy", "sad")

RECIPE = """
epochs: 1
batch_size: 8
segment: {frames: 25, hop: 10}
network: {voice_seconds: 3}
voice_clips: [0, 2]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up corpus, and a run on it with networks that are adapted to voices."""
    root = tmp_path_factory.mktemp("adaptation")
    rows = ["file,emotion,speaker"]
    for speaker in range(4):
        for number in range(8):
            samples = np.random.default_rng([speaker, number]).normal(0, 0.02 * (1 + speaker), 16_000)
            soundfile.write(root / f"{speaker}-{number}.wav", samples, 16_000)
            rows.append(f"{speaker}-{number}.wav,{CLASSES[number % 2]},{speaker}")
    (root / "made.csv").write_text("\n".join(rows) + "\n")
    features = f"features: {{name: whisper, encoder: {tiny_whisper(root / 'ears')}, layers: 2, hop: 1280}}\n"
    (root / "voice.yaml").write_text(RECIPE + features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOFOCUS_CACHE", str(root / "cache"))
        options = ["--corpus", str(root / "made.csv"), "--protocol", "speaker", "--model", "encoder-faca"]
        train = [
            "crossval",
            *options,
            "--recipe",
            str(root / "voice.yaml"),
            "--threads",
            "1",
            "--out",
            str(root / "run"),
        ]
        CliRunner().invoke(app, train, catch_exceptions=False)
        yield root


def measured(home: Path, out: Path, *conditions: Condition, corpus: Path | None = None) -> Path:
    data = read_corpus(str((corpus or home) / "made.csv"), None, None, ())
    return measure_adaptation(home / "run", out, data, conditions)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_adaptation_the_scores_are_those_of_the_run(home: Path, tmp_path: Path) -> None:
    measured(home, tmp_path / "out", Condition(0.0), Condition(2.0))
    plain, run, adapted = rows(tmp_path / "out" / "voice0s"), rows(home / "run"), rows(tmp_path / "out" / "voice2s")
    assert [row["file"] for row in plain] == [row["file"] for row in run] == [row["file"] for row in adapted]
    for one, other in zip(plain, run, strict=True):
        assert float(one["p_happy"]) == pytest.approx(float(other["p_happy"]), abs=1e-5)
    assert any(abs(float(a["p_happy"]) - float(b["p_happy"])) > 1e-4 for a, b in zip(plain, adapted, strict=True))


def test_each_condition_is_a_run_of_a_protocol_that_says_what_was_heard(home: Path, tmp_path: Path) -> None:
    table = measured(home, tmp_path / "out", Condition(2.0), Condition(2.0, "sad"))
    names = {run.summary.protocol.name: run.summary.protocol.note for run in read_results(tmp_path / "out")}
    assert set(names) == {"speaker+voice2s", "speaker+voice2s-sad"}
    assert "2 s of unlabelled speech of the test speaker" in names["speaker+voice2s"]
    assert "all sad" in names["speaker+voice2s-sad"]
    assert "| voice2s |" in table.read_text()
    assert read_run(tmp_path / "out" / "voice2s").summary.folds


def test_an_utterance_is_never_recognized_with_its_own_statistics(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[set[int]] = []
    scored: list[tuple[int, set[int]]] = []
    shift, score = adaptation._Heard._shift, adaptation._Heard._score

    def spied_shift(self, chosen):
        heard.append(set(chosen.tolist()))
        return shift(self, chosen)

    def spied_score(self, number, voice):
        scored.append((number, heard[-1]))
        return score(self, number, voice)

    monkeypatch.setattr(adaptation._Heard, "_shift", spied_shift)
    monkeypatch.setattr(adaptation._Heard, "_score", spied_score)
    measured(home, tmp_path / "out", Condition(2.0), Condition(3.0, "sad"))
    assert all(number not in others and len(others) in (2, 1) for number, others in scored)
    scored.clear()
    heard.clear()
    measured(home, tmp_path / "all", Condition(math.inf))
    assert scored
    assert all(number not in others and len(others) >= 3 for number, others in scored)
    assert read_run(tmp_path / "all" / "voiceall").predictions.protocol.endswith("+voiceall")


def test_bad_conditions_and_runs_are_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown class 'wut' \(valid: happy, sad\)"):
        measured(home, tmp_path / "out", Condition(2.0, "wut"))


def test_the_same_command_goes_on_and_another_run_is_refused(home: Path, tmp_path: Path) -> None:
    measured(home, tmp_path / "out", Condition(2.0))
    before = (tmp_path / "out" / "voice2s" / "summary.json").stat().st_mtime_ns
    measured(home, tmp_path / "out", Condition(2.0), Condition(0.0))
    assert (tmp_path / "out" / "voice2s" / "summary.json").stat().st_mtime_ns == before
    assert (tmp_path / "out" / "voice0s" / "summary.json").exists()
    shutil.copytree(home / "run", tmp_path / "run")
    path = tmp_path / "run" / "summary.json"
    path.write_text(path.read_text().replace('"version": "', '"version": "not '))
    with pytest.raises(ConfigError, match="out holds"):
        measured(tmp_path, tmp_path / "out", Condition(2.0), corpus=home)
