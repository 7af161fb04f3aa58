"""Folds and grids of experiments on a real Ray cluster end in the bits of local runs."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emofocus.cli.main import app
from emofocus.errors import ConfigError, EmofocusError
from emofocus.models.checkpoint import load_tensors

pytest.importorskip("ray", reason="Ray, the extra [cluster], is not installed")

from emofocus.cluster.connection import import_ray
from emofocus.cluster.dashboard import FoldStatus, table_of
from emofocus.cluster.fold_task import FoldTask, NodeFeatures, Resources, train_fold
from emofocus.cluster.grid import load_grid, run_grid
from emofocus.training.options import FabricOptions

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning:ray.*"),
    pytest.mark.xdist_group("ray"),
]

RECIPE = "epochs: 1\nbatch_size: 32\n"

LONG = 12
"""Epochs of a training that is killed in the middle."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A node of two cores."""
    import_ray()
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def address(cluster: Any) -> str:
    """Where it answers."""
    return str(cluster.address)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def untimed(path: Path) -> str:
    """A file's text without how long training took, which is never the same twice."""
    return re.sub(r'"seconds": [0-9.]+,', "", path.read_text())


@pytest.fixture
def corpus(small_corpus: Path, tmp_path: Path) -> list[object]:
    """Options that name a small corpus and a short recipe."""
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return ["--corpus", "emodb", "--root", small_corpus, "--recipe", tmp_path / "tiny.yaml", "--cache", tmp_path / "c"]


@pytest.mark.slow
def test_folds_on_a_cluster_end_in_the_same_bits_and_a_grid_goes_on_in_the_same_layout(
    address: str, small_corpus: Path, corpus: list[object], tmp_path: Path
) -> None:
    common = ["--protocol", "speaker", "--model", "compact-ca"]
    local, there = tmp_path / "local", tmp_path / "there"
    assert run("crossval", *corpus, *common, "--threads", 1, "--out", local).exit_code == 0
    assert run("crossval", *corpus, *common, "--ray", address, "--out", there).exit_code == 0
    for name in ("summary.json", "predictions.csv", "folds.json", "audit.json"):
        assert untimed(local / name) == untimed(there / name)
    for weights in local.glob("fold-*/model.safetensors"):
        assert weights.read_bytes() == (there / weights.relative_to(local)).read_bytes()
    assert not list(there.glob(".seen-*"))

    assert run("features", *corpus, "--out", tmp_path / "emodb.safetensors").exit_code == 0
    grid, out = tmp_path / "grid.yaml", tmp_path / "results"
    entries = [
        "corpora: [{features: emodb.safetensors}]",
        "models: [compact-ca]",
        "recipes: [tiny.yaml]",
        "seeds: [0, 1]",
    ]
    grid.write_text("\n".join(entries))
    first, second = (out / "emodb" / "speaker" / "compact-ca-tiny" / f"seed{seed}" for seed in (0, 1))
    summary = json.loads((local / "summary.json").read_text())
    shutil.copytree(local, first)  # of the first run, one fold is not finished
    (first / "summary.json").write_text(json.dumps(summary | {"folds": summary["folds"][1:]}))
    assert run("grid", grid, "--ray", address, "--out", out).exit_code == 0
    for name in ("summary.json", "predictions.csv"):
        assert untimed(first / name) == untimed(local / name)
    other = json.loads((second / "summary.json").read_text())
    assert other["seed"] == 1
    assert [item["fold"] for item in other["folds"]] == [item["fold"] for item in summary["folds"]]


def logged(logs: Path) -> dict[tuple[int, int], list[int]]:
    """Fold and process → epochs that it finished of a training of `LONG`, from what the cluster's workers said."""
    found: dict[tuple[int, int], list[int]] = {}
    for log in logs.glob("worker-*.err"):
        for fold, epoch in re.findall(rf"fold (\d+): epoch (\d+)/{LONG}, loss", log.read_text()):
            found.setdefault((int(fold), int(log.stem.rpartition("-")[2])), []).append(int(epoch))
    return found


def epochs_in(checkpoint: Path) -> int:
    return len(json.loads(load_tensors(checkpoint)[1]["history"]))


def stop(process: int) -> None:
    os.kill(process, signal.SIGSTOP)
    while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def kill_a_fold(logs: Path, out: Path, patience: float = 240) -> tuple[int, int, int]:
    """Kill the process of a fold that is neither at its beginning nor at its end.

    Returns:
        Fold, process, and epochs in the checkpoint that it left.
    """
    until = time.monotonic() + patience
    while time.monotonic() < until:
        for (fold, process), epochs in logged(logs).items():
            if not 2 <= len(epochs) < LONG - 1:
                continue
            stop(process)  # first, so that it cannot reach its end meanwhile
            if (left := epochs_in(out / f"fold-{fold}" / "last.safetensors")) < LONG:
                os.kill(process, signal.SIGKILL)
                return fold, process, left
            os.kill(process, signal.SIGCONT)
        time.sleep(0.02)
    raise TimeoutError("no fold was seen in the middle of its training")


@pytest.mark.slow
def test_a_fold_whose_process_is_killed_goes_on_from_its_last_epoch_to_the_same_bits(
    cluster: Any, corpus: list[object], tmp_path: Path
) -> None:
    common = ["crossval", *corpus, "--protocol", "speaker", "--model", "compact-ca", "--epochs", LONG, "--threads", 1]
    local, there, logs = tmp_path / "local", tmp_path / "there", Path(cluster.head_node.get_logs_dir_path())
    with ThreadPoolExecutor(1) as beside:
        killing = beside.submit(kill_a_fold, logs, there)
        assert run(*common, "--ray", cluster.address, "--out", there).exit_code == 0
        fold, killed, left = killing.result()
    assert run(*common, "--out", local).exit_code == 0
    for name in ("summary.json", "predictions.csv"):
        assert untimed(there / name) == untimed(local / name)
    for weights in local.glob("fold-*/model.safetensors"):
        assert weights.read_bytes() == (there / weights.relative_to(local)).read_bytes()
    attempts = {process: epochs for (number, process), epochs in logged(logs).items() if number == fold}
    assert attempts.pop(killed) in ([*range(1, left + 1)], [*range(1, left)])  # killed before it said so, maybe
    assert list(attempts.values()) == [[*range(left + 1, LONG + 1)]], "it did not begin anew"


@pytest.mark.slow
def test_on_a_node_that_does_not_see_the_folder_the_files_travel_back(small_corpus: Path, tmp_path: Path) -> None:
    from emofocus.cluster.connection import Requester
    from emofocus.config import Recipe
    from emofocus.corpora import read_corpus
    from emofocus.splits.protocols import make_folds
    from emofocus.training.experiment import Experiment

    class Updates:
        def __init__(self) -> None:
            self.changes: list[dict[str, str]] = []
            self.update = self

        def remote(self, _: object, **changes: str) -> None:
            self.changes.append(changes)

    dashboard, read = Updates(), read_corpus("emodb", small_corpus)
    recipe = Recipe(epochs=1, batch_size=32)
    experiment = Experiment(read, "bmhsa", "tiny", recipe, make_folds(read, "random", seed=0), 0)
    device = FabricOptions(devices=1, threads=1)
    nowhere = tmp_path / "nowhere" / "mark"
    features = NodeFeatures(tmp_path / "cache", None)
    task = FoldTask("x", experiment, features, nowhere, device, Requester.current())
    result, rows, files = train_fold(task, dashboard, 0)
    assert result.fold == 0
    assert len(rows) == len(experiment.folds[0].test)
    assert sorted(files) == ["config.json", "model.safetensors"]
    assert "epoch 1, validation UA" in dashboard.changes[-1]["note"]
    assert not nowhere.parent.exists()
    with pytest.raises(ConfigError, match=r"but 9\.9 on elsewhere asks"):
        train_fold(replace(task, requester=Requester("9.9", "elsewhere")), dashboard, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("models: [bmhsa]", "corpora"),
        ("corpora: [{corpus: emodb, root: ROOT}]\nmodels: [bmhsa, resnet]", r"unknown model 'resnet' \(valid: .*bmhsa"),
        (
            "corpora: [{corpus: emodb, root: ROOT}]\nmodels: [bmhsa]\nprotocols: [loso]",
            r"unknown protocol 'loso' \(valid",
        ),
        ("corpora: [{corpus: emodb, root: ROOT}]\nmodels: [bmhsa]\nrecipes: [long]", r"unknown recipe 'long' \(valid"),
        ("corpora: [{corpus: nothing}]\nmodels: [bmhsa]", r"nothing"),
        ("corpora: [{corpus: emodb, root: ROOT}]\nmodels: [bmhsa, bmhsa]", "named twice"),
        ("corpora: [{corpus: emodb, root: ROOT}]\nmodel: [bmhsa]", r"unknown field `model`.*valid: corpora, models"),
        (
            "corpora: [{corpus: emodb, root: ROOT, speakers: 3}]\nmodels: [bmhsa]",
            r"unknown field `speakers` at `\$.corpora` \(valid: corpus, root",
        ),
        ("corpora: [{corpus: emodb, root: ROOT}]\nmodels: [bmhsa]\nseeds: [x]", "Expected `int`"),
        ("models: [", "not YAML"),
    ],
)
def test_a_grid_with_a_bad_entry_is_refused_before_anything_runs(
    small_corpus: Path, tmp_path: Path, text: str, reason: str
) -> None:
    grid, out = tmp_path / "grid.yaml", tmp_path / "out"
    grid.write_text(text.replace("ROOT", str(small_corpus)))
    with pytest.raises(EmofocusError, match=reason):
        run_grid(grid, "nowhere", out, tmp_path / "cache", FabricOptions())
    assert not out.exists()


def test_a_grid_that_is_not_there_and_resources_of_nobody_are_refused(
    address: str, corpus: list[object], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read \(No such file"):
        load_grid(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"unknown accelerator 'tpu' \(valid: cpu, gpu, auto\)"):
        Resources("tpu")
    run_there = ["crossval", *corpus, "--model", "bmhsa", "--out", tmp_path / "out", "--ray", address]
    with pytest.raises(ConfigError, match=r"no node of the cluster has 64 cores for a fold \(valid: 1 to 2\)"):
        run(*run_there, "--threads", 64)
    with pytest.raises(ConfigError, match="accelerator 'gpu' is not there: no node of the cluster has one"):
        run(*run_there, "--accelerator", "gpu")
    with pytest.raises(ConfigError, match="--jobs is for one machine"):
        run(*run_there, "--jobs", 2)


def test_the_table_shows_what_runs_where() -> None:
    running = FoldStatus("running", "node-7", "epoch 3, validation UA 61.0%")
    statuses = {("a", 0): FoldStatus("done", "n"), ("a", 1): running}
    from rich.console import Console

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(table_of(statuses | {("b", 0): FoldStatus()}))
    text = console.export_text()
    assert "node-7" in text
    assert "epoch 3, validation UA 61.0%" in text
    assert "1 waiting, 1 running, 1 done" in text
