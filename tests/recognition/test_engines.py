"""Engines of fewer bits, graphs of a fixed length, devices, and how fast they are."""

import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto, numpy_helper

from emofocus import Recognizer, StreamingRecognizer, audio
from emofocus.cli.main import app
from emofocus.config import ModelConfig, Recipe, load_model_config
from emofocus.corpora import read_corpus
from emofocus.errors import ConfigError, ModelError
from emofocus.export.model_directory import export_model, training_part
from emofocus.export.onnx_graph import SMALLEST
from emofocus.export.quantization import FIXED, write_fixed, write_fp16, write_int8
from emofocus.export.to_onnx import export
from emofocus.models import MODELS, build
from emofocus.models.checkpoint import save_config, save_tensors
from emofocus.recognition.engine import DEVICES, PRECISION_FILES, Engine
from emofocus.recognition.recognizer import model_folder
from emofocus.splits.protocols import make_folds
from helpers.paths import EXAMPLES
from helpers.speeds import slow_but

pytestmark = pytest.mark.xdist_group("engines")

LABELS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

HEAVY = {"mhsa-faca": 6.0, "compact-faca": 1.1}
"""Megabytes that the graph of bytes may have."""


def fresh(folder: Path, name: str) -> Path:
    """A model directory with fresh weights, and the features and segments of the network's publication."""
    torch.manual_seed(0)
    recipe = MODELS[name].recipe or Recipe()
    config = ModelConfig.of(name, LABELS, features=recipe.features, segment=recipe.segment)
    save_tensors(folder / "fold" / "model.safetensors", build(config).state_dict())
    save_config(folder / "fold", config)
    export(folder / "fold", folder / "model")
    return folder / "model"


def noise(seconds: float = 2.5) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


@pytest.fixture(scope="module", params=slow_but(["compact-faca", "mhsa-faca", "adcnn", "cnn-xvector", "deep-cnn"]))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with all engines. Fresh networks know nothing, so that any change moves their answers."""
    folder = fresh(tmp_path_factory.mktemp(request.param), request.param)
    config = load_model_config(folder / "config.json")
    clips = [noise(), noise(4.0) * np.linspace(0.01, 1, 64_000, dtype=np.float32)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emofocus.export.quantization.LEAST_AGREEMENT", 0.0)
        assert write_int8(folder, config, clips).largest < 0.05
        assert write_fp16(folder, config, clips).largest < 0.005
    write_fixed(folder, config)
    return folder


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Path:
    """The shipped model with all engines, calibrated on a synthetic voice."""
    folder = tmp_path_factory.mktemp("shipped") / "model"
    export(model_folder(None), folder)
    config = load_model_config(folder / "config.json")
    write_int8(folder, config, [audio.load(speech)])
    write_fp16(folder, config, [audio.load(speech)])
    return folder


def test_no_large_weight_of_a_network_is_left_in_float(model: Path) -> None:
    for engine, size in (("int8", 1), ("fp16", 2)):
        graph = onnx.load(model / PRECISION_FILES[engine])
        there = {item.name: item for item in graph.graph.initializer}
        weights = [
            there[node.input[1]]
            for node in graph.graph.node
            if node.op_type in ("Conv", "MatMul", "LSTM") and node.input[1] in there and "front_end" not in node.name
        ]
        large = [item for item in weights if np.prod(item.dims) >= SMALLEST and item.data_type == TensorProto.FLOAT]
        assert not large, [item.name for item in large]
        assert all(numpy_helper.to_array(item).itemsize in (size, 4, 8) for item in weights)


def test_fewer_bits_are_fewer_bytes(model: Path) -> None:
    sizes = {engine: (model / file).stat().st_size for engine, file in PRECISION_FILES.items()}
    assert max(sizes["int8"], sizes["fp16"]) < 0.75 * sizes["fp32"]
    name = load_model_config(model / "config.json").model
    assert sizes["int8"] < 1e6 * HEAVY.get(name, 20.0)


def test_a_fixed_graph_has_numbers_for_shapes_and_one_input(model: Path) -> None:
    graph = onnx.load(model / FIXED)
    config = load_model_config(model / "config.json")
    assert [item.name for item in graph.graph.input] == ["waveform"]
    shape = [dimension.dim_value for dimension in graph.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, (config.segment.frames - 1) * config.features.hop]
    assert not {"Shape", "Range", "If", "Loop", "NonZero"} & {node.op_type for node in graph.graph.node}
    session = onnxruntime.InferenceSession(model / FIXED, providers=["CPUExecutionProvider"])
    waveform = noise(shape[1] / 16_000)[None]
    expected = Engine(model / "model.onnx").run(waveform, np.array(shape[1:])).logits
    np.testing.assert_allclose(session.run(["logits"], {"waveform": waveform})[0], expected, atol=1e-4)


@pytest.mark.parametrize("file", [*PRECISION_FILES.values(), FIXED])
def test_a_graph_alone_says_what_it_is(model: Path, file: str) -> None:
    """Class names, license and all settings are in the file, for hosts that have nothing else."""
    config = load_model_config(model / "config.json")
    told = onnxruntime.InferenceSession(model / file, providers=["CPUExecutionProvider"]).get_modelmeta()
    properties = told.custom_metadata_map
    assert properties["labels"] == ",".join(LABELS)
    assert properties["license"] == config.license
    assert msgspec.json.decode(properties["config"])["segment"]["frames"] == config.segment.frames
    assert [item.version for item in onnx.load(model / file).opset_import if not item.domain] == [17]


@pytest.mark.parametrize("engine", list(PRECISION_FILES))
def test_every_engine_recognizes_and_streams_alike(shipped: Path, speech: Path, engine: str) -> None:
    whole, other = Recognizer.from_pretrained(shipped), Recognizer.from_pretrained(shipped, precision=engine)
    far = {"fp32": 1e-6, "int8": 0.1, "fp16": 1e-2}[engine]
    np.testing.assert_allclose(list(other(speech).scores.values()), list(whole(speech).scores.values()), atol=far)
    # What a stream scores is what this engine gives offline, but for bytes, which are rounded at other places.
    listener = Recognizer.from_pretrained(shipped, precision=engine, hop=0.5)
    stream = StreamingRecognizer(listener)
    found = np.array([event.scores for event in stream.feed(audio.load(speech))])
    expected = np.array([list(segment.scores.values()) for segment in listener(speech).timeline])[: len(found)]
    assert len(found) > 2
    np.testing.assert_allclose(found, expected, atol=1e-4 if engine == "fp32" else far)


def test_bytes_are_calibrated_on_the_training_part_alone(small_corpus: Path) -> None:
    corpus = read_corpus("emodb", small_corpus)
    plain = ModelConfig.of("bmhsa", corpus.classes)
    folds = make_folds(corpus, "random", 0)
    told = {"corpus": "emodb", "protocol": "random", "seed": 0, "fold": 1, "test_speakers": ["03", "08", "09"]}
    told |= {"train": len(folds[1].train), "test": len(folds[1].test)}
    dealt = training_part(corpus, msgspec.structs.replace(plain, training=told))
    assert dealt.tolist() == folds[1].train.tolist()
    # Folds of one's own cannot be dealt again: then nobody who tests is heard.
    others = training_part(corpus, msgspec.structs.replace(plain, training={"test_speakers": ["08"]}))
    assert {corpus.utterances[number].speaker for number in others} == {"03", "09"}
    with pytest.raises(ConfigError, match="test speakers of this model alone"):
        training_part(corpus, msgspec.structs.replace(plain, training={"test_speakers": ["03", "08", "09"]}))


def test_export_makes_what_it_is_asked_for_and_says_how_near_it_is(
    tmp_path: Path, small_corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emofocus.export.quantization.LEAST_AGREEMENT", 0.0)  # tones are nothing to tell apart for it
    out = tmp_path / "out"
    export_model(model_folder(None), out, int8=True, fp16=True, fixed=True, corpus="emodb", root=small_corpus)
    assert {*PRECISION_FILES.values(), FIXED} <= {path.name for path in out.iterdir()}
    told = capsys.readouterr().err
    size = f"{(out / PRECISION_FILES['int8']).stat().st_size / 1e6:.1f} MB"
    assert f"model-int8.onnx: {size}; of segments of" in told
    assert f"`model-int8.onnx`: {size}" in (out / "README.md").read_text()
    export_model(model_folder(None), out, fixed=True)  # the other graphs may be of other weights: gone, and not named
    assert sorted(path.name for path in out.glob("*.onnx")) == ["model-fixed.onnx", "model.onnx"]
    assert "int8" not in (out / "README.md").read_text()


def test_small_networks_are_left_as_they_are(tmp_path: Path) -> None:
    folder = fresh(tmp_path, "timnet")
    for write in (write_int8, write_fp16):
        with pytest.raises(ModelError, match="no layer has 4096 weights"):
            write(folder, load_model_config(folder / "config.json"), [noise()])
    assert len(list(folder.iterdir())) == 4


def test_an_engine_that_answers_otherwise_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    export(model_folder(None), folder)
    monkeypatch.setattr("emofocus.export.quantization.LEAST_AGREEMENT", 1.01)
    with pytest.raises(ModelError, match=r"answer like model\.onnx on .* of segments alone"):
        write_fp16(folder, load_model_config(folder / "config.json"), [noise()])
    assert {path.name for path in folder.iterdir()} == {"model.onnx", "model.safetensors", "config.json", "README.md"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "int4"], r"unknown precision 'int4' \(valid: fp32, int8, fp16\)"),
        (["--precision", "int8"], r"has no model-int8\.onnx \(it has fp32\); emofocus export --int8 makes it"),
        (["--device", "tpu"], r"unknown device 'tpu' \(valid: auto, cuda, directml, coreml, cpu\)"),
    ],
)
def test_engines_and_devices_that_are_not_there_are_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    clip = EXAMPLES / "angry-man.wav"
    result = CliRunner().invoke(app, ["predict", str(clip), *arguments])
    with pytest.raises((ConfigError, ModelError), match=message):
        raise result.exception or AssertionError(result.output)


def test_a_device_that_this_runtime_lacks_is_named() -> None:
    there = onnxruntime.get_available_providers()
    absent = [name for name, provider in DEVICES.items() if provider not in there]
    if not absent:
        pytest.skip("this onnxruntime has every device")
    with pytest.raises(ConfigError, match=rf"this onnxruntime has no {absent[0]} \(it has .*cpu\)"):
        Recognizer.from_pretrained(device=absent[0])


def test_bytes_without_a_corpus_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="need --corpus"):
        export_model(model_folder(None), tmp_path / "out", int8=True)
    with pytest.raises(ConfigError, match="exclude each other"):
        export_model(model_folder(None), tmp_path / "out", packed=True, fp16=True, corpus="emodb")
    assert not (tmp_path / "out").exists()


def test_bench_measures_every_engine_that_a_model_has(shipped: Path, tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    arguments = ["bench", "-m", shipped, "--rounds", 1, "--streams", 2, "--seconds", 2.5, "--out", out]
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    rows = json.loads(out.read_text())
    assert [row["precision"] for row in rows] == list(PRECISION_FILES)
    for row in rows:
        assert row["size"] == pytest.approx((shipped / PRECISION_FILES[row["precision"]]).stat().st_size / 1e6)
        assert row["single"] > 1
        assert 0 < row["median"] <= row["worst"]
        assert 30 < row["memory"] < 500  # of that process, not of this one, which holds torch
        assert 0 < row["start"] < 60


@pytest.mark.parametrize(("option", "message"), [("--out=speed.pdf", "cannot write .pdf"), ("--seconds=0", "of 0 s")])
def test_bench_refuses_what_it_cannot_do(option: str, message: str) -> None:
    result = CliRunner().invoke(app, ["bench", option])
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)
