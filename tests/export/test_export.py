"""torch and ONNX agree, and model directories are whole or refused."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch

from emofocus import audio
from emofocus.config import FeatureSettings, ModelConfig, Recipe, SegmentSettings, load_model_config, load_recipe
from emofocus.errors import ConfigError, ModelError
from emofocus.export.model_directory import export_model
from emofocus.export.to_onnx import WaveformClassifier, export, segment_counts
from emofocus.features.front_end import FrontEnd
from emofocus.metrics.calibration import probabilities
from emofocus.models import MODELS, build
from emofocus.models.checkpoint import load_network, pack, save_config, save_tensors, unpack
from emofocus.recognition.engine import Engine
from emofocus.recognition.recognizer import Recognizer, model_folder
from emofocus.segments import softmax
from helpers.speeds import slow_but
from helpers.untrained import config_of, saved, untrained

pytestmark = pytest.mark.xdist_group("export")

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def trained(folder: Path, name: str) -> Path:
    """A fold with fresh weights, and the features and segments of the network's publication."""
    torch.manual_seed(0)
    recipe = MODELS[name].recipe or Recipe()
    config = ModelConfig.of(name, LABELS, features=recipe.features, segment=recipe.segment)
    network = build(config)
    save_tensors(folder / "model.safetensors", network.state_dict())
    save_config(folder, config)
    return folder


@pytest.fixture(scope="module", params=slow_but(MODELS))
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    export(trained(folder / "fold", request.param), folder / "model")
    return folder / "model"


def both(directory: Path, waveform: np.ndarray, lengths: list[int]):
    network, config = load_network(directory)
    samples = np.array(lengths, np.int64)
    with torch.inference_mode():
        expected = WaveformClassifier(network, config).eval()(
            torch.from_numpy(waveform), torch.from_numpy(samples), need_maps=True
        )
    return expected, Engine(directory / "model.onnx").run(waveform, samples, need_maps=True), config


@pytest.mark.parametrize("name", ["compact-faca", "mhsa-faca"])
def test_a_pitchgram_exports_and_agrees_on_real_speech(name: str, speech: Path, tmp_path: Path) -> None:
    features = FeatureSettings(name="log-mel", window=1024, hop=512, mels=64, pitch_bins=56)
    config = ModelConfig.of(name, LABELS, features=features, segment=SegmentSettings(frames=64, hop=16))
    torch.manual_seed(0)
    save_tensors(tmp_path / "fold" / "model.safetensors", build(config).state_dict())
    save_config(tmp_path / "fold", config)
    export(tmp_path / "fold", tmp_path / "model")
    waveform = audio.load(speech)[None]
    expected, found, _ = both(tmp_path / "model", waveform, [waveform.shape[1]])
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)


def test_torch_and_onnx_agree_on_a_batch_of_unequal_lengths_maps_included(directory: Path) -> None:
    whole = Engine(directory / "model.onnx").whole
    lengths = [whole, whole + 700, whole + 8_000, whole + 20_000]
    waveform = np.random.default_rng(0).normal(0, 0.1, (4, lengths[-1])).astype(np.float32)
    waveform *= np.arange(lengths[-1]) < np.array(lengths)[:, None]
    expected, found, config = both(directory, waveform, lengths)
    for row, count in enumerate(segment_counts(np.array(lengths), config)):
        np.testing.assert_allclose(found.logits[row, :count], expected.logits[row, :count], atol=1e-4)
        for field, output in (
            ("weights", "attention"),
            ("centre", "centre"),
            ("scope", "scope"),
            ("gates", "gates"),
        ):
            value = getattr(expected.maps, field, None)
            assert (value is None) == (getattr(found, output) is None)
            if value is not None:
                np.testing.assert_allclose(getattr(found, output)[row, :count], value[row, :count], atol=1e-3)


def test_padding_a_batch_of_waveforms_changes_no_utterances_logits(directory: Path) -> None:
    engine = Engine(directory / "model.onnx")
    samples = engine.whole + 3_000
    short = np.random.default_rng(1).normal(0, 0.1, (1, samples)).astype(np.float32)
    alone = engine.run(short, np.array([samples])).logits
    batch = np.zeros((2, samples + 31_000), np.float32)
    batch[0, :samples], batch[1] = short, np.random.default_rng(2).normal(0, 0.1, samples + 31_000)
    together = engine.run(batch, np.array([samples, samples + 31_000])).logits
    np.testing.assert_allclose(together[:1, : alone.shape[1]], alone, atol=1e-5)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.62, 0.99])
def test_what_fills_no_segment_is_scored_as_training_scores_it_padded(directory: Path, share: float) -> None:
    network, config = load_network(directory)
    engine = Engine(directory / "model.onnx")
    waveform = np.random.default_rng(3).normal(0, 0.1, (1, int(share * engine.whole))).astype(np.float32)
    lengths = np.array([waveform.shape[1]])
    found = engine.run(waveform, lengths)
    with torch.inference_mode():
        features, _ = FrontEnd(config.features)(torch.from_numpy(waveform), torch.from_numpy(lengths))
        frames = features.shape[1]
        assert frames < config.segment.frames
        padded = torch.nn.functional.pad(features, (0, 0, 0, config.segment.frames - frames), value=7.0)
        expected = network.eval()(padded, torch.tensor([frames])).logits
    np.testing.assert_allclose(found.logits[0], expected, atol=1e-4)
    if engine.streams:
        np.testing.assert_allclose(engine.classify(engine.encode(waveform, lengths)[0]), expected, atol=1e-4)


def test_rows_that_fill_no_segment_are_refused_with_padding(directory: Path) -> None:
    engine = Engine(directory / "model.onnx")
    with pytest.raises(ValueError, match=f"less than {engine.whole} samples"):
        engine.run(np.zeros((2, engine.whole + 1), np.float32), np.array([engine.whole - 1, engine.whole + 1]))


def test_a_long_recording_is_recognized_block_by_block_as_if_it_were_one(directory: Path) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 37 * 16_000).astype(np.float32)
    recognizer = Recognizer.from_pretrained(directory)
    whole = recognizer.engine.run(noise[None], np.array([len(noise)])).logits[0]
    found = recognizer({"array": noise, "sampling_rate": 16_000}).timeline
    assert len(found) == len(whole)
    np.testing.assert_allclose(found.probabilities, softmax(whole), atol=1e-4)


@pytest.mark.parametrize("seconds", [0.1, 0.5, 4.0, 600.0])
def test_torch_and_onnx_agree_on_real_clips_of_any_length(ravdess: Path, seconds: float) -> None:
    files = sorted(ravdess.glob("Actor_0[1-9]/*.flac"))
    clips: list[np.ndarray] = []
    while sum(map(len, clips)) < seconds * 16_000:
        clips.append(audio.load(files[(37 * len(clips)) % len(files)])[12_000:])
    waveform = np.concatenate(clips)[None, : int(seconds * 16_000)]
    network, config = load_network(model_folder(None))
    lengths = np.array([waveform.shape[1]])
    with torch.inference_mode():
        expected = WaveformClassifier(network, config)(torch.from_numpy(waveform), torch.from_numpy(lengths))
    found = Engine(model_folder(None) / "model.onnx").run(waveform, lengths)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
    np.testing.assert_allclose(found.level, expected.level, atol=1e-2)


def test_recognizing_equals_training_sides_scores(ravdess: Path) -> None:
    """The light half and the training half read, cut, trim and average alike."""
    from emofocus.data.datasets import SegmentDataset
    from emofocus.data.feature_store import Speech
    from emofocus.training.loop import mean_logits, score

    network, config = load_network(model_folder(None))
    shipped = Recognizer.from_pretrained()
    recognizer = Recognizer(shipped.engine, msgspec.structs.replace(config, temperature=1.0))
    for file in sorted(ravdess.glob("Actor_*/*.flac"))[::200]:
        frames, level = FrontEnd(config.features)(torch.from_numpy(audio.load(file))[None])
        data = SegmentDataset([Speech(frames[0].numpy(), level[0].numpy())], [0], config.segment)
        scores = list(recognizer(file).scores.values())
        np.testing.assert_allclose(scores, score(network, data)[0], atol=1e-4)
        # … and calibrate alike, once there is a temperature.
        warm = Recognizer(recognizer.engine, msgspec.structs.replace(config, temperature=1.7))
        expected = probabilities(mean_logits(network, data), 1.7)[0]
        np.testing.assert_allclose(list(warm(file).scores.values()), expected, atol=1e-4)


def test_packed_weights_are_a_quarter_and_keep_their_parity(tmp_path: Path) -> None:
    source = trained(tmp_path / "fold", "mhsa-faca")
    export(source, tmp_path / "packed", packed=True)
    size = sum(file.stat().st_size for file in (tmp_path / "packed").iterdir())
    assert size < 12e6
    # Packing what is packed changes nothing: both engines hold the very same numbers.
    network, _ = load_network(tmp_path / "packed")
    again = unpack(pack(network.state_dict()))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again[name], value, atol=1e-7, rtol=1e-6)


def test_the_shipped_model_is_whole_and_light() -> None:
    folder = model_folder(None)
    assert {"model.onnx", "model.safetensors", "config.json", "README.md"} <= {f.name for f in folder.iterdir()}
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12e6
    card = (folder / "README.md").read_text()
    for word in ("CC-BY-NC-SA-4.0", "ravdess", "protocol", "recall", "Limits"):
        assert word in card
    assert load_network(folder)[1].labels == LABELS


def test_export_keeps_temperature_and_threshold_and_takes_models_that_have_none(tmp_path: Path) -> None:
    fold = trained(tmp_path / "fold", "bmhsa")
    values = json.loads((fold / "config.json").read_text())
    del values["temperature"], values["threshold"]  # as older versions wrote it
    (fold / "config.json").write_text(json.dumps(values))
    export(fold, tmp_path / "old")
    old = load_model_config(tmp_path / "old" / "config.json")
    assert (old.temperature, old.threshold) == (1.0, 0.0)
    assert "not known to be fitted" in (tmp_path / "old" / "README.md").read_text()
    save_config(fold, msgspec.structs.replace(old, temperature=1.25, threshold=0.62))
    export(fold, tmp_path / "new", packed=True)
    new = load_model_config(tmp_path / "new" / "config.json")
    assert (new.temperature, new.threshold) == (1.25, 0.62)


def test_what_an_older_version_exported_is_refused(tmp_path: Path) -> None:
    """Its streams would be masked otherwise."""
    graph = onnx.load(model_folder(None) / "model.onnx")
    graph.graph.input.append(onnx.helper.make_tensor_value_info("frame_lengths", onnx.TensorProto.INT64, ["rows"]))
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.int64), "frame_lengths"))
    onnx.save(graph, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="exported by an older emofocus; emofocus export"):
        Engine(tmp_path / "model.onnx")


def test_a_graph_that_does_not_say_its_settings_is_refused(tmp_path: Path) -> None:
    graph = onnx.load(model_folder(None) / "model.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="not a model that emofocus exported"):
        Engine(tmp_path / "model.onnx")


@pytest.mark.parametrize(("packed", "megabytes"), [(False, 2.4), (True, 1.6)])
def test_a_compact_model_is_small_packed_or_not(tmp_path: Path, packed: bool, megabytes: float) -> None:
    recipe = load_recipe("emofocus")[1]
    config = ModelConfig.of("compact-faca", LABELS, features=recipe.features, segment=recipe.segment)
    torch.manual_seed(0)
    save_tensors(tmp_path / "fold" / "model.safetensors", build(config).state_dict())
    save_config(tmp_path / "fold", config)
    export(tmp_path / "fold", tmp_path / "model", packed)  # which checks parity
    assert (tmp_path / "model" / "model.onnx").stat().st_size < 1e6 * megabytes


@pytest.mark.parametrize("packed", [False, True])
def test_other_weights_of_one_config_are_other_work(tmp_path: Path, packed: bool) -> None:
    """Configs alone were compared: a model that was trained longer, or elsewhere, was written over another."""
    config = config_of("mhsa-faca", ("a", "b"))
    first = saved(tmp_path / "first", untrained(config), config)
    other = untrained(config)
    with torch.no_grad():
        next(other.parameters()).add_(1e-6)
    second = saved(tmp_path / "second", other, config)
    export_model(first, tmp_path / "out", packed=packed)
    export_model(first, tmp_path / "out", packed=packed)
    export_model(tmp_path / "out", tmp_path / "out", packed=packed)
    before = (tmp_path / "out" / "model.onnx").read_bytes()
    with pytest.raises(ConfigError, match=r"out holds another run \(weights is '\w{16}', not '\w{16}'\); name another"):
        export_model(second, tmp_path / "out", packed=packed)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == before


@pytest.mark.parametrize("damage", ["missing", "truncated", "another model's"])
def test_damaged_weights_are_refused(tmp_path: Path, damage: str) -> None:
    folder = trained(tmp_path, "mhsa-faca")
    weights = folder / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        save_tensors(weights, build(ModelConfig.of("bmhsa", LABELS)).state_dict())
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_network(folder)


def test_an_unknown_key_in_config_json_is_named_beside_the_valid_ones(tmp_path: Path) -> None:
    folder = trained(tmp_path, "bmhsa")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"license"', '"lisence"'))
    with pytest.raises(ConfigError, match=r"config.json.*unknown field `lisence`.*valid: format, model, id2label"):
        load_network(folder)


def test_a_model_is_not_exported_over_another(tmp_path: Path) -> None:
    for name in ("reslstm", "timnet"):
        config = config_of(name, ("low", "high"))
        saved(tmp_path / name, untrained(config), config)
    out = tmp_path / "reslstm" / "model"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(ConfigError, match=r"model holds another run \(model is 'reslstm', not 'timnet'.*name another"):
        export_model(tmp_path / "timnet" / "fold", out)
    export_model(tmp_path / "reslstm" / "fold", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_training_begins_without_a_warning_of_torch() -> None:
    """Training imports export, and torch 2.14 warned of a function that was scripted there."""
    code = "import emofocus.export.to_onnx"
    done = subprocess.run([sys.executable, "-W", "error::FutureWarning", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
