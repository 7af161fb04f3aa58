"""Figures are what they say, and every committed one can be recomputed."""

import csv
import json
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from emofocus.cli.main import app
from emofocus.config import NetworkSettings, Recipe, load_model_config, parse
from emofocus.corpora import read_corpus
from emofocus.data.cache import Cache
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import CachedSpeech, fingerprints_of
from emofocus.errors import ConfigError, SplitError
from emofocus.evaluation.results import ADAPTED
from emofocus.export.model_card import model_card
from emofocus.metrics.calibration import (
    CalibrationFigures,
    calibrate,
    expected_calibration_error,
    negative_log_likelihood,
)
from emofocus.metrics.classification import Metrics, measure
from emofocus.models.checkpoint import load_network
from emofocus.splits.folds import write_folds
from emofocus.splits.formats import read_folds
from emofocus.splits.protocols import PROTOCOLS, make_folds
from emofocus.training.cross_validation import cross_validate
from emofocus.training.experiment import Experiment, refuse_leaks
from emofocus.training.fabric import make_fabric
from emofocus.training.loop import mean_logits, score
from emofocus.training.options import FabricOptions
from emofocus.training.results import Summary, averages, measure_row_calibration, measure_rows, plain, read_summary
from helpers.paths import RESULTS
from helpers.properties import cases
from helpers.trees import iemocap_tree, some_turns

SUMMARIES = sorted(RESULTS.glob("*/*/*/seed*/summary.json"))
"""Summaries of cross-validations; those of `emofocus evaluate` have no seed, and tests of their own."""
CLASSES = ("a", "b", "c")


def test_wa_is_accuracy_and_ua_the_mean_of_recalls() -> None:
    labels, predictions = list("aaaaaaaabb"), list("aaaaaaaaab")
    found = measure(labels, predictions, CLASSES)
    assert found.wa == pytest.approx(0.9)
    assert found.ua == pytest.approx(0.75)  # recalls 1 and 1/2; c has no utterance and does not count


@given(st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1, max_size=60))
@cases(50)
def test_figures_equal_their_definitions(pairs: list[tuple[str, str]]) -> None:
    labels, predictions = [a for a, _ in pairs], [b for _, b in pairs]
    found = measure(labels, predictions, CLASSES)
    recalls, f1 = [], []
    for name in sorted(set(labels)):
        hits = sum(a == b == name for a, b in pairs)
        recall = hits / labels.count(name)
        precision = hits / predictions.count(name) if name in predictions else 0.0
        recalls.append(recall)
        f1.append(2 * recall * precision / (recall + precision) if hits else 0.0)
    expected = (np.mean([a == b for a, b in pairs]), np.mean(recalls), np.mean(f1))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda path: "/".join(path.relative_to(RESULTS).parts[:-1]))
def test_every_committed_summary_recomputes_from_its_predictions(path: Path) -> None:
    summary = json.loads(path.read_text())
    with (path.parent / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["fold"] for row in rows} == {str(item["fold"]) for item in summary["folds"]}
    for item in summary["folds"]:
        part = [row for row in rows if row["fold"] == str(item["fold"])]
        assert len(part) == item["test"]
        for name, value in measure_rows(part, summary["classes"])._asdict().items():
            assert item[name] == pytest.approx(value, abs=1e-6)
        if "temperature" in item:  # older results have none
            figures = measure_row_calibration(part, summary["classes"], item["temperature"], item["threshold"])
            for name, value in figures._asdict().items():
                assert item[name] == (value if value is None else pytest.approx(value, abs=1e-6))
        for row in part:
            scores = {name: float(row[f"p_{name}"]) for name in summary["classes"]}
            assert sum(scores.values()) == pytest.approx(1, abs=1e-3)
            assert scores[row["prediction"]] == max(scores.values())
    assert set(Metrics._fields) <= set(summary)
    for name in set(summary) & {*Metrics._fields, *CalibrationFigures._fields}:
        values = [item[name] for item in summary["folds"] if item.get(name) is not None]
        assert summary[name]["mean"] == pytest.approx(statistics.fmean(values), abs=1e-6)
        deviation = statistics.stdev(values) if len(values) > 1 else 0
        assert summary[name]["std"] == pytest.approx(deviation, abs=1e-6)


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda path: "/".join(path.relative_to(RESULTS).parts[:-1]))
def test_every_committed_result_tests_each_utterance_once_in_the_part_that_its_folds_name(path: Path) -> None:
    summary = json.loads(path.read_text())
    folds = json.loads((path.parent / "folds.json").read_text())["folds"]
    with (path.parent / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    done = [item["fold"] for item in summary["folds"]]  # folds are committed as they finish
    assert len(rows) == len({row["file"] for row in rows}) == sum(len(folds[number]["test"]) for number in done)
    if len(done) == len(folds):
        kept = [corpus["utterances"] for corpus in summary.get("corpora", {}).values() if corpus["only_tested"]]
        assert len(rows) == (sum(kept) or summary["utterances"])
    for number, fold in enumerate(folds):
        tested = {Path(name).stem for name in fold["test"]} if number in done else set()
        assert {Path(row["file"]).stem for row in rows if row["fold"] == str(number)} == tested
        assert not set(fold["test"]) & (set(fold["train"]) | set(fold["valid"]))


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda path: "/".join(path.relative_to(RESULTS).parts[:-1]))
def test_every_committed_result_has_the_audit_of_its_split_beside_it(path: Path) -> None:
    """It fails where test speakers are heard in training, and nowhere else."""
    found = json.loads((path.parent / "audit.json").read_text())
    assert found["folds"] == json.loads(path.read_text())["protocol"]["folds"]
    protocol = path.relative_to(RESULTS).parts[1].partition(ADAPTED)[0]
    assert found["passed"] is not PROTOCOLS[protocol].speakers_shared


@pytest.mark.parametrize("path", SUMMARIES, ids=lambda path: "/".join(path.relative_to(RESULTS).parts[:-1]))
def test_every_committed_summary_is_read_in_full_and_written_in_the_same_bytes(path: Path, tmp_path: Path) -> None:
    """Keys that older versions lacked stay away. An older recipe lacks settings, and combined runs have several."""
    stated = json.loads(path.read_text())
    if "members" in stated:
        assert plain(parse(Summary, stated, str(path))) == stated
        return
    parse(Summary, stated, str(path)).write(tmp_path / "summary.json")
    assert (tmp_path / "summary.json").read_text() == path.read_text()
    assert plain(read_summary(path)) | {"recipe_settings": stated["recipe_settings"]} == stated


def test_ravdess_is_committed_under_both_protocols() -> None:
    assert {path.relative_to(RESULTS).parts[:2] for path in SUMMARIES} >= {
        ("ravdess", "speaker"),
        ("ravdess", "random"),
    }


RECIPE = Recipe(epochs=1, batch_size=16, network=NetworkSettings(dropout=0.0))


def source_of(root: Path, cache: Cache) -> CachedSpeech:
    return CachedSpeech(read_corpus("emodb", root), cache)


def experiment_of(root: Path, seed: int = 0) -> Experiment:
    corpus = read_corpus("emodb", root)
    return Experiment(corpus, "bmhsa", "tiny", RECIPE, make_folds(corpus, "random", seed), seed)


def test_cross_validation_resumes_fold_by_fold_and_writes_what_it_promises(
    small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import emofocus.training.cross_validation as module

    cache, fabric, out = (
        Cache(tmp_path / "cache"),
        make_fabric(FabricOptions(devices=1)),
        tmp_path / "out",
    )
    trained: list[int] = []
    real = module.run_fold

    def interrupted(experiment, number, *rest):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(number)
        return real(experiment, number, *rest)

    monkeypatch.setattr(module, "run_fold", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(experiment_of(small_corpus), out, fabric, source_of(small_corpus, cache))
    assert [item["fold"] for item in json.loads((out / "summary.json").read_text())["folds"]] == [0, 1]
    monkeypatch.setattr(
        module, "run_fold", lambda e, number, *rest: (trained.append(number), real(e, number, *rest))[1]
    )
    summary = plain(cross_validate(experiment_of(small_corpus), out, fabric, source_of(small_corpus, cache)))
    assert trained == [0, 1, 2, 3, 4]
    assert summary == json.loads((out / "summary.json").read_text())
    keys = {
        "corpus",
        "model",
        "recipe",
        "parameters",
        "protocol",
        "seed",
        "version",
        "folds",
        "wa",
        "ua",
        "macro_f1",
    }
    assert keys <= set(summary)
    assert set(summary["protocol"]) >= {"name", "folds", "selection"}
    assert {"fold", "train", "valid", "test", "best_epoch", "wa", "ua", "macro_f1"} <= set(summary["folds"][0])
    assert all(item["seconds"] > 0 for item in summary["folds"])
    assert all(item["precision"] == "32-true" for item in summary["folds"])
    assert "seconds" not in load_model_config(out / "fold-0" / "config.json").training  # equal models, equal bits
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["fold", "file", "speaker", "label", "prediction"]
    assert len(rows) == 42
    assert_calibrated(summary, rows, out)
    assert_fitted_on_validation_alone(summary, experiment_of(small_corpus), out, cache)
    # A third call finds everything done.
    monkeypatch.setattr(module, "run_fold", lambda *_: pytest.fail("trained again"))
    assert plain(cross_validate(experiment_of(small_corpus), out, fabric, source_of(small_corpus, cache))) == summary
    # So does one that finds results of a version that timed nothing.
    for item in summary["folds"]:
        del item["seconds"]
    (out / "summary.json").write_text(json.dumps(summary))
    assert plain(cross_validate(experiment_of(small_corpus), out, fabric, source_of(small_corpus, cache))) == summary


def assert_calibrated(summary: dict[str, Any], rows: list[dict[str, str]], out: Path) -> None:
    """Figures follow from predictions.csv and the temperature, and the fold's config.json holds what was fitted."""
    for item in summary["folds"]:
        part = [row for row in rows if row["fold"] == str(item["fold"])]
        found = measure_row_calibration(part, summary["classes"], item["temperature"], item["threshold"])
        for name, value in found._asdict().items():
            assert item[name] == (value if value is None else pytest.approx(value, abs=1e-6))
        config = load_model_config(out / f"fold-{item['fold']}" / "config.json")
        assert (config.temperature, config.threshold) == (item["temperature"], item["threshold"])
        card = model_card(config, graph_bytes=1)
        assert f"**{item['temperature']:.3f}**" in card
        assert f"{item['ece_before']:.1%} before, **{item['ece']:.1%}** after" in card
        assert f"threshold **{item['threshold']:g}**" in card
    for name in ("ece_before", "ece", "nll_before", "nll", "coverage"):
        assert summary[name]["mean"] == pytest.approx(
            statistics.fmean(item[name] for item in summary["folds"]), abs=1e-6
        )


def assert_fitted_on_validation_alone(summary: dict[str, Any], experiment: Experiment, out: Path, cache: Cache) -> None:
    """From the kept weights and the logits, without predictions.csv: the same numbers, to the digits that it keeps."""
    corpus, item, fold = experiment.corpus, summary["folds"][0], experiment.folds[0]
    network, config = load_network(out / "fold-0")
    (speech,), labels = CachedSpeech(corpus, cache).speech(experiment.recipe), corpus.labels()
    valid, test = (SegmentDataset(speech, labels, config.segment, part) for part in (fold.valid, fold.test))
    fitted = calibrate(mean_logits(network, valid), valid.labels)
    assert fitted.temperature == pytest.approx(item["temperature"], rel=1e-3)
    assert fitted.threshold == item["threshold"]
    assert fitted.valid == pytest.approx((item["valid_coverage"], item["valid_selective_wa"]), abs=1e-6)
    before = score(network, test)
    correct = before.argmax(axis=1) == test.labels
    assert expected_calibration_error(before.max(axis=1), correct) == pytest.approx(item["ece_before"], abs=1e-4)
    assert negative_log_likelihood(before, test.labels) == pytest.approx(item["nll_before"], abs=1e-4)


def test_averages_pass_over_folds_that_answer_nothing_and_older_ones_without_calibration() -> None:
    figures = {"wa": 0.5, "ua": 0.5, "macro_f1": 0.5}
    found = averages([figures, figures | {"ece": 0.1, "selective_wa": None}, figures | {"ece": 0.3}])
    assert found["ece"]["mean"] == pytest.approx(0.2)
    assert set(found) == {"wa", "ua", "macro_f1", "ece"}


def test_results_of_another_experiment_are_not_overwritten(small_corpus: Path, tmp_path: Path) -> None:
    cache, fabric, out = (
        Cache(tmp_path / "cache"),
        make_fabric(FabricOptions(devices=1)),
        tmp_path / "out",
    )
    out.mkdir()
    (out / "summary.json").write_text(json.dumps(plain(experiment_of(small_corpus).identity()) | {"folds": []}))
    before = (out / "summary.json").read_text()
    with pytest.raises(ConfigError, match=r"holds another run .*seed is 0, not 1"):
        cross_validate(experiment_of(small_corpus, seed=1), out, fabric, source_of(small_corpus, cache))
    assert (out / "summary.json").read_text() == before


def test_crossval_runs_all_ten_folds_of_iemocap_from_its_owners_layout(tmp_path: Path) -> None:
    root = iemocap_tree(tmp_path / "iemocap", some_turns(14), audio=True)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("epochs: 1\nbatch_size: 64\n")
    arguments = ["crossval", "--corpus", "iemocap", "--root", root, "--protocol", "random", "--recipe", recipe]
    arguments += [
        "--model",
        "bmhsa",
        "--out",
        tmp_path / "out",
        "--cache",
        tmp_path / "cache",
        "--threads",
        1,
        "--log",
        "tensorboard",
    ]
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0
    assert "LEFT OUT, because no class takes their label" in done.stderr
    assert "parts share speaker (10)" in done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [item["fold"] for item in summary["folds"]] == list(range(10))
    assert summary["audit"]["speaker"] == 10
    assert not json.loads((tmp_path / "out" / "audit.json").read_text())["passed"]
    assert "SHARED" in summary["protocol"]["note"]
    assert list((tmp_path / "out" / "tensorboard").glob("events.out.tfevents.*"))


def test_crossval_refuses_a_leaking_split_unless_it_is_called_random(small_corpus: Path, tmp_path: Path) -> None:
    corpus = read_corpus("emodb", small_corpus)
    write_folds(make_folds(corpus, "random", seed=0), corpus, tmp_path / "folds.json")
    text = (tmp_path / "folds.json").read_text().replace('"protocol": "random"', '"protocol": "ours"')
    (tmp_path / "folds.json").write_text(text)
    arguments = ["crossval", "--corpus", "emodb", "--root", small_corpus, "--folds", tmp_path / "folds.json"]
    arguments += ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    with pytest.raises(SplitError, match=r"the ours split of emodb fails its audit: .*speaker \(3\)"):
        CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert not (tmp_path / "out" / "predictions.csv").exists()
    experiment = Experiment(
        corpus, "bmhsa", "tiny", RECIPE, read_folds(tmp_path / "folds.json", corpus, "random", 0), 0
    )
    assert not refuse_leaks(experiment, fingerprints_of(corpus, Cache(tmp_path / "cache"))).passed


def test_equal_audio_under_two_speakers_is_refused(small_corpus: Path, tmp_path: Path) -> None:
    """No list of names shows that somebody copied a file; listening does."""
    files = sorted((small_corpus / "wav").glob("*.wav"))
    files[-1].write_bytes(files[0].read_bytes())
    corpus = read_corpus("emodb", small_corpus)
    experiment = Experiment(corpus, "bmhsa", "tiny", RECIPE, make_folds(corpus, "speaker", seed=0), 0)
    with pytest.raises(SplitError, match=r"audio \(1\)"):
        refuse_leaks(experiment, fingerprints_of(corpus, Cache(tmp_path / "cache")))


def untimed(path: Path) -> str:
    """A file's text without how long training took, which is never the same twice."""
    return re.sub(r'"seconds": [0-9.]+,', "", path.read_text())


@pytest.mark.slow
def test_crossval_from_a_file_of_features_and_with_folds_side_by_side_ends_in_the_same_bits(
    small_corpus: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("epochs: 1\nbatch_size: 32\nspeeds: [0.9]\n")
    corpus = ["--corpus", "emodb", "--root", small_corpus, "--recipe", recipe, "--cache", tmp_path / "cache"]

    def run(*arguments: object) -> None:
        done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
        assert done.exit_code == 0, done.stderr

    common = ["--protocol", "random", "--model", "bmhsa", "--threads", 1]
    run("features", *corpus, "--out", tmp_path / "made.safetensors")
    run("crossval", *corpus, *common, "--out", tmp_path / "audio-out")
    file = ["--features", tmp_path / "made.safetensors", "--recipe", recipe]
    run("crossval", *file, *common, "--out", tmp_path / "file-out")
    for name in ("summary.json", "predictions.csv", "folds.json"):
        assert untimed(tmp_path / "audio-out" / name) == untimed(tmp_path / "file-out" / name)
    run("crossval", *file, *common, "--jobs", 2, "--out", tmp_path / "side-by-side")
    for name in ("summary.json", "predictions.csv"):
        assert untimed(tmp_path / "side-by-side" / name) == untimed(tmp_path / "file-out" / name)
    with pytest.raises(ConfigError, match="name either --corpus"):
        run("crossval", *file, "--corpus", "emodb", "--out", tmp_path / "neither")
