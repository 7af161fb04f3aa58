"""Training learns, resumes to the same bits, and selects on validation alone."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from emofocus.config import ModelConfig, NetworkSettings, Recipe, SegmentSettings
from emofocus.corpora import Corpus, read_corpus
from emofocus.data.cache import Cache
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import CachedSpeech
from emofocus.models import MODELS, SpeechNetwork, build
from emofocus.models.checkpoint import load_tensors, save_tensors
from emofocus.training.loop import Epoch, Fitted, best_of, fit, learning_rate, score
from helpers.speech import LABELS, speech_of

RECIPE = Recipe(epochs=4, batch_size=8, learning_rate=1e-3, time_reversal=0.5, label_smoothing=0.1, schedule="cosine")


def train_into(folder: Path, epochs: int = 4) -> None:
    """What the interrupted process runs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build(ModelConfig.of("mhsa-faca", LABELS, network=NetworkSettings(dropout=0.2)))
    recipe = Recipe(**{name: getattr(RECIPE, name) for name in RECIPE.__struct_fields__} | {"epochs": epochs})
    fitted = fit(network, speech_of(8, seed=1), speech_of(4, seed=2), recipe, seed=5, folder=folder)
    history = [[item.epoch, item.loss, item.valid_wa, item.valid_ua] for item in fitted.history]
    (folder / "history.json").write_text(json.dumps([fitted.best_epoch, history]))


def start(folder: Path) -> subprocess.Popen[bytes]:
    code = f"from pathlib import Path; from test_loop import train_into; train_into(Path({str(folder)!r}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=environment, stderr=subprocess.PIPE)


def wait_for_epoch(process: subprocess.Popen[bytes], number: int) -> None:
    """Read progress until the epoch is done, or the process ends."""
    assert process.stderr is not None
    for line in process.stderr:
        if f"epoch {number}/4, loss".encode() in line:
            return


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start(whole)
    process.communicate()
    assert process.returncode == 0
    moments = random.Random(5)
    for epoch in (1, 2, 3):  # each time somewhere in the epoch after, or in the writing of its checkpoint
        process = start(broken)
        wait_for_epoch(process, epoch)
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(broken)
    process.communicate()
    assert process.returncode == 0
    assert (whole / "history.json").read_text() == (broken / "history.json").read_text()
    for name in ("model.safetensors", "last.safetensors"):
        expected, found = load_tensors(whole / name)[0], load_tensors(broken / name)[0]
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    train_into(tmp_path, epochs=2)
    before = (tmp_path / "last.safetensors").stat().st_mtime_ns
    train_into(tmp_path, epochs=2)
    assert (tmp_path / "last.safetensors").stat().st_mtime_ns == before


def test_the_network_ends_with_the_weights_of_the_best_validation_epoch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build(ModelConfig.of("bmhsa", LABELS))
    seen: list[Epoch] = []
    fitted = fit(network, speech_of(8, 1), speech_of(4, 2), RECIPE, seed=0, folder=tmp_path, after_epoch=seen.append)
    assert list(fitted.history) == seen
    assert fitted.best_epoch == best_of(seen, Recipe()).epoch
    saved, _ = load_tensors(tmp_path / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())


def test_the_time_of_epochs_before_an_interruption_counts(tmp_path: Path) -> None:
    def train(epochs: int) -> Fitted:
        recipe = Recipe(epochs=epochs, batch_size=8)
        network = build(ModelConfig.of("bmhsa", LABELS))
        return fit(network, speech_of(8, seed=1), speech_of(4, seed=2), recipe, seed=0, folder=tmp_path)

    before, after = train(2), train(3)
    assert [item.seconds for item in after.history[:2]] == [item.seconds for item in before.history]
    assert before.seconds is not None
    assert after.seconds is not None
    assert after.seconds > before.seconds > 0
    # A checkpoint of a version that timed nothing.
    path = tmp_path / "last.safetensors"
    tensors, metadata = load_tensors(path)
    history = [
        {key: value for key, value in item.items() if key != "seconds"} for item in json.loads(metadata["history"])
    ]
    save_tensors(path, tensors, {"history": json.dumps(history)})
    assert train(4).seconds is None


def test_of_equally_good_epochs_the_earliest_is_selected() -> None:
    history = [Epoch(1, 1.0, 0.5, 0.5), Epoch(2, 0.9, 0.5, 0.7), Epoch(3, 0.8, 0.9, 0.7)]
    assert best_of(history, Recipe()).epoch == 2


def test_feature_statistics_come_from_the_training_part_alone(tmp_path: Path) -> None:
    train, valid = speech_of(8, 1), speech_of(4, 2)
    for item in valid.speech:
        item.frames[:] += 1e3
    network = build(ModelConfig.of("bmhsa", LABELS))
    fit(network, train, valid, Recipe(epochs=1, batch_size=8), seed=0, folder=tmp_path)
    mean = np.concatenate([train.speech[u].frames[s : s + 50] for u, s in train.segments]).mean(axis=0)
    np.testing.assert_allclose(network.normalize.mean, mean, atol=1e-5)


def test_training_ends_when_validation_has_not_improved_for_the_recipes_patience(tmp_path: Path) -> None:
    recipe = Recipe(epochs=60, batch_size=8, patience=3)

    def trained() -> Fitted:
        torch.manual_seed(0)
        network = build(ModelConfig.of("bmhsa", LABELS))
        return fit(network, speech_of(8, seed=1), speech_of(4, seed=2), recipe, seed=0, folder=tmp_path)

    first = trained()
    assert len(first.history) == first.best_epoch + recipe.patience < recipe.epochs
    assert trained() == first, "started again, it stays finished"


@pytest.fixture(scope="module")
def real_speech(ravdess: Path, tmp_path_factory: pytest.TempPathFactory) -> CachedSpeech:
    """32 utterances of other actors, with all eight emotions."""
    corpus = read_corpus("ravdess", ravdess)
    part = Corpus(corpus.name, corpus.root, corpus.classes, corpus.table[list(range(0, 32 * 43, 43))], "")
    return CachedSpeech(part, Cache(tmp_path_factory.mktemp("cache")))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_overfits_32_real_utterances(name: str, real_speech: CachedSpeech, tmp_path: Path) -> None:
    published = MODELS[name].recipe or Recipe()
    frames = min(published.segment.frames, 128) if name != "qcnn" else published.segment.frames
    recipe = Recipe(
        epochs=150,
        batch_size=8,
        learning_rate=published.learning_rate,
        features=published.features,
        segment=SegmentSettings(frames=frames, hop=frames // 2),
        network=NetworkSettings(dropout=0.0),
    )
    corpus = real_speech.corpus
    data = SegmentDataset(real_speech.speech(recipe)[0], corpus.labels(), recipe.segment)
    middle = [np.flatnonzero(data.segments[:, 0] == utterance) for utterance in range(32)]
    data.segments = data.segments[[each[len(each) // 2] for each in middle]]
    torch.manual_seed(0)
    network = build(recipe.config(name, corpus.classes))

    class Done(Exception):  # noqa: N818
        pass

    def stop_when_perfect(epoch: Epoch) -> None:
        if epoch.valid_wa == 1.0:
            raise Done

    with contextlib.suppress(Done):
        fit(network, data, data, recipe, seed=0, folder=tmp_path / "run", after_epoch=stop_when_perfect)
    network.load_state_dict(load_tensors(tmp_path / "run" / "model.safetensors")[0])
    assert (score(network, data).argmax(axis=1) == data.labels).all()


def test_averaged_weights_are_validated_kept_and_resumed(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=8, learning_rate=1e-3, weight_average=0.9)

    def trained(folder: Path, epochs: int) -> SpeechNetwork:
        torch.manual_seed(0)
        network = build(ModelConfig.of("bmhsa", LABELS))
        chosen = Recipe(**{name: getattr(recipe, name) for name in recipe.__struct_fields__} | {"epochs": epochs})
        fit(network, speech_of(8, 1), speech_of(4, 2), chosen, seed=0, folder=folder)
        return network

    whole = trained(tmp_path / "whole", 2)
    trained(tmp_path / "broken", 1)
    resumed = trained(tmp_path / "broken", 2)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    saved = load_tensors(tmp_path / "whole" / "last.safetensors")[0]
    moved = [name for name in whole.state_dict() if f"network.{name}" in saved and saved[f"network.{name}"].ndim > 1]
    assert any(not torch.equal(saved[f"network.{name}"], saved[f"average.module.{name}"]) for name in moved)


def test_averaged_weights_let_go_of_the_untrained_ones_within_the_first_steps(tmp_path: Path) -> None:
    """A decay of 0.999 from the start on would keep nine tenths of them for a hundred steps."""
    recipe = Recipe(epochs=10, batch_size=8, learning_rate=1e-3, weight_average=0.999)
    torch.manual_seed(0)
    network = build(ModelConfig.of("bmhsa", LABELS))
    name = "classifier.1.weight"
    untrained = network.state_dict()[name].clone()
    fit(network, speech_of(8, 1), speech_of(4, 2), recipe, seed=0, folder=tmp_path)
    saved = load_tensors(tmp_path / "last.safetensors")[0]
    average, last = saved[f"average.module.{name}"], saved[f"network.{name}"]
    assert (average - last).norm() < (average - untrained).norm()


def test_learning_rate_warms_up_and_falls() -> None:
    recipe = Recipe(learning_rate=1.0, schedule="cosine", warmup=0.1)
    rates = [learning_rate(recipe, done / 100) for done in range(100)]
    assert rates[0] < 0.01
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.01
    assert {learning_rate(Recipe(learning_rate=0.1), done / 10) for done in range(10)} == {0.1}
