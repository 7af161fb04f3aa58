"""The report out of results alone: what it says, what it refuses, and that the committed one is what it makes."""

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from emofocus.cli.evaluate import report
from emofocus.errors import EmofocusError, MissingExtraError
from emofocus.evaluation.report import ResultError, read_results, write_report
from emofocus.evaluation.report.entries import group_results
from emofocus.evaluation.report.literature import TABLES
from emofocus.models import MODELS
from emofocus.training.results import averages, measure_row_calibration
from helpers.paths import ROOT
from helpers.runs import CLASSES, SPEAKERS, change, digest, write_result


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_all(tmp_path / "results")
    return tmp_path / "results"


def write_all(root: Path) -> None:
    write_result(root, "speaker", "bmhsa")
    write_result(root, "speaker", "mhsa-faca", right=0.8)
    write_result(root, "speaker", "mhsa-faca", seed=1, right=0.8)
    write_result(root, "random", "mhsa-faca", right=0.9)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of `results`, made once."""
    folder = tmp_path_factory.mktemp("report")
    write_all(folder / "results")
    return text_of(folder / "results", folder)


@pytest.fixture(scope="module")
def own_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of the committed results."""
    return text_of(ROOT / "results", tmp_path_factory.mktemp("own"))


def text_of(root: Path, tmp_path: Path) -> str:
    pytest.importorskip("matplotlib")
    write_report(root, tmp_path / "out" / "results.md")
    return (tmp_path / "out" / "results.md").read_text()


# The committed report


@pytest.mark.slow
def test_the_committed_report_is_what_its_results_give(own_text: str) -> None:
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == own_text, "run: make results"


def test_the_committed_figures_are_those_that_the_report_shows() -> None:
    shown = re.findall(r"!\[[^]]*]\(([^)]+)\)", (ROOT / "docs" / "results.md").read_text(encoding="utf-8"))
    assert shown
    assert {f"images/results/{path.name}" for path in (ROOT / "docs/images/results").iterdir()} == set(shown)


def test_the_readmes_figures_are_those_of_the_report() -> None:
    pages = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/accuracy.md"))
    rows = re.findall(r"\| (\d+\.\d+ ± \d+\.\d+) " * 3 + r"\|\n", pages)
    assert len(rows) > 30
    measured = re.findall(
        r"WA (\S+ ± \S+) \[[^]]*]<br>UA (\S+ ± \S+) \[[^]]*]<br>macro-F1 (\S+ ± \S+) \[",
        (ROOT / "docs" / "results.md").read_text(encoding="utf-8"),
    )
    unknown = set(rows) - set(measured)
    assert not unknown


# What it says


def test_two_runs_give_the_same_bytes(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first = write_report(results, tmp_path / "a" / "results.md")
    second = write_report(results, tmp_path / "b" / "results.md")
    assert [path.name for path in first] == [path.name for path in second]
    for here, there in zip(first, second, strict=True):
        assert here.read_bytes() == there.read_bytes(), here.name


def test_every_result_has_its_figures_and_the_command_counts_them(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "docs" / "all.md"
    done = CliRunner().invoke(report, [str(results), "--out", str(out)], catch_exceptions=False)
    assert done.output == f"{out}, and 9 figures in {tmp_path / 'docs' / 'images' / 'all'}\n"
    names = sorted(path.name for path in (tmp_path / "docs" / "images" / "all").iterdir())
    assert len(names) == 9
    assert "made-speaker-mhsa-faca-tiny-confusion.png" in names
    for name in names:
        assert f"(images/all/{name})" in out.read_text()


def test_protocols_stand_side_by_side_and_random_is_marked_wherever_it_appears(text: str) -> None:
    assert "| model, recipe | `speaker` | `random` (optimistic) |" in text
    assert re.search(r"^\| `bmhsa`, `tiny` \| WA [^|]+<br>1 seed \| not measured \|$", text, re.MULTILINE)
    assert re.search(r"^\| `mhsa-faca`, `tiny` \| WA [^|]+<br>2 seeds \| WA [^|]+<br>1 seed \|$", text, re.MULTILINE)
    tables = "\n".join(line for line in text.splitlines() if line.startswith(("|", "#")))
    assert "`random`" in tables
    assert "`random`" not in tables.replace("`random` (optimistic)", "")


def test_means_and_deviations_of_the_headline_are_those_of_the_summaries(text: str, results: Path) -> None:
    folders = [results / "made" / "speaker" / "mhsa-faca-tiny" / f"seed{seed}" for seed in (0, 1)]
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    mean, std = (np.mean([summary["wa"][key] for summary in summaries]) for key in ("mean", "std"))
    assert f"WA {100 * mean:.2f} ± {100 * std:.2f} [" in text


def test_adapted_results_stand_apart_with_their_gain(results: Path, tmp_path: Path) -> None:
    write_result(results, "speaker+voice110s", "bmhsa", right=0.9)
    write_result(results, "speaker+voice15s", "bmhsa", right=0.8)
    write_result(results, "speaker+voice15s-angry", "bmhsa", right=0.5)
    write_result(results, "speaker+voiceall", "bmhsa", right=0.9)
    text = text_of(results, tmp_path)
    section = text.partition("### Adapted to voices without labels")[2].partition("## Beside the paper")[0]
    assert "Unlabelled speech of the test speakers is used here" in section
    conditions = re.findall(
        r"^\| (\d+s\S*|all) \| `bmhsa`, `tiny` \| `speaker` \|.*\| [+-]\d+\.\d+ \|", section, re.MULTILINE
    )
    assert conditions == ["15s", "15s-angry", "110s", "all"]
    assert "voice" not in text.partition("### Adapted")[0]
    assert "protocol `speaker+voice" not in text


def test_variants_that_share_several_seeds_are_tested_over_all_of_them_together(results: Path, tmp_path: Path) -> None:
    write_result(results, "speaker", "bmhsa", seed=1, right=0.5)
    text = text_of(results, tmp_path)
    assert "**Protocol `speaker`, recipe `tiny`, 2 seeds together**" in text
    row = re.search(r"^\| `mhsa-faca` − `bmhsa` \|(.+)\| +(\d) of 2 \|$", text, re.MULTILINE)
    assert row is not None
    assert "**Protocol `speaker`, recipe `tiny`, seed 0**" not in text


def test_variants_are_tested_in_pairs_where_the_same_seed_has_two_of_them(text: str) -> None:
    assert "**Protocol `speaker`, recipe `tiny`, seed 0**" in text
    assert "seed 1**" not in text
    row = next(line for line in text.splitlines() if line.startswith("| `mhsa-faca` − `bmhsa` |"))
    assert re.search(r"\| \+\d+\.\d\d \[−?\d+\.\d, \d+\.\d] \|", row)


def test_pairs_in_other_folds_are_not_compared_and_the_report_says_why(results: Path, tmp_path: Path) -> None:
    folder = results / "made" / "speaker" / "bmhsa-tiny" / "seed0"
    parts = json.loads((folder / "folds.json").read_text())["folds"]
    parts[0]["train"], parts[0]["valid"] = parts[0]["valid"], parts[0]["train"]
    (folder / "folds.json").write_text(json.dumps({"folds": parts}))
    change(folder / "summary.json", lambda summary: summary["protocol"].update(digest=digest(parts)))
    text = text_of(results, tmp_path)
    assert (
        "Not compared: made/speaker/bmhsa-tiny/seed0 and made/speaker/mhsa-faca-tiny/seed0 cannot be compared" in text
    )
    assert "their folds (their digest) differ" in text


def test_the_papers_figures_are_printed_as_in_its_tables(text: str) -> None:
    paper = ["| MHSA-FACA | WA 82.85, UA 82.47 |", "| BMHSA | WA 69.66, UA 70.52 |", "| MHSA-FA | WA 71.56, UA 72.30 |"]
    paper += ["| MHSA-FACA | WA 72.01, UA 72.83 |", "| Head Fusion | WA 77.80, UA 77.40 |", "| QCNN | WA –, UA 77.87 |"]
    for row in [*paper, "| ResLSTM-SA (47 k parameters) | – | 62.3 ± 1.2 |", "| HuBERT-base | 66.2 | 65.4 |"]:
        assert row in text, row
    assert "| **emofocus** | not measured | not measured |" in text


@pytest.mark.slow
def test_ours_stand_beside_the_papers_with_their_protocol(own_text: str) -> None:
    row = next(line for line in own_text.splitlines() if line.startswith("| MHSA-FACA | WA 82.85"))
    assert re.search(
        r"`random` \(optimistic\), `[^|]*: WA \d\d\.\d\d ± [^|]*\| [^|]*`speaker`, `[^|]*: WA \d\d\.\d\d", row
    )


def test_who_is_heard_in_training_is_counted_from_the_files(results: Path) -> None:
    found = {result.key[1]: (result.shared, result.optimistic) for result in read_results(results)}
    assert found == {"speaker": (0, False), "random": (len(SPEAKERS), True)}


def test_a_protocol_of_another_name_that_shares_speakers_is_marked(tmp_path: Path) -> None:
    folder = write_result(tmp_path / "results", "random")
    change(folder / "summary.json", lambda summary: summary["protocol"].update(name="ours"))
    assert "`ours` (optimistic)" in text_of(tmp_path / "results", tmp_path)


def test_audits_come_from_the_summary_or_from_a_file_beside_it(results: Path, tmp_path: Path) -> None:
    folder = results / "made" / "random" / "mhsa-faca-tiny" / "seed0"
    change(folder / "summary.json", lambda summary: summary.pop("audit"))
    offences = [{"kind": "speaker", "value": name, "fold": 0} for name in ("01", "02", "01")]
    (folder / "audit.json").write_text(json.dumps({"offences": offences}))
    text = text_of(results, tmp_path)
    assert "| shares speaker (2) |" in text
    assert "| shares text (2) |" in text


def test_an_unfinished_run_says_so_and_stands_alone(results: Path, tmp_path: Path) -> None:
    write_result(results, "speaker", "mhsa-faca", seed=2, done=2)
    text = text_of(results, tmp_path)
    assert "**only 2 of 3 folds**" in text
    assert "2 seeds" in text
    assert len(group_results(read_results(results))) == 4


def test_a_run_without_a_finished_fold_is_left_out(results: Path) -> None:
    folder = results / "made" / "actors5" / "bmhsa-tiny" / "seed0"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"folds": []}')
    assert len(read_results(results)) == 4


def calibrate(summary: dict, folder: Path) -> None:
    """As if a temperature of 1 and a threshold of 0.6 had been fitted."""
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for item in summary["folds"]:
        own = [row for row in rows if row["fold"] == str(item["fold"])]
        found = measure_row_calibration(own, CLASSES, 1.0, 0.6)._asdict()
        item |= {"temperature": 1.0, "threshold": 0.6}
        item |= {name: None if value is None else round(value, 6) for name, value in found.items()}
    summary |= averages(summary["folds"])


def test_calibration_is_shown_where_folds_have_a_temperature(results: Path, tmp_path: Path) -> None:
    folder = results / "made" / "speaker" / "bmhsa-tiny" / "seed0"
    change(folder / "summary.json", lambda summary: calibrate(summary, folder))
    text = text_of(results, tmp_path)
    ece = json.loads((folder / "summary.json").read_text())["ece"]
    assert "| answered % | WA % of the answered |" in text
    assert f"| {100 * ece['mean']:.2f} ± {100 * ece['std']:.2f} |" in text
    assert "made-speaker-bmhsa-tiny-reliability.png" in text
    assert "made-random-mhsa-faca-tiny-reliability.png" not in text


# What it refuses


def test_no_results_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"no results in .*nowhere \(is not there\); emofocus crossval writes some"):
        write_report(tmp_path / "nowhere", tmp_path / "results.md")
    with pytest.raises(ResultError, match=r"there is no summary.json below it"):
        write_report(tmp_path, tmp_path / "results.md")
    assert not (tmp_path / "results.md").exists()


def spoil_fold(summary: dict) -> None:
    summary["folds"][1]["ua"] = round(summary["folds"][1]["ua"] + 0.00001, 6)


def spoil_mean(summary: dict) -> None:
    summary["macro_f1"]["mean"] += 0.001


def spoil_std(summary: dict) -> None:
    del summary["wa"]


def spoil_size(summary: dict) -> None:
    summary["folds"][0]["train"] = 7


def spoil_digest(summary: dict) -> None:
    summary["protocol"]["digest"] = "0123456789abcdef"


def spoil_calibration(summary: dict) -> None:
    for item in summary["folds"]:
        item |= {"temperature": 1.0, "threshold": 0.6, "ece_before": 0.5}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_fold, r"ua of fold 1 is 0\.\d+, but predictions.csv gives 0\.\d{6}"),
        (spoil_mean, r"the mean macro_f1 is 0\.\d+, but predictions.csv gives"),
        (spoil_std, r"the mean wa is None, but"),
        (spoil_size, r"fold 0 has 7 in train, folds.json has 24"),
        (spoil_digest, r"the digest of the folds is 0123456789abcdef, but folds.json gives [0-9a-f]{16}"),
        (spoil_calibration, r"ece_before of fold 0 is 0.5, but predictions.csv gives 0\.\d{6}"),
    ],
)
def test_a_summary_that_disagrees_with_its_predictions_is_refused(results: Path, spoil: Any, message: str) -> None:
    path = results / "made" / "speaker" / "bmhsa-tiny" / "seed0" / "summary.json"
    change(path, spoil)
    with pytest.raises(ResultError, match=re.escape(str(path)) + ": " + message):
        read_results(results)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",angry,", ",bored,", r"label 'bored' is no class \(valid: angry, happy, sad\)"),
        ("p_sad", "sad", "no column p_sad"),
        ("\n0,", "\n4,", "fold 0 tests 24 utterances, predictions.csv has"),
        ("03-01.wav", "03-02.wav", "03/03-02.wav is there more than once"),
    ],
)
def test_damaged_predictions_are_refused(results: Path, old: str, new: str, message: str) -> None:
    path = results / "made" / "speaker" / "bmhsa-tiny" / "seed0" / "predictions.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(EmofocusError, match=message):
        read_results(results)


def test_missing_files_are_named(results: Path) -> None:
    (results / "made" / "speaker" / "bmhsa-tiny" / "seed0" / "folds.json").unlink()
    with pytest.raises(ResultError, match=r"bmhsa-tiny/seed0 has a summary.json but no folds.json"):
        read_results(results)


def test_the_same_experiment_twice_is_refused(results: Path) -> None:
    write_result(results / "copy", "speaker", "bmhsa")
    with pytest.raises(ResultError, match="are the same experiment"):
        read_results(results)


def test_seeds_of_one_recipe_with_other_settings_are_refused(results: Path) -> None:
    path = results / "made" / "speaker" / "mhsa-faca-tiny" / "seed1" / "summary.json"
    change(path, lambda summary: summary.update(recipe_settings={"epochs": 3, "description": "other", "newer": 1}))
    with pytest.raises(ResultError, match="are called one recipe, but epochs is 2 and 3"):
        group_results(read_results(results))


def test_a_recipe_that_began_to_remove_offsets_has_a_row_of_its_own(results: Path, tmp_path: Path) -> None:
    """Its name stayed: its seeds were averaged with those that kept the offsets."""
    path = results / "made" / "speaker" / "mhsa-faca-tiny" / "seed1" / "summary.json"
    kept, removed = ({"epochs": 2, "features": features} for features in ({}, {"remove_offset": True}))
    change(path, lambda summary: summary.update(recipe_settings=removed))
    change(path.parents[1] / "seed0" / "summary.json", lambda summary: summary.update(recipe_settings=kept))
    text = text_of(results, tmp_path)
    for recipe in ("tiny", "tiny+offset-removed"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `mhsa-faca`, `{recipe}` | WA ")]
        assert "1 seed" in row
    assert "Front end: 40 MFCCs (DC offset kept)." in text
    assert "Front end: 40 MFCCs (DC offset removed)." in text


def test_without_matplotlib_the_command_says_how_to_get_it(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'emofocus\[figures]'"):
        write_report(results, tmp_path / "results.md")


def test_every_system_of_the_papers_tables_is_a_network_of_ours() -> None:
    systems = [item for table in TABLES for item in table.systems]
    names = {name for item in systems for name in item.model.split("+")}  # of two together, both
    assert names <= set(MODELS)
    ours = {"compact-bmhsa", "compact-fa", "compact-ca", "encoder-bmhsa", "encoder-fa", "encoder-ca"}
    assert set(MODELS) - names == ours
