"""Training anew on training and validation parts: what validation chose stays, and test stays unseen."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from emofocus.cli.main import app
from emofocus.config import ModelConfig, NetworkSettings, Recipe, load_model_config
from emofocus.corpora import read_corpus
from emofocus.data.cache import Cache
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import CachedSpeech
from emofocus.errors import ConfigError
from emofocus.evaluation.report import write_report
from emofocus.export.model_directory import training_part
from emofocus.models import build
from emofocus.models.checkpoint import load_tensors
from emofocus.splits.protocols import make_folds
from emofocus.training.cross_validation import cross_validate
from emofocus.training.experiment import Experiment
from emofocus.training.fabric import make_fabric
from emofocus.training.loop import Epoch, fit
from emofocus.training.options import FabricOptions
from emofocus.training.refit import refitted
from emofocus.training.results import plain
from helpers.speech import LABELS, speech_of

RECIPE = Recipe(epochs=2, batch_size=16, network=NetworkSettings(dropout=0.0))


class Runs(NamedTuple):
    """A run, the same after refit, and what they were made with."""

    base: Experiment
    before: Path
    after: Path
    source: CachedSpeech
    cache: Cache

    def cross_validate(self, experiment: Experiment, out: Path) -> dict[str, Any]:
        return plain(cross_validate(experiment, out, make_fabric(FabricOptions(devices=1, threads=1)), self.source))


@pytest.fixture(scope="module")
def runs(shared_small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("runs")
    corpus = read_corpus("emodb", shared_small_corpus)
    base = Experiment(corpus, "bmhsa", "tiny", RECIPE, make_folds(corpus, "random", 0, count=3), 0)
    results = folder / "results" / "emodb" / "random"
    cache = Cache(folder / "cache")
    found = Runs(
        base,
        results / "bmhsa-tiny" / "seed0",
        results / "bmhsa-tiny+refit" / "seed0",
        CachedSpeech(corpus, cache),
        cache,
    )
    found.cross_validate(base, found.before)
    found.cross_validate(refitted(base, found.before), found.after)
    yield found
    found.cache.close()


def summary_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def test_each_fold_keeps_what_validation_had_settled_and_its_folds_and_says_so(runs: Runs) -> None:
    chosen, found = summary_of(runs.before), summary_of(runs.after)
    assert found["recipe"] == "tiny+refit"
    assert "on the validation part too" in found["protocol"]["selection"]
    assert found["protocol"]["digest"] == chosen["protocol"]["digest"]
    for fold, first, second in zip(runs.base.folds, chosen["folds"], found["folds"], strict=True):
        assert (second["train"], second["valid"]) == (len(fold.train) + len(fold.valid), 0)
        assert (second["test"], second["best_epoch"]) == (len(fold.test), RECIPE.epochs)
        for name in ("temperature", "threshold", "energy", "valid_coverage", "valid_selective_wa"):
            assert second[name] == first[name]
        assert [item[1:] for item in second["history"]] == [[None, None]] * RECIPE.epochs


def test_its_weights_are_those_of_the_training_loop_over_both_parts(runs: Runs, tmp_path: Path) -> None:
    fold = runs.base.folds[0]
    both = np.concatenate([fold.train, fold.valid])
    train = SegmentDataset(runs.source.speech(RECIPE)[0], runs.base.corpus.labels(), RECIPE.segment, both)
    torch.manual_seed(0)
    network = build(runs.base.config())
    fit(network, train, None, RECIPE, seed=0, folder=tmp_path)
    saved, _ = load_tensors(runs.after / "fold-0" / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())


def test_what_is_exported_of_it_knows_what_it_has_heard(runs: Runs) -> None:
    for number, fold in enumerate(runs.base.folds):
        config = load_model_config(runs.after / f"fold-{number}" / "config.json")
        fold_of_five = make_folds(runs.base.corpus, "random", 0)[number]
        config.training.update(train=len(fold_of_five.train) + len(fold_of_five.valid), test=len(fold_of_five.test))
        heard = set(training_part(runs.base.corpus, config).tolist())
        assert heard == {*fold_of_five.train, *fold_of_five.valid}
        assert len(fold.valid)


def test_a_refit_goes_on_where_it_was_stopped(runs: Runs, tmp_path: Path) -> None:
    done = summary_of(runs.after)
    shutil.copy(runs.after / "predictions.csv", tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(done | {"folds": done["folds"][:2]}))
    again = runs.cross_validate(refitted(runs.base, runs.before), tmp_path)
    assert [item["ua"] for item in again["folds"]] == [item["ua"] for item in done["folds"]]
    assert (tmp_path / "predictions.csv").read_bytes() == (runs.after / "predictions.csv").read_bytes()


def test_without_validation_the_last_epoch_is_kept_and_patience_waits_for_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(ModelConfig.of("bmhsa", LABELS))
    seen: list[Epoch] = []
    recipe = Recipe(epochs=3, batch_size=8, patience=1)
    fitted = fit(network, speech_of(8, 1), None, recipe, seed=0, folder=tmp_path, after_epoch=seen.append)
    assert fitted.best_epoch == len(seen) == 3
    assert {item.valid_ua for item in seen} == {None}
    last, _ = load_tensors(tmp_path / "last.safetensors")
    assert all(torch.equal(value, last[f"network.{name}"]) for name, value in network.state_dict().items())


def test_where_patience_ended_training_the_best_epoch_is_its_length(runs: Runs, tmp_path: Path) -> None:
    patient = replace(runs.base, recipe=Recipe(epochs=9, batch_size=16, patience=1, network=RECIPE.network))
    found = summary_of(runs.before) | plain(patient.identity())
    for number, item in enumerate(found["folds"]):
        item |= {"best_epoch": number + 1, "history": [[1.0, 0.5, 0.5]] * (number + 2)}
    (tmp_path / "summary.json").write_text(json.dumps(found))
    assert [item.epochs for item in refitted(patient, tmp_path).validation_choices] == [1, 2, 3]


def test_a_run_that_cannot_be_refitted_is_refused_by_name(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no summary\.json"):
        refitted(runs.base, tmp_path)
    with pytest.raises(ConfigError, match=r"holds another run .*model is 'bmhsa', not 'mhsa-fa'"):
        refitted(replace(runs.base, model="mhsa-fa"), runs.before)
    done = summary_of(runs.before)
    (tmp_path / "summary.json").write_text(json.dumps(done | {"folds": done["folds"][1:2]}))
    with pytest.raises(ConfigError, match="folds 0, 2 are not finished"):
        refitted(runs.base, tmp_path)
    for item in done["folds"]:
        del item["temperature"]
    (tmp_path / "summary.json").write_text(json.dumps(done))
    with pytest.raises(ConfigError, match="too old to tell its 'temperature'"):
        refitted(runs.base, tmp_path)


def test_another_seed_takes_the_length_and_calibration_of_the_run_before(runs: Runs) -> None:
    again = refitted(replace(runs.base, seed=1), runs.before)
    assert again.validation_choices == refitted(runs.base, runs.before).validation_choices
    assert again.identity().seed == 1


def test_folds_that_another_seed_deals_otherwise_are_refused(runs: Runs) -> None:
    dealt = make_folds(runs.base.corpus, "random", 1, count=3)
    with pytest.raises(ConfigError, match="holds another run"):
        refitted(replace(runs.base, seed=1, folds=dealt), runs.before)


def test_a_run_from_before_energies_were_fitted_has_none_to_keep(runs: Runs, tmp_path: Path) -> None:
    done = summary_of(runs.before)
    for item in done["folds"]:
        del item["energy"]
    (tmp_path / "summary.json").write_text(json.dumps(done))
    assert [item.calibration.energy for item in refitted(runs.base, tmp_path).validation_choices] == [None] * 3


def test_the_command_refuses_it_before_any_work(shared_small_corpus: Path, tmp_path: Path) -> None:
    command = ["crossval", "--corpus", "emodb", "--root", str(shared_small_corpus), "--protocol", "random"]
    command += ["--refit", str(tmp_path), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    found = CliRunner().invoke(app, command)
    assert found.exit_code != 0
    assert "no summary.json" in str(found.exception)
    assert not (tmp_path / "out").exists()


def test_results_of_more_training_data_are_shown_beside_those_of_less_and_tested_against_none(
    runs: Runs, tmp_path: Path
) -> None:
    write_report(runs.before.parents[3], tmp_path / "results.md")
    text = (tmp_path / "results.md").read_text()
    assert "| `bmhsa`, `tiny` |" in text
    assert "| `bmhsa`, `tiny+refit` |" in text
    assert "Selection: number of epochs and calibration by validation, in a run before" in text
    found = CliRunner().invoke(app, ["compare", str(runs.before), str(runs.after)])
    assert found.exit_code != 0
    assert "selection rules differ" in str(found.exception)


def test_a_refit_trains_the_network_that_was_drawn_to_compare_it(runs: Runs) -> None:
    base = replace(runs.base)
    assert refitted(base, runs.before).network is base.network


def test_a_refit_changes_nothing_else_of_an_experiment(runs: Runs) -> None:
    again = refitted(runs.base, runs.before)
    assert replace(again, validation_choices=(), recipe_name="tiny").identity() == runs.base.identity()
    assert all(np.array_equal(again.fold(k).test, fold.test) for k, fold in enumerate(runs.base.folds))
