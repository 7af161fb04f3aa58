"""Models beside other systems: what is known of their accuracy stands beside their speed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from emofocus.cli.main import app
from emofocus.evaluation.benchmark import Speed
from emofocus.evaluation.ecapa import ECAPA
from emofocus.evaluation.other_systems import KnownAccuracy
from emofocus.evaluation.results import read_results
from emofocus.recognition.recognizer import model_folder
from emofocus.utils.atomic import write_text
from helpers.runs import write_result


@pytest.mark.slow
def test_bench_shows_models_beside_other_systems_with_what_is_known_of_their_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("opensmile")
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
    assert [row["model"] for row in rows] == ["other", shipped.name, "HuBERT-base", "ECAPA-TDNN", "eGeMAPS"]
    assert (rows[0]["ua"], rows[0]["measured_on"]) == (50.0, "ravdess emobox6, fold 3")
    assert (rows[2]["ua"], rows[2]["measured_on"]) == (65.4, "ravdess emobox6")
    assert rows[2]["size"] == pytest.approx(377.5, abs=1)
    assert rows[2]["batch"] is None
    assert rows[0]["single"] > rows[2]["single"] > 0
    assert [row["precision"] for row in rows[2:]] == ["torch fp32", "torch fp32", "openSMILE"]
    assert rows[3]["ua"] is None
    assert rows[4]["size"] is None
    assert rows[4]["single"] > 0


def test_ecapa_has_the_size_that_its_paper_prints() -> None:
    """14.7 million parameters with 1024 channels (Desplanques et al., table 1)."""
    torch.manual_seed(0)
    network = ECAPA().eval()
    assert sum(item.numel() for item in network.parameters()) / 1e6 == pytest.approx(14.7, abs=0.05)
    clips = torch.randn(2, 16_000)
    with torch.inference_mode():
        together, alone = network(clips), network(clips[:1])
    assert together.shape == (2, 192)
    torch.testing.assert_close(together[:1], alone, rtol=1e-3, atol=1e-4)


def test_a_system_without_weights_has_no_points_for_a_megabyte() -> None:
    item = Speed("eGeMAPS", "openSMILE", None, 50.0, ua=49.5)
    assert (item.points_for_size, item.points_for_time) == (None, pytest.approx(2.475))


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
