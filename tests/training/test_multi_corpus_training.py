"""Training on several corpora: absent classes are masked in the loss, and corpora, classes and sexes are balanced."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional as F

from emofocus.cli.main import app
from emofocus.config import Recipe, SegmentSettings
from emofocus.data.datasets import Batch, SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.evaluation.results import ResultError, read_run
from emofocus.models import MODELS, Model
from emofocus.training.augmentation import augment, cross_entropy
from helpers.several import plant_corpora
from helpers.toy import TOY_RECIPE, Toy

LABELLED = torch.tensor([[True, True, True, True], [True, True, False, True], [False, True, True, False]])
TARGETS = torch.tensor([2, 0, 1])


def logits_of(seed: int = 0) -> torch.Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_over_the_classes_that_the_corpus_has(smoothing: float) -> None:
    logits = logits_of()
    expected = []
    for row, target, labelled in zip(logits, TARGETS, LABELLED, strict=True):
        place = int(labelled[:target].sum())
        expected.append(F.cross_entropy(row[labelled][None], torch.tensor([place]), label_smoothing=smoothing))
    torch.testing.assert_close(cross_entropy(logits, TARGETS, smoothing, LABELLED), torch.stack(expected).mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_class_that_the_corpus_lacks_has_no_gradient(smoothing: float) -> None:
    logits = logits_of()
    cross_entropy(logits, TARGETS, smoothing, LABELLED).backward()
    assert (logits.grad[~LABELLED] == 0).all()
    assert (logits.grad[LABELLED] != 0).all()


def test_with_all_classes_the_loss_is_the_usual_one() -> None:
    logits = logits_of()
    usual = F.cross_entropy(logits, TARGETS, label_smoothing=0.1)
    assert torch.equal(cross_entropy(logits, TARGETS, 0.1), usual)
    torch.testing.assert_close(cross_entropy(logits, TARGETS, 0.1, torch.ones_like(LABELLED)), usual)


@pytest.mark.parametrize("weight", [0.2, 1.0])
def test_absent_classes_may_count_in_part_or_be_taught_as_absent(weight: float) -> None:
    logits = logits_of()
    loss = cross_entropy(logits, TARGETS, 0.0, LABELLED, weight)
    weights = torch.where(LABELLED, 1.0, weight)
    chances = weights * logits.exp()
    expected = -(chances[torch.arange(3), TARGETS] / chances.sum(dim=1)).log().mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert (logits.grad[~LABELLED] > 0).all(), "their logits fall"
    if weight == 1.0:
        torch.testing.assert_close(loss, F.cross_entropy(logits, TARGETS))


def test_each_of_a_mixed_pair_keeps_the_classes_of_its_own_corpus() -> None:
    torch.manual_seed(0)
    batch = Batch(torch.randn(3, 5, 2), None, TARGETS, torch.arange(3), LABELLED)
    mixed = augment(batch, Recipe(mixup=0.3))
    logits = logits_of()
    own = cross_entropy(logits, TARGETS, 0.1, LABELLED)
    other = cross_entropy(logits, TARGETS[mixed.partners], 0.1, LABELLED[mixed.partners])
    torch.testing.assert_close(mixed.loss(logits, 0.1), mixed.share * own + (1 - mixed.share) * other)


def unequal() -> tuple[list[Speech], np.ndarray]:
    """Speech of three cells with 100, 10 and 1 utterances; the last one has three segments, all others one."""
    cells = np.repeat([0, 1, 2], [100, 10, 1])
    frames = np.where(cells == 2, 70, 50)
    return [Speech(np.zeros((n, 1), np.float32), np.zeros(n, np.float32)) for n in frames], cells


def owners_of_an_epoch(seed: int, cells: np.ndarray | None) -> np.ndarray:
    speech, _ = unequal()
    part = SegmentDataset(speech, np.zeros(len(speech), int), SegmentSettings(), cells=cells)
    steps = part.epoch(1, np.random.default_rng(seed)).steps
    return np.concatenate([step.batch.utterances.numpy() for step in steps])


def test_an_epoch_takes_all_cells_alike() -> None:
    _, cells = unequal()
    drawn = np.concatenate([owners_of_an_epoch(seed, cells) for seed in range(30)])
    counts = np.bincount(cells[drawn])
    assert counts.sum() == 30 * 113, "as many segments as there are, in each epoch"
    np.testing.assert_allclose(counts / counts.sum(), 1 / 3, atol=0.03)
    first = np.bincount(drawn[cells[drawn] == 0], minlength=100)
    assert first.min() > 0, "all utterances of a cell are drawn"


def test_an_epoch_is_drawn_from_its_seed() -> None:
    _, cells = unequal()
    np.testing.assert_array_equal(owners_of_an_epoch(7, cells), owners_of_an_epoch(7, cells))
    assert (owners_of_an_epoch(7, cells) != owners_of_an_epoch(8, cells)).any()


def test_without_cells_every_segment_is_taken_once() -> None:
    assert set(Counter(owners_of_an_epoch(0, None).tolist()).values()) == {1, 3}


LABELS = {
    "first": ("neutral", "calm", "happy", "sad", "angry"),
    "second": ("neutral", "happy", "sad", "angry", "fear"),
    "third": ("neutral", "happy", "sad", "angry", "fear"),
    "ased": ("neutral", "happy", "sad", "angry", "fear"),
}


@pytest.fixture(autouse=True, scope="module")
def toy() -> None:
    MODELS["toy"] = Model(Toy, TOY_RECIPE)
    yield
    del MODELS["toy"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant_corpora(tmp_path_factory.mktemp("several"), LABELS)


def crossval(root: Path, protocol: str, names: tuple[str, ...], *further: object) -> str:
    out = root.parent / protocol
    arguments = [*("--root", root, "--cache", root.parent / "cache", "--recipe", "paper", "--model", "toy")]
    for name in names:
        arguments += ["--corpus", name]
    arguments += ["--protocol", protocol, "--out", out, "--threads", 1, *further]
    done = CliRunner().invoke(app, ["crossval", *map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def loco(root: Path) -> Path:
    crossval(root, "loco", ("first", "second", "third"), "--epochs", 2)
    return root.parent / "loco"


@pytest.fixture(scope="module")
def unseen(root: Path) -> tuple[Path, str]:
    told = crossval(root, "unseen", ("first", "second", "ased"), "--epochs", 2)
    return root.parent / "unseen", told


def test_loco_tests_each_corpus_once_and_recomputes(loco: Path) -> None:
    run = read_run(loco)
    assert run.summary.corpus == "first+second+third"
    assert {name: entry.classes for name, entry in run.summary.corpora.items()}["first"] == [
        "neutral",
        "happy",
        "sad",
        "angry",
    ]
    with (loco / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["fold"], row["corpus"]) for row in rows} == {("0", "first"), ("1", "second"), ("2", "third")}
    assert {row["gender"] for row in rows} == {"female", "male"}
    assert {row["language"] for row in rows} == {"fi", "se", "th"}


def test_unseen_tells_the_harmonization_and_tests_the_kept_corpus_alone(unseen: tuple[Path, str]) -> None:
    out, told = unseen
    assert "class neutral: labels neutral, calm" in told
    assert "first: 40 utterances, 4 speakers: neutral 16, happy 8, sad 8, angry 8; lacks fearful (masked in" in told
    assert "ased: 40 utterances, 4 speakers: neutral 8, happy 8, sad 8, angry 8, fearful 8; only tested" in told
    run = read_run(out)
    assert {name for name, entry in run.summary.corpora.items() if entry.only_tested} == {"ased"}
    assert {name.split("/")[0] for name in run.predictions.utterances} == {"ased"}
    folds = json.loads((out / "folds.json").read_text())["folds"]
    assert not any(key.startswith("ased/") for key in [*folds[0]["train"], *folds[0]["valid"]])


def test_hashes_of_all_recordings_are_written_and_compared(root: Path, unseen: tuple[Path, str]) -> None:
    out = unseen[0]
    text = (out / "recordings.csv").read_text()
    rows = {row["key"]: row["blake2b"] for row in csv.DictReader(text.splitlines())}
    folds = json.loads((out / "folds.json").read_text())["folds"]
    assert set(rows) == {key for part in folds[0].values() for key in part}
    trained = rows[folds[0]["train"][0]]
    (out / "recordings.csv").write_text(text.replace(rows[folds[0]["test"][0]], trained))
    with pytest.raises(ResultError, match=r"fold 0 trains or validates on .*, which is tested or kept for it"):
        read_run(out)
    (out / "recordings.csv").write_text(text)
    read_run(out)


def test_the_same_command_resumes(root: Path, unseen: tuple[Path, str]) -> None:
    before = (unseen[0] / "predictions.csv").read_bytes()
    assert "epoch" not in crossval(root, "unseen", ("first", "second", "ased"), "--epochs", 2)
    assert (unseen[0] / "predictions.csv").read_bytes() == before


def test_features_in_a_file_keep_the_corpora_apart(root: Path, unseen: tuple[Path, str], tmp_path: Path) -> None:
    arguments = ["--root", root, "--cache", root.parent / "cache", "--recipe", "paper", "--model", "toy"]
    arguments += ["--corpus", "first", "--corpus", "second", "--corpus", "ased", "--out", tmp_path / "f.safetensors"]
    done = CliRunner().invoke(app, ["features", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    arguments = [
        "--features",
        tmp_path / "f.safetensors",
        "--protocol",
        "unseen",
        "--recipe",
        "paper",
        "--model",
        "toy",
    ]
    arguments += ["--epochs", 2, "--out", tmp_path / "out", "--threads", 1, "--cache", tmp_path / "none"]
    done = CliRunner().invoke(app, ["crossval", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (unseen[0] / "predictions.csv").read_bytes()


def test_shards_of_several_corpora_are_refused(root: Path, tmp_path: Path) -> None:
    arguments = ["--root", root, "--corpus", "first", "--corpus", "second", "--protocol", "speaker"]
    arguments += ["--cache", tmp_path / "cache", "--out", tmp_path / "shards", "--model", "toy", "--recipe", "paper"]
    done = CliRunner().invoke(app, ["shards", *map(str, arguments)])
    assert "shards hold one corpus" in str(done.exception)
