"""What several runs say together: a mean that fits nothing, recomputes, and is refused over runs of other tasks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from emofocus.cli.main import app
from emofocus.errors import EmofocusError
from emofocus.evaluation.leaderboard import leaderboard, refuse_other_task
from emofocus.evaluation.report import read_results, write_report
from emofocus.evaluation.results import read_run
from helpers.paths import RESULTS
from helpers.runs import change, write_result


def combine(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["combine", *map(str, arguments)])


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two networks on the same folds."""
    return [write_result(tmp_path, "speaker", model, right=0.6) for model in ("bmhsa", "mhsa-faca")]


def test_each_utterance_gets_the_mean_of_the_probabilities(runs: list[Path], tmp_path: Path) -> None:
    done = combine(*runs, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    first, second, both = (read_run(folder) for folder in (*runs, tmp_path / "out"))
    mean = (first.probabilities + second.probabilities) / 2
    np.testing.assert_allclose(both.probabilities, mean, rtol=1e-5, atol=1e-6)
    assert (both.predictions.predictions == mean.argmax(axis=1)).mean() > 0.99  # but for ties of rounding
    assert both.summary.parameters == first.summary.parameters + second.summary.parameters
    assert both.key == ("made", "speaker", "bmhsa+mhsa-faca", "tiny")
    assert [member["model"] for member in both.summary.members] == ["bmhsa", "mhsa-faca"]
    assert f"wa {100 * both.summary.wa.mean:.2f} ± " in done.output


def test_a_run_combined_with_another_seed_of_the_same_answers_stays_itself(runs: list[Path], tmp_path: Path) -> None:
    """The mean of equal probabilities is these probabilities, whatever the runs are called."""
    twin = tmp_path / "twin"
    twin.mkdir()
    for name in ("predictions.csv", "folds.json", "summary.json"):
        (twin / name).write_bytes((runs[0] / name).read_bytes())
    change(twin / "summary.json", lambda summary: summary.update(seed=1))
    assert combine(runs[0], twin, "--out", tmp_path / "out").exit_code == 0
    alone, both = read_run(runs[0]), read_run(tmp_path / "out")
    np.testing.assert_allclose(both.by_fold, alone.by_fold)
    assert both.member_seeds == [0, 1]
    assert not alone.member_seeds
    # Two networks, which no table may average with one of them as if they were a further seed.
    assert both.key == ("made", "speaker", "bmhsa+bmhsa", "tiny")
    assert [(member["model"], member["seed"]) for member in both.summary.members] == [("bmhsa", 0), ("bmhsa", 1)]


def test_results_of_a_combination_stand_in_leaderboards_and_reports(runs: list[Path], tmp_path: Path) -> None:
    out = runs[0].parents[1] / "bmhsa+mhsa-faca-tiny" / "seed0"
    assert combine(*runs, "--out", out).exit_code == 0
    board = leaderboard([*runs, out])
    assert [item.cost for item in board.standings if item.run.name == out.as_posix()] == [None]
    assert len(read_results(tmp_path)) == 3
    write_report(tmp_path, tmp_path / "results.md")
    assert "`bmhsa+mhsa-faca`, `tiny`" in (tmp_path / "results.md").read_text()


def test_the_same_command_writes_the_same_and_another_is_refused(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert combine(*runs, "--out", out).exit_code == 0
    before = [(out / name).read_bytes() for name in ("summary.json", "predictions.csv", "folds.json")]
    assert combine(*runs, "--out", out).exit_code == 0
    assert [(out / name).read_bytes() for name in ("summary.json", "predictions.csv", "folds.json")] == before
    refused = combine(*reversed(runs), "--out", out)
    assert refused.exit_code == 1
    assert "holds another run" in str(refused.exception) + refused.output


def test_runs_of_another_corpus_are_refused(runs: list[Path], tmp_path: Path) -> None:
    change(runs[1] / "summary.json", lambda summary: summary.update(corpus="other"))
    done = combine(*runs, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "corpora differ" in str(done.exception) + done.output
    assert not (tmp_path / "out").exists()


def test_with_a_run_that_learnt_from_its_validation_parts_the_result_says_so(runs: list[Path], tmp_path: Path) -> None:
    """It has seen more than the others, so no table may set the mean beside them as if it had not."""

    def refit(summary: Any) -> None:
        summary["protocol"]["selection"] = "trained anew, on the validation part too"
        for item in summary["folds"]:
            item |= {"train": item["train"] + item["valid"], "valid": 0}

    change(runs[1] / "summary.json", refit)
    out = tmp_path / "out"
    assert combine(*runs, "--out", out).exit_code == 0
    first, second, both = (read_run(folder) for folder in (*runs, out))
    assert "mhsa-faca, tiny: trained anew, on the validation part too" in both.summary.protocol.selection
    assert [item.train for item in both.summary.folds] == [item.train for item in second.summary.folds]
    assert {item.valid for item in both.summary.folds} == {0}
    with pytest.raises(EmofocusError, match="selection rules differ"):
        refuse_other_task(first, both)


def test_other_folds_one_run_and_unfinished_ones_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = write_result(tmp_path / "elsewhere", "random", "mhsa-fa")
    unfinished = write_result(tmp_path / "begun", "speaker", "mhsa-ca", done=1)
    for folders, said in (
        ((runs[0], other), "protocols differ"),
        ((runs[0], runs[0]), "two different runs or more"),
        ((runs[0], unfinished), "has finished 1 of 3 folds"),
        ((runs[0], tmp_path), "is no run of emofocus crossval"),
    ):
        done = combine(*folders, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert said in str(done.exception) + done.output
        assert not (tmp_path / "out").exists()


def combinations() -> list[Path]:
    """Committed ones."""
    found = sorted(RESULTS.rglob("summary.json"))
    return [path.parent for path in found if "members" in json.loads(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("folder", combinations(), ids=lambda folder: folder.parent.name)
def test_every_committed_combination_is_that_of_its_members(folder: Path, tmp_path: Path) -> None:
    members = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["members"]
    runs = [folder.parents[1] / f"{item['model']}-{item['recipe']}" / f"seed{item['seed']}" for item in members]
    assert combine(*runs, "--out", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (folder / "predictions.csv").read_bytes()
