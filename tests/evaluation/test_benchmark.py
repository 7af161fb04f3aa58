"""Models beside large encoders: what is known of their accuracy stands beside their speed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emofocus.cli.main import app
from emofocus.evaluation.other_systems import KnownAccuracy
from emofocus.evaluation.results import read_results
from emofocus.recognition.recognizer import model_folder
from emofocus.utils.atomic import write_text
from helpers.runs import write_result


@pytest.mark.slow
def test_bench_shows_models_beside_large_encoders_with_what_is_known_of_their_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr("emofocus.evaluation.other_systems.NETWORKS", {"HuBERT-base": "Hubert"})
    shipped = model_folder(None)
    config = json.loads((shipped / "config.json").read_text())
    config["training"] |= {"protocol": "emobox6", "ua": 0.5, "fold": 3}
    other = tmp_path / "other"
    shutil.copytree(shipped, other)
    (other / "config.json").write_text(json.dumps(config))
    out = tmp_path / "speed.json"
    models = ["-m", other, "-m", shipped, "--precision", "fp32", "--beside"]
    arguments = ["bench", *models, "--rounds", 1, "--streams", 1, "--seconds", 0.5, "--out", out]
    assert CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False).exit_code == 0
    rows = json.loads(out.read_text())
    assert [row["model"] for row in rows] == ["other", shipped.name, "HuBERT-base"]
    assert (rows[0]["ua"], rows[0]["measured_on"]) == (50.0, "ravdess emobox6, fold 3")
    assert (rows[2]["ua"], rows[2]["measured_on"]) == (65.4, "ravdess emobox6")
    assert rows[2]["size"] == pytest.approx(377.5, abs=1)
    assert rows[2]["batch"] is None
    assert rows[0]["single"] > rows[2]["single"] > 0


def test_the_accuracy_of_a_model_is_the_mean_of_its_runs_where_results_are_given(tmp_path: Path) -> None:
    write_result(tmp_path / "results", "speaker", "bmhsa", seed=0)
    write_result(tmp_path / "results", "speaker", "bmhsa", seed=1)
    config = {"model": "bmhsa", "training": {"corpus": "made", "protocol": "speaker", "recipe": "tiny", "fold": 1}}
    labels = {"id2label": {"0": "a"}, "label2id": {"a": 0}}
    write_text(tmp_path / "model" / "config.json", json.dumps(config | labels))
    runs = read_results(tmp_path / "results")
    ua, measured_on = KnownAccuracy(runs).of(tmp_path / "model")
    assert ua == pytest.approx(100 * np.mean([run.by_fold[:, 1] for run in runs]))
    assert measured_on == "made speaker, seeds: 2"
    assert KnownAccuracy().of(tmp_path / "model") == (None, "")
