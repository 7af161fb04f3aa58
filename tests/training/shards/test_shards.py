"""A corpus in shards trains what it trains from memory, holds a bounded part of it, and survives interruptions."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from emofocus.audio.fingerprint import AudioFingerprint
from emofocus.config import EmbeddingSettings, NetworkSettings, Recipe, SegmentSettings, load_model_config
from emofocus.corpora import Corpus
from emofocus.corpora.corpus import Utterance
from emofocus.data.datasets import ALONE, Rank, SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.errors import ConfigError, CorpusError, SplitError
from emofocus.models import build
from emofocus.splits.folds import Fold, Folds
from emofocus.splits.protocols import make_folds
from emofocus.training.experiment import Experiment
from emofocus.training.loop import fit, mean_logits
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.training.shards.format import Cut
from emofocus.training.shards.reader import LabeledCut, Shards, shared, shuffled
from emofocus.training.shards.training import train as train_from_shards
from emofocus.training.shards.writer import write_shards
from emofocus.utils.storage import Location, parse_location, write_file

CLASSES = ("angry", "happy", "sad")
RECIPE = Recipe(
    epochs=2,
    batch_size=16,
    speeds=(0.9, 1.1),
    segment=SegmentSettings(frames=20, hop=10),
    network=NetworkSettings(dropout=0.0),
)


class MadeSpeech:
    """Noise of 40 features whose class is heard in one of them; its first feature names utterance, speed and frame."""

    embedding: EmbeddingSettings | None = None

    def __init__(self, corpus: Corpus) -> None:
        self.corpus, self.looked_at = corpus, 0

    def speech(self, recipe: Recipe, passing: bool = False) -> list[Sequence[Speech]]:
        return [_Track(self, speed) for speed in (1.0, *recipe.speeds)]

    def content(self) -> str:
        return "made"

    def fingerprints(self) -> list[AudioFingerprint]:
        def prints(index: int) -> np.ndarray:
            return np.random.default_rng(index).integers(1 << 32, size=40, dtype=np.uint32)

        return [AudioFingerprint(f"{index:032x}", prints(index)) for index in range(len(self.corpus))]


class _Track(Sequence[Speech]):
    def __init__(self, source: MadeSpeech, speed: float) -> None:
        self._source, self._speed = source, speed

    def __len__(self) -> int:
        return len(self._source.corpus)

    def __getitem__(self, index: int) -> Speech:  # type: ignore[override]
        self._source.looked_at += 1
        generator = np.random.default_rng(index)
        frames = generator.normal(size=(round((15 + 7 * (index % 9)) / self._speed), 40)).astype(np.float32)
        frames[:, 3] += 2 * (index % 3)
        frames[:, 0] = index * 1000 + np.arange(len(frames)) + self._speed / 10
        return Speech(frames, np.where(np.arange(len(frames)) % 40 < 30, 0, -80).astype(np.float32))


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    rows = [Utterance(f"{i % 6}/{i:03d}.wav", CLASSES[i % 3], f"speaker{i // 3 % 6}") for i in range(180)]
    corpus = Corpus.of("made", Path(), CLASSES, rows)
    return Experiment(corpus, "compact-faca", "tiny", RECIPE, make_folds(corpus, "speaker", 0), 0)


def write(experiment: Experiment, folder: Path | str, **options) -> Shards:
    options = {"size": 24, "listen": False} | options
    write_shards(experiment, 0, MadeSpeech(experiment.corpus), parse_location(str(folder)), **options)
    return Shards(str(folder))


@pytest.fixture(scope="module")
def shards(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return write(experiment, tmp_path_factory.mktemp("shards"))


def in_memory(experiment: Experiment, part: str) -> SegmentDataset:
    heard, *altered = MadeSpeech(experiment.corpus).speech(RECIPE)
    positions = experiment.folds[0].parts()[part]
    return SegmentDataset(heard, experiment.corpus.labels(), RECIPE.segment, positions, altered)


def names_of(shards: Shards, epoch: int, rank: Rank = ALONE, size: int = 16, buffer: int = 50_000) -> list[list[float]]:
    """What names the first frame of each segment of each step, utterance and speed included."""
    passing = shards.training(RECIPE, buffer).epoch(size, np.random.default_rng([0, epoch]), rank)
    steps = [[round(float(name), 2) for name in step.batch.features[:, 0, 0]] for step in passing.steps]
    assert len(steps) == passing.count
    return steps


def all_names(shards: Shards, epoch: int) -> Counter:
    return Counter(name for step in names_of(shards, epoch, size=1) for name in step)


def test_an_epoch_has_each_segment_once_at_one_speed(experiment: Experiment, shards: Shards) -> None:
    found = all_names(shards, epoch=1)
    assert set(found.values()) == {1}
    of_utterance: dict[int, set[int]] = {}
    for name in found:
        of_utterance.setdefault(int(name) // 1000, set()).add(round(name % 1 * 100))
    assert sorted(of_utterance) == sorted(experiment.folds[0].train)
    assert all(len(speeds) == 1 for speeds in of_utterance.values())
    assert {speed for speeds in of_utterance.values() for speed in speeds} == {9, 10, 11}
    data = in_memory(experiment, "train")
    for speed, track in zip((10, 9, 11), range(3), strict=True):
        data._use(np.full(len(data.labels), track))
        expected = {int(data.chosen[u]) * 1000 + start for u, start in data.segments}
        assert {int(name) for name in found if round(name % 1 * 100) == speed} <= expected


def test_each_epoch_has_its_own_order_and_the_same_each_time(shards: Shards) -> None:
    assert names_of(shards, 1) == names_of(shards, 1)
    assert names_of(shards, 1) != names_of(shards, 2)


def test_processes_share_an_epoch_without_a_segment_in_two_of_them(shards: Shards) -> None:
    whole = all_names(shards, epoch=3)
    for of in (2, 3):
        shares = [names_of(shards, 3, Rank(number, of), size=8) for number in range(of)]
        assert len({len(steps) for steps in shares}) == 1, "all take as many steps"
        assert {sum(len(part) for part in step) for step in zip(*shares, strict=True)} == {8}
        found = Counter(name for steps in shares for step in steps for name in step)
        assert set(found.values()) == {1}
        assert set(found) <= set(whole)
        assert len(found) > 0.7 * len(whole)


def test_shares_are_in_one_piece_as_equal_as_can_be_and_cover_all() -> None:
    sizes = np.random.default_rng(0).integers(1, 100, size=500)
    shares = [shared(sizes, Rank(number, 7)) for number in range(7)]
    assert [share.stop for share in shares[:-1]] == [share.start for share in shares[1:]]
    assert (shares[0].start, shares[-1].stop) == (0, 500)
    totals = [sizes[share].sum() for share in shares]
    assert max(totals) - min(totals) <= 2 * sizes.max()


def test_the_buffer_holds_no_more_than_its_limit_and_mixes_what_it_holds() -> None:
    read = 0

    def groups() -> Iterator[list[LabeledCut]]:
        nonlocal read
        for number in range(400):
            read += 1
            frames = np.full((25, 4), number, np.float32)
            yield [LabeledCut(Cut(frames, np.array([0, 5, 10], np.int32)), number)]

    limit = 50 * 25 * 4 * 4  # 50 utterances
    left: Counter = Counter()
    order = []
    for segment, label in shuffled(groups(), 10, limit, np.random.default_rng(0)):
        assert segment.shape == (10, 4)
        left[label] += 1
        order.append(label)
        held = read - sum(count == 3 for count in left.values())
        assert held <= 51
    assert left == Counter(dict.fromkeys(range(400), 3))
    distance = np.abs(np.array(order) - np.arange(len(order)) / 3)
    assert np.median(distance) > 10, "segments of one utterance lie apart"


def test_statistics_are_those_of_the_training_part_alone(experiment: Experiment, shards: Shards) -> None:
    for found, expected in zip(
        shards.training(RECIPE).statistics(), in_memory(experiment, "train").statistics(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_validation_scores_are_those_from_memory_whoever_computes_them(experiment: Experiment, shards: Shards) -> None:
    torch.manual_seed(0)
    network = build(experiment.config())
    network.normalize.set(*shards.training(RECIPE).statistics())
    valid, data = shards.validation(), in_memory(experiment, "valid")
    found, expected = mean_logits(network, valid), mean_logits(network, data)
    order = np.lexsort([found[:, 1], found[:, 0], valid.labels])
    other = np.lexsort([expected[:, 1], expected[:, 0], data.labels])
    np.testing.assert_array_equal(valid.labels[order], data.labels[other])
    np.testing.assert_allclose(found[order], expected[other], atol=1e-5)
    shares = [list(valid.batches(7, rank=Rank(number, 3))) for number in range(3)]
    owners = [owner for share in shares for batch in share for owner in batch.utterances.tolist()]
    assert Counter(owners) == Counter(owner for batch in valid.batches(50) for owner in batch.utterances.tolist())


def test_half_precision_halves_the_size_and_costs_a_thousandth(
    experiment: Experiment, shards: Shards, tmp_path: Path
) -> None:
    half = write(experiment, tmp_path, half=True)
    size, whole = (sum(f.stat().st_size for f in Path(s.location.path).glob("t*.parquet")) for s in (half, shards))
    assert size < 0.65 * whole  # short utterances: a scale for each costs a tenth
    groups = shards.groups("train", (1.0,))
    read = [shards_.read("train", groups, np.ones(len(groups.shard))) for shards_ in (half, shards)]
    for one, two in zip(*([heard for group in part for heard in group] for part in read), strict=True):
        assert one.label == two.label
        error = np.abs(one.cut.frames - two.cut.frames)[:, 1:] / two.cut.frames[:, 1:].std(axis=0)
        assert error.max() < 2e-3


def test_writing_goes_on_where_it_was_interrupted_to_the_same_bytes(
    experiment: Experiment, shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Location] = []

    def interrupted(location: Location, content) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        counted(location, content)

    def counted(location: Location, content) -> None:
        written.append(location)
        write_file(location, content)

    monkeypatch.setattr("emofocus.training.shards.writer.write_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(experiment, tmp_path)
    with pytest.raises(CorpusError, match="no shards, or not all of them yet"):
        Shards(str(tmp_path))
    monkeypatch.setattr("emofocus.training.shards.writer.write_file", counted)
    write(experiment, tmp_path)
    assert len(written) == len(set(written)), "none is written twice"
    for file in Path(shards.location.path).iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_other_shards_are_not_mixed_with_these(experiment: Experiment, tmp_path: Path) -> None:
    write(experiment, tmp_path)
    with pytest.raises(ConfigError, match=r"holds another run \(half is False, not True\); name another --out"):
        write(experiment, tmp_path, half=True)
    with pytest.raises(ConfigError, match=r"holds another run \(utterances_of_a_shard is \d+, not 100\)"):
        write(experiment, tmp_path, size=100)


def test_a_leaking_split_is_not_written(experiment: Experiment, tmp_path: Path) -> None:
    everyone = np.arange(180)
    folds = Folds("ours", "", False, 0, (Fold.of(everyone[:100], everyone[100:150], everyone[150:]),))
    leaking = Experiment(experiment.corpus, "compact-faca", "tiny", RECIPE, folds, 0)
    with pytest.raises(SplitError, match=r"the ours split of made fails its audit: speaker \(6\)"):
        write(leaking, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_audit_listens_unless_told_not_to(experiment: Experiment, tmp_path: Path) -> None:
    heard = write(experiment, tmp_path / "heard", listen=True).index["not_looked_at"]
    deaf = write(experiment, tmp_path / "deaf").index["not_looked_at"]
    assert set(deaf) - set(heard) == {"audio", "altered"}


def test_what_does_not_fit_is_refused_by_name(shards: Shards, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lacks speed 0.5 of the recipe \(valid: 1.0, 0.9, 1.1\)"):
        shards.training(msgspec.structs.replace(RECIPE, speeds=(0.5,)))
    with pytest.raises(ConfigError, match="holds other segment than the recipe asks for"):
        shards.training(Recipe())
    with pytest.raises(CorpusError, match=r"no shards, or not all of them yet: index\.json is missing"):
        Shards(str(tmp_path))
    with pytest.raises(CorpusError, match="nowhere://x: no place for shards"):
        Shards("nowhere://x")
    with pytest.raises(ConfigError, match="--corpus was settled when the shards were written"):
        train_from_shards(
            shards.location.path, "1MB", ExperimentOptions(corpus=("x",)), FabricOptions(devices=1), tmp_path
        )


def test_a_damaged_shard_is_named(experiment: Experiment, tmp_path: Path) -> None:
    found = write(experiment, tmp_path)
    (tmp_path / "train-00001.parquet").write_bytes(b"damaged")
    with pytest.raises(CorpusError, match=r"train-00001\.parquet"):
        names_of(found, 1)


def test_an_object_store_holds_the_same_shards(
    experiment: Experiment, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        address, port = server.get_host_and_port()
        system = fs.S3FileSystem(
            endpoint_override=f"http://{address}:{port}", region="us-east-1", allow_bucket_creation=True
        )
        system.create_dir("bucket")
        uri = f"s3://bucket/made?endpoint_override=http%3A%2F%2F{address}%3A{port}&region=us-east-1"
        found = write(experiment, uri)
        assert found.index == shards.index
        assert names_of(found, 1) == names_of(shards, 1)
        with pytest.raises(ConfigError, match=r"^s3://nowhere/made: cannot be read \(there is no such bucket\)$"):
            Shards(uri.replace("s3://bucket", "s3://testing:testing@nowhere"))
        with pytest.raises(ConfigError, match=r"^s3://nowhere/made/groups.parquet: cannot be written \(there is no"):
            write_file(parse_location(uri.replace("bucket", "nowhere")).child("groups.parquet"), b"")
    finally:
        server.stop()


def test_training_from_shards_goes_on_to_the_same_bits(experiment: Experiment, shards: Shards, tmp_path: Path) -> None:
    def trained(folder: Path, epochs: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        network, recipe = (
            build(experiment.config()),
            msgspec.structs.replace(RECIPE, epochs=epochs, mixup=0.3, gain_db=3),
        )
        fit(network, shards.training(recipe, 50_000), shards.validation(), recipe, 0, folder)
        return network.state_dict()

    whole = trained(tmp_path / "whole", 2)
    trained(tmp_path / "broken", 1)
    for name, value in trained(tmp_path / "broken", 2).items():
        assert torch.equal(value, whole[name])


@pytest.mark.slow
def test_two_processes_of_torchrun_make_one_model_out_of_shards(
    small_shards: tuple[Path, Path], tmp_path: Path
) -> None:
    shards, recipe = small_shards
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "emofocus", "train", "--shards", shards, "--recipe", recipe, "--model", "compact-faca"]
    command += ["--out", tmp_path / "model", "--threads", "1"]
    done = subprocess.run(
        list(map(str, command)), env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 2/2, loss") == 1, "the first process speaks, alone"
    assert {file.name for file in (tmp_path / "model").iterdir()} >= {"model.onnx", "config.json", "model.safetensors"}
    told = load_model_config(tmp_path / "model" / "config.json").training
    assert told["digest"] == json.loads((shards / "index.json").read_text())["protocol"]["digest"]
    assert not [name for name in told if name.startswith("test_") or name == "wa"], "nothing is tested"
    assert "Its test part was never scored" in (tmp_path / "model" / "README.md").read_text()
