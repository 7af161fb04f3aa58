"""Training on a Ray cluster: the same loop, in workers that may die."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emofocus.config import load_model_config
from emofocus.models.checkpoint import load_tensors
from emofocus.training.options import ExperimentOptions

pytestmark = pytest.mark.xdist_group("ray")

PATIENT = {"OMP_NUM_THREADS": "1", "RAY_raylet_start_wait_time_s": "300", "RAY_USAGE_STATS_ENABLED": "0"}
PATIENT |= {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300"}  # of a busy machine


def start(shards: Path, recipe: Path, out: Path, address: str = "local", epochs: int = 2) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "emofocus", "train", "--shards", shards, "--recipe", recipe]
    command += ["--model", "compact-faca", "--epochs", epochs, "--ray", address, "--devices", 2, "--threads", 1]
    command += ["--out", out]
    return subprocess.Popen(
        list(map(str, command)), env=os.environ | PATIENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def history(folder: Path) -> list[list[float]]:
    """Loss and validation UA of each epoch."""
    items = json.loads(load_tensors(folder / "training" / "last.safetensors")[1]["history"])
    return [[item["loss"], item["valid_ua"]] for item in items]


@pytest.mark.slow
def test_two_workers_one_of_which_is_killed_bring_the_model_directory_home(
    small_shards: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    shards, recipe = small_shards
    process = start(shards, recipe, tmp_path / "model", epochs=8)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "epoch 3/8, loss" in line:
            break
    worker = int(
        next(line for line in reversed(said) if "pid=" in line).partition("pid=")[2].split(",")[0].split(")")[0]
    )
    os.kill(worker, signal.SIGKILL)
    rest, _ = process.communicate(timeout=170)
    assert process.returncode == 0, "".join(said) + rest
    found = history(tmp_path / "model")
    assert len(found) == 8
    assert "epoch 1/8, loss" not in rest, "it did not begin anew"
    assert (tmp_path / "model" / "model.onnx").exists()
    told = load_model_config(tmp_path / "model" / "config.json").training
    assert told["digest"] == json.loads((shards / "index.json").read_text())["protocol"]["digest"]


def test_workers_are_told_whole_paths_and_a_corpus_that_lies_in_a_folder_of_its_name_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emofocus.cluster.connection import absolute_if_path
    from emofocus.cluster.training import with_absolute_paths

    monkeypatch.chdir(tmp_path)
    for name in ("ravdess", "emofocus", "shards"):
        (tmp_path / name).mkdir()
    for name in ("list.csv", "tiny.yaml"):
        (tmp_path / name).touch()
    named = ExperimentOptions(corpus=("ravdess",), root=("ravdess",), recipe="emofocus", cache=Path("new"))
    whole = ExperimentOptions(
        corpus=("ravdess",), root=(str(tmp_path / "ravdess"),), recipe="emofocus", cache=tmp_path / "new"
    )
    assert with_absolute_paths(named) == whole
    files = ExperimentOptions(corpus=("list.csv",), recipe="tiny.yaml", seed=3)
    whole = ExperimentOptions(corpus=(str(tmp_path / "list.csv"),), recipe=str(tmp_path / "tiny.yaml"), seed=3)
    assert with_absolute_paths(files) == whole
    assert absolute_if_path("shards") == str(tmp_path / "shards")
    assert absolute_if_path("s3://bucket/shards") == "s3://bucket/shards"


@pytest.mark.slow
def test_an_address_without_a_cluster_is_named(small_shards: tuple[Path, Path], tmp_path: Path) -> None:
    process = start(*small_shards, tmp_path / "model", address="127.0.0.1:1")
    began = time.monotonic()
    said, _ = process.communicate(timeout=170)
    assert process.returncode == 1
    assert "emofocus: no Ray answers at 127.0.0.1:1" in said.splitlines()[-1]
    assert time.monotonic() - began < 170
