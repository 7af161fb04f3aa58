"""Training on a pretrained encoder goes on when it is killed, and ends in the same bits."""

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

from emofocus.models.checkpoint import load_tensors
from helpers.encoders import tiny_whisper

EPOCHS = 6

RECIPE = f"""
epochs: {EPOCHS}
batch_size: 8
learning_rate: 2.0e-3
schedule: cosine
weight_decay: 0.02
label_smoothing: 0.1
speeds: [0.9, 1.1]
mixup: 0.3
gradient_norm: 2
weight_average: 0.98
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Command of a training, without its last argument, --out and --cache."""
    import soundfile

    rows = ["file,emotion,speaker"]
    for speaker in range(6):
        for number in range(16):
            samples = np.random.default_rng([speaker, number]).normal(0, 0.1, 12_000 + 1_000 * number)
            soundfile.write(tmp_path / f"{speaker}-{number}.wav", samples, 16_000)
            rows.append(f"{speaker}-{number}.wav,{('happy', 'sad')[number % 2]},{speaker}")
    (tmp_path / "made.csv").write_text("\n".join(rows) + "\n")
    features = f"features: {{name: whisper, encoder: {tiny_whisper(tmp_path / 'ears')}, layers: 2, hop: 1280}}\n"
    (tmp_path / "tiny.yaml").write_text(RECIPE + features + "segment: {frames: 25, hop: 10}\n")
    options = ["--corpus", str(tmp_path / "made.csv"), "--model", "encoder-faca", "--threads", "1"]
    return ["crossval", *options, "--recipe", str(tmp_path / "tiny.yaml")]


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start the training in a process of its own, with a cache and weights of encoders of its own."""
    places = ["--out", str(folder / "out"), "--cache", str(folder / "cache")]
    environment = os.environ | {"EMOFOCUS_CACHE": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-W", "ignore", "-m", "emofocus", *command, *places]
    return subprocess.Popen(run, env=environment, stderr=subprocess.PIPE, text=True)


def finish(command: list[str], folder: Path) -> None:
    process = start(command, folder)
    _, said = process.communicate()
    assert process.returncode == 0, said


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_killed_in_the_extraction_and_in_an_epoch_it_ends_in_the_same_bits(command: list[str], tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(command, whole)
    process = start(command, broken)
    while not (broken / "cache" / "data.mdb").exists():
        time.sleep(0.001)
    time.sleep(0.2)
    kill(process)
    assert not list((broken / "out").glob("fold-*/last.safetensors"))
    for epoch in (1, 3):
        process = start(command, broken)
        assert process.stderr is not None
        assert any(f"epoch {epoch}/{EPOCHS}, loss" in line for line in process.stderr)
        kill(process)
    finish(command, broken)
    assert (whole / "out" / "predictions.csv").read_bytes() == (broken / "out" / "predictions.csv").read_bytes()
    folds, others = (json.loads((folder / "out" / "summary.json").read_text())["folds"] for folder in (whole, broken))
    assert [fold["test"] for fold in folds] == [fold["test"] for fold in others]
    for path in (whole / "out").glob("fold-*/model.safetensors"):
        expected, found = (load_tensors(root / path.relative_to(whole))[0] for root in (whole, broken))
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
