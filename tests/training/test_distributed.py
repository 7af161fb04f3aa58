"""Several processes train what one would, and go on when they are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import multiprocessing, nn

from emofocus.data.datasets import Rank
from emofocus.errors import ConfigError
from emofocus.models.masking import FrameNorm
from emofocus.training.distributed import by_first, processes, share_statistics
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.training.runs import crossval
from helpers.paths import ROOT
from helpers.trained_together import part

pytestmark = pytest.mark.xdist_group("distributed")

PROGRAM = ROOT / "tests" / "helpers" / "trained_together.py"
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d")
EPOCHS = 10


def start(folder: Path, devices: int | None, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Train in another process, which starts more of them, or under torchrun."""
    folder.mkdir(exist_ok=True)
    told = json.dumps({"devices": devices, "model": "compact-faca", "changes": {"epochs": EPOCHS}})
    command = [sys.executable, "-W", "ignore", *launcher, str(PROGRAM), str(folder), told]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=quiet, text=True, start_new_session=True
    )


def finished(folder: Path, devices: int | None, launcher: tuple[str, ...] = ()) -> dict[int, dict]:
    """What each process left."""
    process = start(folder, devices, launcher)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return {int(path.stem[-1]): json.loads(path.read_text()) for path in folder.glob("process-*.json")}


def killed_after(process: subprocess.Popen[str], epoch: int, ranks: tuple[int, ...]) -> None:
    """Kill some of its processes in the epoch after, and wait until all have ended by themselves."""
    found: dict[int, int] = {}
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("process "):
            words = line.split()
            if int(words[-1]) == epoch:
                found[int(words[1])] = int(words[4])
        if len(found) == 2:
            break
    for rank in ranks:
        os.kill(found[rank], signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{number}").exists() for number in found.values()):
        assert time.monotonic() < deadline, "a process outlived the other one"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict]:
    return finished(tmp_path_factory.mktemp("two"), 2)


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one_with_the_same_global_batch(
    two: dict[int, dict], tmp_path: Path
) -> None:
    """Steps of 13 segments, all alterations, pairs across processes, batch norm, averaged weights."""
    one = finished(tmp_path / "one", 1)[0]
    together = (np.array(two[0]["losses"]) + np.array(two[1]["losses"])) / 2
    assert len(together) == len(one["losses"]) >= 50
    np.testing.assert_allclose(together, one["losses"], atol=1e-3)
    assert np.ptp(together) > 0.05, "it learns"
    assert two[0]["losses"] != two[1]["losses"], "each has its own half"
    np.testing.assert_allclose(two[0]["history"], one["history"], atol=1e-3)
    assert two[0]["history"] == two[1]["history"]
    assert two[0]["weights"] == two[1]["weights"] == pytest.approx(one["weights"], rel=1e-4)


@pytest.mark.slow
def test_killed_in_part_or_as_a_whole_it_goes_on_to_the_same_figures(two: dict[int, dict], tmp_path: Path) -> None:
    killed_after(start(tmp_path / "run", None, TORCHRUN), 2, ranks=(1,))
    killed_after(start(tmp_path / "run", 2), 6, ranks=(0, 1))
    found = finished(tmp_path / "run", None, TORCHRUN)
    assert found[0]["history"] == two[0]["history"]
    assert len(found[0]["losses"]) < len(two[0]["losses"]), "it did not begin anew"
    assert found[0]["weights"] == found[1]["weights"] == two[0]["weights"]


def _norm_in_one_of_two(rank: int, folder: str, x: torch.Tensor, lengths: torch.Tensor) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    norms = nn.ModuleList([FrameNorm(3), nn.BatchNorm1d(3)])
    share_statistics(norms, 2)
    own = slice(rank, None, 2)
    mine = x[own].clone().requires_grad_()
    made = [norms[0](mine, lengths[own]), norms[1](mine)]
    sum((value**3).sum() for value in made).backward()
    state = {name: value.clone() for name, value in norms.state_dict().items()}
    torch.save([[value.detach() for value in made], mine.grad, state], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_batch_norm_uses_the_statistics_of_all_processes_and_of_true_frames_alone(tmp_path: Path) -> None:
    x, lengths = torch.randn(5, 3, 7), torch.tensor([7, 3, 5, 1, 7])
    multiprocessing.start_processes(_norm_in_one_of_two, (str(tmp_path), x, lengths), nprocs=2, start_method="fork")
    norms = nn.ModuleList([FrameNorm(3), nn.BatchNorm1d(3)])
    whole = x.clone().requires_grad_()
    made = [norms[0](whole, lengths), norms[1](whole)]
    sum((value**3).sum() for value in made).backward()
    for rank in (0, 1):
        values, gradient, state = torch.load(tmp_path / f"{rank}.pt")
        for value, expected in zip(values, made, strict=True):
            torch.testing.assert_close(value, expected[rank::2])
        torch.testing.assert_close(gradient, whole.grad[rank::2])
        torch.testing.assert_close(state, dict(norms.state_dict()))


def test_a_step_is_the_same_whoever_shares_it() -> None:
    def steps(rank: Rank) -> list:
        passing = part(12, 1).epoch(5, np.random.default_rng(0), rank)
        return list(passing.steps)

    alone, shares = steps(Rank()), [steps(Rank(number, 3)) for number in range(3)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert all(torch.equal(whole.batch.features, item.batch.features) for item in parts)
        rows = sorted(row for item in parts for row in range(5)[item.learned])
        assert rows == list(range(5))


def test_more_processes_than_segments_of_a_step_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 segments in a step are too few for 3 processes"):
        part(12, 1).epoch(2, np.random.default_rng(0), Rank(0, 3))


def test_devices_agree_with_torchrun_or_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes(None) == (1, 1)
    assert processes(3) == (3, 1)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6"}.items():
        monkeypatch.setenv(name, value)
    assert processes(None) == processes(2) == (2, 3)
    with pytest.raises(ConfigError, match="--devices 3, but torchrun started 2 processes here"):
        processes(3)


def test_folds_side_by_side_take_one_device_each(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--jobs 2 trains folds side by side"):
        crossval(ExperimentOptions(), FabricOptions(devices=2), tmp_path, jobs=2)


def test_an_error_of_the_first_process_is_everyones() -> None:
    def fail() -> None:
        raise ConfigError("full")

    with pytest.raises(ConfigError, match="full"):
        by_first(Fabric(accelerator="cpu", devices=1), fail)
