"""Models that are told who speaks: from files that a manifest names, or from an extractor."""

import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import soundfile
import torch
from torch import Tensor, nn

from emofocus import audio
from emofocus.config import EmbeddingSettings, ModelConfig, Recipe
from emofocus.corpora import Corpus, Utterance, read_corpus
from emofocus.data.cache import Cache
from emofocus.data.feature_file import FeaturesFile, write_features
from emofocus.data.feature_store import CachedSpeech
from emofocus.data.speaker_embeddings import Extractor, with_embeddings
from emofocus.errors import ConfigError, CorpusError, EmofocusError, ModelError
from emofocus.export.model_directory import export_model
from emofocus.models import MODELS, build
from emofocus.models.complexity import network_cost
from emofocus.recognition.recognizer import Recognizer
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.training.runs import crossval, train
from emofocus.training.setup import make_experiment

LABELS = ("happy", "sad")
SIZE = 6
RECIPE = MODELS["cnn-xvector"].recipe or Recipe()


class Loudness(nn.Module):
    """A stand-in extractor with real arithmetic: moments of the true samples."""

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        powers = [(waveform**k).sum(dim=1) / lengths for k in range(1, SIZE + 1)]
        return torch.stack(powers, dim=1)


def written(path: Path, module: nn.Module, opset: int = 17, inputs: int = 2) -> Path:
    example = (torch.randn(2, 3_000), torch.tensor([3_000, 2_000]))[:inputs]
    names = ["samples", "count"][:inputs]
    torch.onnx.export(
        module.eval(),
        example,
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=names,
        output_names=["who"],
        dynamic_axes={name: {0: "rows", 1: "time"} if name == "samples" else {0: "rows"} for name in (*names, "who")},
    )
    return path


@pytest.fixture(scope="module")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("extractor") / "loudness.onnx", Loudness())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six speakers with two clips each, and a vector for every clip."""
    root = tmp_path_factory.mktemp("corpus")
    lines = ["file,emotion,speaker,embedding"]
    for number in range(12):
        generator = np.random.default_rng(number)
        soundfile.write(root / f"{number}.wav", generator.normal(0, 0.1, 12_000), 16_000)
        np.save(root / f"{number}.npy", generator.normal(size=SIZE))
        lines.append(f"{number}.wav,{LABELS[number % 2]},s{number // 2},{number}.npy")
    (root / "clips.csv").write_text("\n".join(lines), encoding="utf-8")
    return root / "clips.csv"


def options_of(manifest: Path, out: Path, **further: object) -> ExperimentOptions:
    chosen = {"model": "cnn-xvector", "recipe": "paper", "protocol": "speaker", "epochs": 1, **further}
    return ExperimentOptions(corpus=(str(manifest),), cache=out / "cache", **chosen)


DEVICE = FabricOptions(devices=1, threads=1)


def network_of(size: int, labels: tuple[str, ...] = LABELS) -> nn.Module:
    torch.manual_seed(0)
    recipe = msgspec.structs.replace(RECIPE, embedding=EmbeddingSettings(size=size, source="manifest"))
    return build(recipe.config("cnn-xvector", labels)).eval()


def test_with_the_papers_512_numbers_cnn_xvector_has_its_0_53_million_parameters() -> None:
    network = network_of(512, tuple("abcdefgh"))
    assert sum(p.numel() for p in network.parameters()) == 395_784 + 512 * 256 == pytest.approx(0.53e6, rel=0.01)


def test_every_frame_ends_with_its_utterances_vector(manifest: Path, tmp_path: Path) -> None:
    plain = CachedSpeech(read_corpus(str(manifest)), cache := Cache(tmp_path))
    source = with_embeddings(plain, cache, "manifest")
    recipe = Recipe(speeds=(0.9,))
    for found, heard in zip(source.speech(recipe), plain.speech(recipe), strict=True):
        for number, (with_it, without) in enumerate(zip(found, heard, strict=True)):
            vector = np.load(manifest.parent / f"{number}.npy").astype(np.float32)
            np.testing.assert_array_equal(with_it.frames[:, :-SIZE], without.frames)
            np.testing.assert_array_equal(with_it.frames[:, -SIZE:], np.tile(vector, (len(with_it.frames), 1)))
            np.testing.assert_array_equal(with_it.level, without.level)


def test_an_extractors_vectors_come_once_and_then_from_the_cache(
    manifest: Path, extractor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = CachedSpeech(read_corpus(str(manifest)), cache := Cache(tmp_path))
    first = with_embeddings(source, cache, str(extractor)).speech(Recipe())[0]
    waveform = torch.from_numpy(audio.load(manifest.parent / "3.wav"))[None]
    expected = Loudness()(waveform, torch.tensor([waveform.shape[1]]))[0]
    np.testing.assert_allclose(first[3].frames[0, -SIZE:], expected, atol=1e-6)
    again = with_embeddings(source, cache, str(extractor))
    monkeypatch.setattr(audio, "load", None)
    for one, two in zip(again.speech(Recipe())[0], first, strict=True):
        np.testing.assert_array_equal(one.frames, two.frames)


def test_the_vector_reaches_the_answer_and_its_length_does_not_matter() -> None:
    network = network_of(SIZE)
    frames = torch.randn(1, 40, len(network.normalize.mean))
    frames[..., -SIZE:] = torch.randn(SIZE)
    other, longer = frames.clone(), frames.clone()
    other[..., -SIZE:] = torch.randn(SIZE)
    longer[..., -SIZE:] *= 7
    with torch.inference_mode():
        logits = [network(item).logits for item in (frames, other, longer)]
    assert (logits[0] - logits[1]).abs().max() > 1e-3
    torch.testing.assert_close(logits[0], logits[2])


def test_a_model_that_was_trained_with_an_extractor_carries_it(
    manifest: Path, extractor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    train(options_of(manifest, tmp_path, embeddings=str(extractor)), DEVICE, out)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["training"]["recipe"] == "paper+embeddings"
    assert config["embedding"] == {"size": SIZE, "source": Extractor(extractor).settings.source}
    prediction = Recognizer.from_pretrained(out)(manifest.parent / "0.wav")
    assert set(prediction.scores) == set(LABELS)
    with pytest.raises(ModelError, match=r"name its \.onnx file with --embeddings"):
        export_model(out / "training", tmp_path / "again", packed=False, embeddings=None)
    another = written(tmp_path / "another.onnx", Loudness(), opset=16)
    with pytest.raises(ModelError, match="did not make the embeddings of the training"):
        export_model(out / "training", tmp_path / "again", packed=False, embeddings=another)
    export_model(out / "training", tmp_path / "again", packed=True, embeddings=extractor)
    # The extractor is somebody else's, and keeps its arithmetic when the network gets fewer bits.
    monkeypatch.setattr("emofocus.export.quantization.LEAST_AGREEMENT", 0.0)  # it has hardly been trained
    export_model(out / "training", tmp_path / "bytes", embeddings=extractor, int8=True, corpus=str(manifest))
    graph = onnx.load(tmp_path / "bytes" / "model-int8.onnx")
    assert not any("Quantize" in node.op_type and node.name.startswith("speaker/") for node in graph.graph.node)
    assert any("Quantize" in node.op_type for node in graph.graph.node)


def test_crossval_says_that_there_were_embeddings_and_a_file_of_features_keeps_them(
    manifest: Path, extractor: Path, tmp_path: Path
) -> None:
    with_it = options_of(manifest, tmp_path, embeddings="manifest")
    crossval(with_it, DEVICE, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["recipe"] == "paper+embeddings"
    assert summary["recipe_settings"]["embedding"] == {"size": SIZE, "source": "manifest"}
    without = RECIPE.config("cnn-xvector", LABELS)
    assert summary["parameters"] == sum(p.numel() for p in build(without).parameters()) + 256 * SIZE

    experiment, source = make_experiment(with_it)
    write_features(tmp_path / "clips.safetensors", source, experiment.recipe)
    assert FeaturesFile(tmp_path / "clips.safetensors").embedding == source.embedding
    from_file = msgspec.structs.replace(with_it, corpus=None, features=tmp_path / "clips.safetensors", embeddings=None)
    crossval(from_file, DEVICE, tmp_path / "from-file")
    runs = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("run", "from-file")]
    assert runs[0] == runs[1]
    assert network_cost(experiment.config()) > network_cost(without)

    with pytest.raises(ModelError, match=r"model\.onnx cannot make them"):
        export_model(tmp_path / "run" / "fold-0", tmp_path / "model", packed=False, embeddings=None)


def test_models_that_take_none_refuse_them(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"mhsa-faca takes no embeddings of speakers \(valid: cnn-xvector\)"):
        make_experiment(options_of(manifest, tmp_path, model="mhsa-faca", embeddings="manifest"))
    with pytest.raises(ModelError, match="takes no embeddings"):
        build(ModelConfig.of("bmhsa", LABELS, embedding=EmbeddingSettings(size=4, source="manifest")))


def damaged(root: Path, name: str) -> None:
    if name == "absent":
        (root / "1.npy").unlink()
    elif name == "text":
        (root / "1.npy").write_text("0.1 0.2", encoding="utf-8")
    elif name == "pickle":
        np.save(root / "1.npy", np.array([{"a": 1}], dtype=object))
    elif name == "matrix":
        np.save(root / "1.npy", np.zeros((2, SIZE)))
    elif name == "infinite":
        np.save(root / "1.npy", np.full(SIZE, np.inf))
    elif name == "shorter":
        np.save(root / "1.npy", np.zeros(SIZE - 1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "no embedding, which is a NumPy array"),
        ("text", "no embedding, which is a NumPy array"),
        ("pickle", "no embedding, which is a NumPy array"),
        ("matrix", r"float64 \(2, 6\) is no embedding"),
        ("infinite", r"valid: finite floats \(D,\)"),
        ("shorter", "an embedding of 5 numbers, the first one has 6"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, message: str) -> None:
    rows = []
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(8_000), 16_000)
        np.save(tmp_path / f"{number}.npy", np.zeros(SIZE))
        rows.append(Utterance(f"{number}.wav", "happy", "a", embedding=f"{number}.npy"))
    damaged(tmp_path, name)
    source = CachedSpeech(Corpus.of("made", tmp_path, ("happy",), rows), cache := Cache(tmp_path / "cache"))
    with pytest.raises(CorpusError, match=message) as caught:
        with_embeddings(source, cache, "manifest")
    assert "1.npy" in str(caught.value)


def test_a_corpus_without_the_column_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "0.wav", np.zeros(8_000), 16_000)
    corpus = Corpus.of("made", tmp_path, ("happy",), [Utterance("0.wav", "happy", "a")])
    with pytest.raises(CorpusError, match="0 has no file in the column 'embedding'"):
        with_embeddings(CachedSpeech(corpus, cache := Cache(tmp_path / "cache")), cache, "manifest")


class Wrong(nn.Module):
    """Gives a vector a sample, not one a recording."""

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.stack([waveform, waveform], dim=2)


@pytest.mark.parametrize("given", ["absent.onnx", "text.onnx", "wrong.onnx", "neither"])
def test_what_is_no_extractor_is_refused(manifest: Path, tmp_path: Path, given: str) -> None:
    if given == "text.onnx":
        (tmp_path / given).write_text("no graph", encoding="utf-8")
    if given == "wrong.onnx":
        written(tmp_path / given, Wrong(), inputs=1)
    source = CachedSpeech(read_corpus(str(manifest)), cache := Cache(tmp_path / "cache"))
    kind: type[EmofocusError] = ConfigError if given == "neither" else ModelError
    with pytest.raises(kind, match=given):
        with_embeddings(source, cache, given if given == "neither" else str(tmp_path / given))


def test_an_extractor_of_another_opset_and_without_lengths_is_joined(manifest: Path, tmp_path: Path) -> None:
    class Plain(nn.Module):
        def forward(self, waveform: Tensor) -> Tensor:
            return Loudness()(waveform, torch.full((waveform.shape[0],), 12_000))

    path = written(tmp_path / "plain.onnx", Plain(), opset=13, inputs=1)
    out = tmp_path / "model"
    train(options_of(manifest, tmp_path, embeddings=str(path)), DEVICE, out)
    assert Recognizer.from_pretrained(out)(manifest.parent / "1.wav").label in LABELS
