"""Training that starts from a trained model: what it keeps, what it refuses, and what the card says of it."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from emofocus.cli.main import app
from emofocus.config import ModelConfig, Recipe, load_model_config, load_recipe
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import Speech
from emofocus.errors import EmofocusError, ModelError
from emofocus.export.model_card import model_card
from emofocus.models import MODELS, build
from emofocus.models.checkpoint import load_network
from emofocus.recognition.recognizer import SHIPPED, Recognizer
from emofocus.training.fine_tuning import StartingModel, joined_licenses, rows_by_class
from emofocus.training.loop import fit
from helpers.trees import plant

Train = Callable[..., Result]
Rows = list[tuple[str, str, str]]
"""Rows of a manifest: file, emotion, speaker."""


def rows_of(emotions: Iterable[str] = ("happy", "sad"), speakers: Iterable[str] = "abc", each: int = 2) -> Rows:
    return [
        (f"{speaker}-{emotion}-{take}.wav", emotion, speaker)
        for speaker in speakers
        for emotion in emotions
        for take in range(each)
    ]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Run `emofocus train --init shipped` on a manifest with the given rows and further options."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("epochs: 1\nbatch_size: 8\nkeep: last\n")

    def run(rows: Rows, *options: str, init: bool = True) -> Result:
        root = plant(tmp_path / "speech", {file: emotion for file, emotion, _ in rows}, audio=True, seconds=0.5)
        with (root / "speech.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([("file", "emotion", "speaker"), *rows])
        start = ["--init", "shipped"] if init else []
        arguments = ["train", *start, "--corpus", root / "speech.csv", "--recipe", recipe, "--threads", 1, *options]
        arguments += ["--out", tmp_path / "model", "--cache", tmp_path / "cache"]
        return CliRunner().invoke(app, list(map(str, arguments)))

    return run


def shipped(freeze: bool = False) -> StartingModel:
    return StartingModel.load("shipped", freeze)


def config_with(*labels: str) -> ModelConfig:
    return shipped().recipe(Recipe()).config("compact-faca", labels)


# The network


def test_all_layers_but_new_classes_begin_with_the_models_weights() -> None:
    trained, own = load_network(SHIPPED)
    torch.manual_seed(0)
    network = shipped().network(config_with("joy", "bored", "sad"))
    before, after = trained.state_dict(), network.state_dict()
    last = rows_by_class(network)
    assert all(torch.equal(before[name], after[name]) for name in after if name not in last)
    for name in last:
        assert torch.equal(after[name][0], before[name][own.label2id["happy"]])
        assert torch.equal(after[name][2], before[name][own.label2id["sad"]])
        assert not (before[name] == after[name][1]).flatten(1 if after[name].dim() > 1 else 0).all(dim=-1).any()


@pytest.mark.parametrize("name", MODELS)
def test_the_last_layer_of_every_network_has_a_row_for_each_class(name: str) -> None:
    recipe = MODELS[name].recipe or load_recipe("emofocus")[1]
    if name.startswith("encoder"):
        pytest.skip("needs a pretrained encoder; its classifier is that of compact")
    with torch.device("meta"):
        network = build(recipe.config(name, ("a", "b", "c")))
    assert {network.state_dict()[tensor].shape[0] for tensor in rows_by_class(network)} == {3}


def fitted(start: StartingModel, folder: Path) -> tuple[nn.Module, nn.Module]:
    """The network before training, and after two steps on noise."""
    recipe = start.recipe(Recipe(epochs=2, batch_size=8))
    before, network = (start.network(start.config) for _ in range(2))
    noise = np.random.default_rng(0).normal(size=(8, 70, 64 + 56)).astype(np.float32)
    speech = [Speech(features, np.zeros(len(features), np.float32)) for features in noise]
    part = SegmentDataset(speech, np.arange(8), recipe.segment)
    fit(network, part, None, recipe, 0, folder)
    return before, network


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    first, second = before.state_dict(), after.state_dict()
    return {name for name in first if not torch.equal(first[name], second[name])}


def test_freeze_trains_the_classifier_alone_and_leaves_statistics_of_batches(tmp_path: Path) -> None:
    assert changed(*fitted(shipped(freeze=True), tmp_path)) == {"classifier.1.weight", "classifier.1.bias"}


def test_without_it_all_layers_are_trained_with_the_models_own_statistics(tmp_path: Path) -> None:
    names = changed(*fitted(shipped(), tmp_path))
    assert "spectrum.blocks.0.convolution.weight" in names
    assert not any("running" in name or name.startswith("normalize") for name in names)


# The command


def test_own_classes_from_a_manifest_and_the_card_says_from_what_it_started(train: Train, tmp_path: Path) -> None:
    done = train(rows_of(("happy", "bored")))
    assert done.exit_code == 0, done.stderr
    config = load_model_config(tmp_path / "model" / "config.json")
    assert set(config.labels) == {"happy", "bored"}
    assert config.license == "CC-BY-NC-SA-4.0"
    assert config.training["init"]["corpus"] == "ravdess"
    assert config.training["protocol"] == "speaker"
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Training started from **shipped** (compact-faca, trained on ravdess" in card
    assert "whose terms stay: CC-BY-NC-SA-4.0. Terms of speech hold too" in card
    assert "Trained on ravdess and speech alone" in card
    assert Recognizer.from_pretrained(tmp_path / "model")(tmp_path / "speech" / "a-happy-0.wav").label in config.labels


def test_the_same_command_goes_on_and_another_start_is_refused(train: Train) -> None:
    assert train(rows_of()).exit_code == 0
    assert "finished before" in train(rows_of()).stderr
    assert "init.freeze is False, not True" in line_of(train(rows_of(), "--freeze"))


def test_a_model_that_was_fine_tuned_can_go_on_learning_and_its_card_names_all(train: Train, tmp_path: Path) -> None:
    assert train(rows_of()).exit_code == 0
    (tmp_path / "model").rename(tmp_path / "first")
    done = train(rows_of(), "--init", str(tmp_path / "first"), "--freeze")
    assert done.exit_code == 0, done.stderr
    assert "was trained on speech" in done.stderr
    config = load_model_config(tmp_path / "model" / "config.json")
    assert "trained on ravdess and speech" in model_card(config, 0)
    assert config.license == "CC-BY-NC-SA-4.0"


def test_the_models_classes_stay_if_asked_for_and_others_are_left_out_by_name(train: Train, tmp_path: Path) -> None:
    done = train(rows_of(("happy", "sad", "bored")), "--classes", "model")
    assert done.exit_code == 0, done.stderr
    assert "LEFT OUT, because shipped has no such class: bored 6" in done.stderr
    assert load_model_config(tmp_path / "model" / "config.json").labels == shipped().config.labels


def test_synonyms_are_learned_as_the_models_classes_and_said_to_be(train: Train, tmp_path: Path) -> None:
    done = train(rows_of(("joy", "anger", "Sad")), "--classes", "model")
    assert done.exit_code == 0, done.stderr
    assert "learned as the model's classes: Sad as sad, anger as angry, joy as happy" in done.stderr
    counts = {"happy": 0, "angry": 0, "sad": 0}
    assert load_model_config(tmp_path / "model" / "config.json").training["test_recalls"].keys() == counts.keys()


def test_few_validation_clips_leave_the_models_calibration(train: Train, tmp_path: Path) -> None:
    assert train(rows_of()).exit_code == 0
    config, before = load_model_config(tmp_path / "model" / "config.json"), shipped().config
    assert (config.temperature, config.threshold) == (before.temperature, before.threshold)
    assert "4 validation utterances are too few to fit others" in (tmp_path / "model" / "README.md").read_text()


def test_unknown_speakers_are_divided_at_random_and_the_command_says_what_that_means(
    train: Train, tmp_path: Path
) -> None:
    done = train(rows_of(speakers=("",), each=5))
    assert done.exit_code == 0, done.stderr
    assert "the speaker of 10 clips is not known" in done.stderr
    assert "hold for voices that the model has heard" in done.stderr
    assert load_model_config(tmp_path / "model" / "config.json").training["protocol"] == "random"
    card = (tmp_path / "model" / "README.md").read_text()
    assert "test utterances (speakers unknown)" in card
    assert "unsure. Of the test utterances" in card


def test_a_folder_with_a_folder_for_each_class_is_learned(tmp_path: Path) -> None:
    files = {f"{emotion}/{number}.wav": emotion for emotion in ("happy", "sad") for number in range(5)}
    plant(tmp_path / "speech", files, audio=True, seconds=0.5)
    (tmp_path / "tiny.yaml").write_text("epochs: 1\nbatch_size: 8\nkeep: last\n")
    arguments = [
        "train",
        "--init",
        "shipped",
        "--freeze",
        "--corpus",
        tmp_path / "speech",
        "--cache",
        tmp_path / "cache",
    ]
    arguments += ["--recipe", tmp_path / "tiny.yaml", "--threads", 1, "--out", tmp_path / "model"]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.stderr
    assert set(load_model_config(tmp_path / "model" / "config.json").labels) == {"happy", "sad"}


def test_a_table_with_columns_of_other_names_is_learned(train: Train, tmp_path: Path) -> None:
    assert train(rows_of()).exit_code == 0
    table = (tmp_path / "speech" / "speech.csv").read_text().replace("file,emotion,speaker", "path,class,who")
    (tmp_path / "speech" / "theirs.csv").write_text(table)
    arguments = ["train", "--init", "shipped", "--freeze", "--corpus", tmp_path / "speech" / "theirs.csv"]
    arguments += ["--columns", "file=path,emotion=class,speaker=who", "--recipe", tmp_path / "tiny.yaml"]
    arguments += ["--threads", 1, "--cache", tmp_path / "cache", "--out", tmp_path / "theirs"]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert load_model_config(tmp_path / "theirs" / "config.json").training["protocol"] == "speaker"


def test_terms_of_several_sources_are_joined_and_unknown_ones_change_nothing() -> None:
    assert joined_licenses("CC-BY-NC-SA-4.0", "unknown") == "CC-BY-NC-SA-4.0"
    assert joined_licenses("CC-BY-NC-SA-4.0", "CC-BY-NC-SA-4.0") == "CC-BY-NC-SA-4.0"
    assert joined_licenses("unknown", "CC-BY-4.0") == "unknown AND CC-BY-4.0"


# Bad input: one line each


def line_of(done: Result) -> str:
    """The error, which is one line."""
    assert isinstance(done.exception, EmofocusError), done.output
    assert "\n" not in str(done.exception)
    return str(done.exception)


@pytest.mark.parametrize("init", [True, False])
def test_one_class_is_refused(train: Train, init: bool) -> None:
    assert "speech has one class, happy: there is nothing to tell it from" in line_of(
        train(rows_of(["happy"]), init=init)
    )


@pytest.mark.parametrize("init", [True, False])
def test_a_class_with_one_clip_is_refused(train: Train, init: bool) -> None:
    rows = [*rows_of(), ("a-angry-0.wav", "angry", "a")]
    assert "the class angry has one clip, which cannot be learned and tested both" in line_of(train(rows, init=init))


@pytest.mark.parametrize("init", [True, False])
def test_one_speaker_is_refused_with_the_way_to_train_on_one_voice(train: Train, init: bool) -> None:
    line = line_of(train(rows_of(speakers="a"), init=init))
    assert "speech has one speaker, a, who cannot be in one part alone: --protocol random" in line


def test_one_voice_is_trained_and_tested_at_random(train: Train) -> None:
    assert train(rows_of(speakers="a", each=5), "--protocol", "random").exit_code == 0


def test_no_labels_in_common_with_the_model_are_refused(train: Train) -> None:
    line = line_of(train(rows_of(("bored", "amused")), "--classes", "model"))
    assert "speech and --init shipped have no class in common: amused, bored (valid: neutral, calm, happy" in line


def test_choices_without_a_model_to_start_from_are_refused(train: Train) -> None:
    assert "--freeze needs a model to start from: --init MODEL" in line_of(train(rows_of(), "--freeze", init=False))
    assert "--classes model needs a model" in line_of(train(rows_of(), "--classes", "model", init=False))
    assert "unknown classes 'mine' (valid: own, model)" in line_of(train(rows_of(), "--classes", "mine"))


@pytest.mark.parametrize("elsewhere", [["--ray", "local"], ["--shards", "shards"]])
def test_training_elsewhere_does_not_start_from_a_model(train: Train, elsewhere: list[str]) -> None:
    line = line_of(train(rows_of(), *elsewhere))
    assert "--init learns from a corpus on this machine: leave out --ray and --shards" in line


def test_another_network_than_the_models_is_refused(train: Train) -> None:
    line = line_of(train(rows_of(), "--model", "mhsa-faca"))
    assert "--model mhsa-faca with --init shipped, which is a compact-faca" in line


def test_a_model_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelError, match="unknown model 'nowhere'"):
        StartingModel.load("nowhere", False)
