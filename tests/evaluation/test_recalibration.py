"""Calibration by corpora that a network was not trained on: it holds better there, and its origin is written down."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from emofocus.cli.main import app
from emofocus.config import ModelConfig, load_model_config
from emofocus.errors import ConfigError
from emofocus.evaluation.recalibration import answers_of, recalibrate, write_calibration
from emofocus.evaluation.results import ResultError, read_run
from emofocus.metrics.calibration import negative_log_likelihood, probabilities
from emofocus.models.checkpoint import save_config
from helpers.runs import write_result

RESULTS = Path(__file__).parents[2] / "results" / "multi"
NAME = "encoder-faca-general"
LOCO = [RESULTS / "loco" / NAME / f"seed{seed}" for seed in range(3)]
UNSEEN = [RESULTS / "unseen" / NAME / f"seed{seed}" for seed in range(3)]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)], catch_exceptions=False)


def test_answers_are_those_of_the_run_before_its_temperatures() -> None:
    run = read_run(LOCO[0])
    logits, labels, corpora = answers_of(run)
    assert np.array_equal(labels, run.predictions.labels)
    assert sorted(set(corpora)) == ["emodb", "emovo", "nemo", "ravdess"]
    for entry in run.summary.folds:
        chosen = run.folds == entry.fold
        assert probabilities(logits[chosen], entry.temperature) == pytest.approx(run.probabilities[chosen], abs=1e-5)


def test_each_corpus_counts_alike() -> None:
    """nEMO has ten times as many utterances as EmoDB."""
    made, _ = recalibrate(LOCO[:1], [], 0.9, 0.02)
    logits, labels, corpora = answers_of(read_run(LOCO[0]))

    def loss(temperature: float) -> float:
        parts = [corpora == name for name in made.corpora]
        scaled = probabilities(logits, temperature)
        return float(np.mean([negative_log_likelihood(scaled[part], labels[part]) for part in parts]))

    assert loss(made.temperature) < min(loss(0.97 * made.temperature), loss(1.03 * made.temperature))


def test_confident_answers_on_unheard_corpora_are_right_more_often_than_by_the_validation_part() -> None:
    """The validation part promised 90 %, and 54 % were right (mean of three seeds)."""
    _, rows = recalibrate(LOCO, UNSEEN, 0.9, 0.02)
    right = {row.run: row.confident_accuracy for row in rows if row.corpus == "all" and "unseen" in row.run}
    assert len(right) == 3
    assert np.mean([value or 0.0 for value in right.values()]) > 0.8
    before = [calibration.selective_wa or 0.0 for folder in UNSEEN for calibration in read_run(folder).calibration]
    assert np.mean(before) < 0.6


@pytest.fixture
def model(tmp_path: Path) -> Path:
    run = read_run(LOCO[0]).summary
    training = {"recipe": run.recipe, "corpus": "made", "ece": 0.1, "valid_coverage": 0.5, "seed": 0}
    training |= {"train": 9, "valid": 9, "valid_ua": 0.5, "fold": 0, "note": "", "selection": "", "best_epoch": 1}
    training |= {"protocol": "unseen"}
    config = ModelConfig.of(run.model, tuple(run.classes), temperature=0.8, threshold=0.5, training=training)
    (tmp_path / "model").mkdir()
    save_config(tmp_path / "model", config)
    for graph in ("model.onnx", "model-fixed.onnx"):
        (tmp_path / "model" / graph).write_bytes(bytes(200_000))
    return tmp_path / "model"


def test_a_model_takes_the_calibration_and_says_where_it_is_from(model: Path) -> None:
    outcome = invoke(*LOCO, "--test", UNSEEN[0], "--model", model)
    assert outcome.exit_code == 0
    made, _ = recalibrate(LOCO, [], 0.9, 0.02)
    config = load_model_config(model / "config.json")
    assert (config.temperature, config.threshold) == (made.temperature, made.threshold)
    assert config.training["calibrated_on"]["corpora"] == ["emodb", "emovo", "nemo", "ravdess"]
    assert config.training["calibrated_on"]["runs"][0] == "ravdess+emodb+emovo+nemo/loco/encoder-faca/general/seed0"
    assert not {"ece", "valid_coverage"} & set(config.training)  # figures of the former calibration
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "had not been trained on the corpus they answer (emodb, emovo, nemo, ravdess; 3 runs" in card
    assert "`model.onnx`: 0.2 MB; `model-fixed.onnx`: 0.2 MB" in card  # the latter was left out
    assert f"| {UNSEEN[0]} | tess | 700 |" in outcome.output


def test_a_fold_before_its_export_takes_the_calibration_and_gets_no_card(model: Path) -> None:
    """Its card said that model.onnx had 0.0 MB."""
    (model / "model.onnx").unlink()
    made, _ = recalibrate(LOCO[:1], [], 0.9, 0.02)
    write_calibration(model, made)
    assert load_model_config(model / "config.json").threshold == made.threshold
    assert not (model / "README.md").exists()


@pytest.mark.parametrize("change", [{"model": "compact-faca"}, {"training": {"recipe": "paper"}}])
def test_a_model_of_another_kind_is_refused(model: Path, change: dict[str, object]) -> None:
    config = load_model_config(model / "config.json")
    save_config(model, msgspec.structs.replace(config, **change))
    before = (model / "config.json").read_bytes()
    made, _ = recalibrate(LOCO[:1], [], 0.9, 0.02)
    with pytest.raises(ConfigError, match=r"its (model|recipe) is .*, and that of the runs is"):
        write_calibration(model, made)
    assert (model / "config.json").read_bytes() == before


def test_nothing_is_fitted_to_kept_corpora() -> None:
    """`--test A B` measured on A alone, and fitted to B, which tests corpora that are kept for testing."""
    with pytest.raises(ConfigError, match=r"is of the protocol unseen: confidence is fitted to runs of loco"):
        recalibrate([*LOCO, UNSEEN[1]], [UNSEEN[0]], 0.9, 0.02)


def test_runs_that_differ_or_have_no_temperature_are_refused(tmp_path: Path) -> None:
    other = RESULTS / "loco" / "encoder-faca-encoder-short-absent" / "seed0"
    with pytest.raises(ConfigError, match="another recipe"):
        recalibrate([LOCO[0], other], [], 0.9, 0.02)
    with pytest.raises(ConfigError, match="has no temperatures"):
        recalibrate([write_result(tmp_path)], [], 0.9, 0.02)
    with pytest.raises(ResultError, match="there is no such folder"):
        recalibrate([tmp_path / "none"], [], 0.9, 0.02)
