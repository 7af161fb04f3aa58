"""Export from torch to `model.onnx`, from waveforms to logits and attention; parity is checked before it is kept."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor, nn

from emofocus.config import ModelConfig
from emofocus.data.speaker_embeddings import MANIFEST, Extractor, join
from emofocus.errors import ModelError
from emofocus.export.model_card import model_card
from emofocus.export.onnx_graph import folded, make_optional, merge_equals, pack_onnx
from emofocus.features.encoders import EncoderFeatures
from emofocus.features.front_end import FrontEnd
from emofocus.features.stft import decibels
from emofocus.models import AttentionMaps, SpeechNetwork, append_embedding
from emofocus.models.base import VoiceShift
from emofocus.models.checkpoint import encoder_tensors, load_network, pack, save_config, save_tensors, unpack
from emofocus.recognition.engine import STEP, Engine
from emofocus.segments import segment_count
from emofocus.utils.atomic import replacing, write_text

OPSET = 17
TOLERANCE = 1e-4
"""Largest difference of a logit between torch and ONNX."""

MAP_OUTPUTS = {"weights": "attention", "centre": "centre", "scope": "scope", "gates": "gates"}
"""`AttentionMaps` field → output of `model.onnx`."""


class WaveformOutput(NamedTuple):
    """Outputs of `WaveformClassifier`, per segment or per frame.

    Attributes:
        logits: Logits of each segment (B, S, C).
        level: Level of each frame in dB full scale (B, n).
        features: Features before normalization (B, n, F).
        encoded: Frames after the layers that see single frames (B, n, D).
        maps: Attention maps (B, S, h, …), if requested.
        voice: Statistics of each segment (B, S, 2, F), see `emofocus.models.base.VoiceStatistics`; None for networks
            that are not adapted to voices.
    """

    logits: Tensor
    level: Tensor
    features: Tensor
    encoded: Tensor
    maps: AttentionMaps | None
    voice: Tensor | None = None


class SegmentOutput(NamedTuple):
    """Logits (B, C), attention maps if requested, and statistics (B, 2, F) of networks that are adapted to voices."""

    logits: Tensor
    maps: AttentionMaps | None
    voice: Tensor | None


class WaveformClassifier(nn.Module):
    """Network from samples to logits, as `model.onnx` holds it.

    Features and all layers that see single frames are computed once per frame; then frames are cut into overlapping
    segments.

    Rows are padded with zeros. Of a row with n true frames the first max(1, 1 + (n - m) // hop) segments count, and
    these are whole, so that nothing need be masked. A row that is shorter than a segment has one of n frames; it is
    recognized by itself, or with others of its length. The hop, in frames, is the config's unless another one is given.

    A pretrained encoder sees a segment at a time: of it, frames share what `EncoderFeatures.sounds` gives, and the
    rest is part of classifying. So the floor of Whisper's log-mels is that of the segment, wherever it comes from: a
    short clip, a row of a batch, a block of a long recording or a stream. Segments may then be shorter than the
    config's, which is the ``window``, in frames.
    """

    def __init__(self, network: SpeechNetwork, config: ModelConfig) -> None:
        super().__init__()
        self.front_end = FrontEnd(config.features)
        self.encoder = self.front_end.base if isinstance(self.front_end.base, EncoderFeatures) else None
        self.network = network
        self.segment = config.segment

    def encode(self, waveform: Tensor, lengths: Tensor, embedding: Tensor | None = None) -> tuple[Tensor, ...]:
        """Once a frame: features to show (B, n, F), level (B, n), and what overlapping segments share (B, n, D)."""
        if self.encoder is not None:
            sounds, power = self.encoder.sounds(waveform)
            return self.encoder.shown(sounds), decibels(power), sounds
        features, level = self.front_end(waveform, lengths)
        return features, level, self.network.encode_frames(append_embedding(features, embedding))

    def classify(self, frames: Tensor, need_maps: bool = False, voice: VoiceShift | None = None) -> SegmentOutput:
        """Whole segments (B, m, D), as `encode` gives their frames → logits (B, C), and statistics of the voice.

        The statistics are those of the segments before they are adapted to the given voice.
        """
        statistics = None
        if self.encoder is not None:
            features, normalize = self.encoder.encode(frames), self.network.normalize
            if self.network.voice is not None:
                statistics = self.network.voice(normalize(features))
            adapted = features if voice is None else normalize.adapted(features, *voice)
            frames = self.network.encode_frames(adapted)
        return SegmentOutput(*self.network.classify(frames, None, need_maps), statistics)

    def forward(
        self,
        waveform: Tensor,
        lengths: Tensor,
        embedding: Tensor | None = None,
        need_maps: bool = False,
        hop: Tensor | None = None,
        window: Tensor | None = None,
        voice: VoiceShift | None = None,
    ) -> WaveformOutput:
        """Waveform (B, T), lengths (B,) in samples, embedding (B, D) or None → outputs of the graph."""
        hop = torch.tensor(self.segment.hop) if hop is None else hop
        window = torch.tensor(self.segment.frames) if window is None else window
        features, level, encoded = self.encode(waveform, lengths, embedding)  # (B, n, F), (B, n), (B, n, D)
        index = scripted_segment_index(encoded, window, hop)  # (S, m)
        segments = encoded.index_select(1, index.flatten())  # (B, S · m, D)
        segments = segments.reshape(-1, index.shape[1], encoded.shape[2])  # (B · S, m, D)
        logits, maps, measured = self.classify(segments, need_maps, voice)
        rows = waveform.shape[0]
        statistics = None if measured is None else _by_row(measured, rows)
        return WaveformOutput(_by_row(logits, rows), level, features, encoded, _maps_by_row(maps, rows), statistics)


def segment_index(features: Tensor, window: Tensor, hop: Tensor) -> Tensor:
    """Frame numbers of each segment (S, m), or of all frames (1, n); scripted, because S depends on the input."""
    n, frames = features.shape[1], int(window)
    count = int((n - frames) // hop) + 1 if n >= frames else 1
    starts = torch.arange(count, device=features.device) * hop
    return starts.unsqueeze(1) + torch.arange(min(n, frames), device=features.device).unsqueeze(0)


# It is scripted when a graph is made: at import, torch 2.14 would warn. It is no decorator, because TorchScript would
# take the type checker's comment on the decorator's line for a type.
scripted_segment_index = torch.jit.script_if_tracing(segment_index)  # type: ignore[no-untyped-call]


def _by_row(x: Tensor, rows: int) -> Tensor:
    """(B · S, …) → (B, S, …)."""
    return x.reshape(rows, -1, *x.shape[1:])


def _maps_by_row(maps: AttentionMaps | None, rows: int) -> AttentionMaps | None:
    if maps is None:
        return None
    centre, scope, gates = (None if item is None else _by_row(item, rows) for item in maps[1:])
    return AttentionMaps(_by_row(maps.weights, rows), centre, scope, gates)


def export(source: Path, out: Path, packed: bool = False, extractor: Path | None = None) -> None:
    """Write a complete model directory from `config.json` and `model.safetensors`.

    Args:
        source: A trained fold, or a model directory.
        out: Folder for `model.onnx`, `model.safetensors`, `config.json` and `README.md`.
        packed: Store large matrices as int8 rows in both files, a quarter of the size.
        extractor: ONNX file that made the embeddings in training, if there were some; goes into `model.onnx`. It then
            sees at most as much of a recording as is recognized at a time
            (`emofocus.recognition.scoring.BLOCK_SAMPLES`).

    Raises:
        ModelError: ``source`` is incomplete or damaged, torch and ONNX disagree, or ``extractor`` is missing, is not
            the one of the training, or cannot be joined to the rest.
    """
    network, config = load_network(source)
    speaker = _extractor_of(config, extractor)
    tensors = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    if packed:
        tensors = pack(tensors)
        network.load_state_dict(unpack(tensors))
    graph = to_onnx(network, config)
    if packed:
        pack_onnx(graph)
    if speaker:
        graph = join(speaker, graph)
    merge_equals(graph)
    make_optional(graph, config)
    with replacing(out / "model.onnx") as temporary:
        onnx.save(graph, temporary)
        check_parity(network, config, temporary, speaker)
    save_tensors(out / "model.safetensors", tensors | encoder_tensors(config.features))
    write_text(out / "README.md", model_card(config, graph_bytes=(out / "model.onnx").stat().st_size))
    save_config(out, config)


def _extractor_of(config: ModelConfig, path: Path | None) -> Extractor | None:
    """Extractor that a model was trained with; None if it was trained without embeddings."""
    if config.embedding is None:
        if path is not None:
            raise ModelError(f"{config.model} was trained without embeddings; {path} is not needed")
        return None
    if config.embedding.source == MANIFEST:
        raise ModelError("trained on embeddings from files: model.onnx cannot make them; train with an extractor")
    if path is None:
        raise ModelError("trained on an extractor's embeddings; name its .onnx file with --embeddings")
    extractor = Extractor(path)
    if extractor.settings != config.embedding:
        source, wanted = extractor.settings.source, config.embedding.source
        raise ModelError(f"{path}: {source} did not make the embeddings of the training; that was {wanted}")
    return extractor


def to_onnx(network: SpeechNetwork, config: ModelConfig) -> onnx.ModelProto:
    """The graph of `WaveformClassifier`, and beside it that of single segments, with dynamic batch and time.

    Its inputs are waveform, lengths and hop; frames, for streams, unless the network is told who speaks; embedding
    (B, D), where it is; window, of a pretrained encoder; and shift and scale (F,), of a network that is adapted to
    voices.
    """
    classifier = WaveformClassifier(network, config).eval()
    if classifier.encoder is not None:
        classifier.encoder.keep_positions(config.segment.frames)
    example = {"waveform": torch.randn(2, 16_000), "lengths": torch.tensor([16_000, 9_000])}
    example["hop"] = torch.tensor(config.segment.hop)
    if classifier.encoder is not None:
        example["window"] = torch.tensor(config.segment.frames)
    if network.voice is not None:
        size = len(network.normalize.mean)
        example |= {"shift": torch.zeros(size), "scale": torch.ones(size)}
    if config.embedding:
        example["embedding"] = torch.randn(2, config.embedding.size)
    else:
        m = config.segment.frames
        with torch.inference_mode():
            size = classifier.encode(example["waveform"][:1, :400], example["lengths"][:1].clamp(max=400))[2].shape[2]
        example["frames"] = torch.randn(2, m, size)
    module = _Graph(classifier, list(example))
    names = module.output_names(example)
    axes = {name: {0: "batch", 1: "segments"} for name in names}
    axes |= {name: {0: "batch", 1: "frames"} for name in ("level", "features", "encoded")}
    axes |= {"waveform": {0: "batch", 1: "samples"}, "lengths": {0: "batch"}, "embedding": {0: "batch"}}
    axes |= {"frames": {0: "rows", 1: "m"}, "frame_logits": {0: "rows"}, "frame_voice": {0: "rows"}}
    axes |= {name: {} for name in ("hop", "window", "shift", "scale")}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: what it holds fixed (m, h, d) is fixed
        torch.onnx.export(
            module,
            tuple(example.values()),
            buffer,  # type: ignore[arg-type]  # it takes what can be written to
            dynamo=False,  # the dynamo exporter fixes the time axis of an LSTM
            opset_version=OPSET,
            input_names=list(example),
            output_names=names,
            dynamic_axes={name: axes[name] for name in (*example, *names)},
        )
    graph = onnx.load_from_string(buffer.getvalue())
    if "lengths" not in {item.name for item in graph.graph.input}:  # without slopes, nothing there depends on them
        graph.graph.input.insert(1, helper.make_tensor_value_info("lengths", onnx.TensorProto.INT64, ["batch"]))
    properties = {"labels": ",".join(config.labels), "license": config.license, STEP: str(network.frames_a_step)}
    properties["config"] = msgspec.json.encode(config).decode()  # all that a host needs, in the one file
    helper.set_model_props(graph, properties)
    return folded(graph)


class _Graph(nn.Module):
    """Wrapper that flattens the present outputs into a tuple, as the exporter needs them."""

    def __init__(self, classifier: WaveformClassifier, inputs: Sequence[str]) -> None:
        super().__init__()
        self.classifier, self.inputs = classifier, tuple(inputs)

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.outputs(dict(zip(self.inputs, values, strict=True))).values())

    def outputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name; the embedding of a segment is what the last layer sees of it."""
        seen: list[Tensor] = []
        network = self.classifier.network
        name = network.last_layer
        if name is not None:
            watch = network.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        voice = VoiceShift(inputs["shift"], inputs["scale"]) if "shift" in inputs else None
        output = self.classifier(
            inputs["waveform"],
            inputs["lengths"],
            inputs.get("embedding"),
            need_maps=True,
            hop=inputs["hop"],
            window=inputs.get("window"),
            voice=voice,
        )
        outputs = {"logits": output.logits, "level": output.level, "features": output.features}
        if output.maps is not None:
            maps = output.maps._asdict()
            outputs |= {name: maps[field] for field, name in MAP_OUTPUTS.items() if maps[field] is not None}
        if output.voice is not None:
            outputs["voice"] = output.voice
        if seen:
            outputs["pooled"] = _by_row(seen[0], inputs["waveform"].shape[0])
        if "frames" in inputs:
            outputs["encoded"] = output.encoded
            single = self.classifier.classify(inputs["frames"], need_maps=True, voice=voice)
            outputs["frame_logits"] = single.logits
            if single.voice is not None:
                outputs["frame_voice"] = single.voice
        if name is not None:
            watch.remove()
        return outputs

    @torch.inference_mode()
    def output_names(self, inputs: dict[str, Tensor]) -> list[str]:
        return list(self.outputs(inputs))


def check_parity(network: SpeechNetwork, config: ModelConfig, path: Path, extractor: Extractor | None = None) -> float:
    """Largest difference of a logit between torch and ONNX on noise of several lengths.

    Raises:
        ModelError: The difference is above `TOLERANCE`.
    """
    engine = Engine(path)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([engine.whole, engine.whole + 8_000])
    waveform = torch.randn(2, engine.whole + 8_000, generator=generator) * 0.1
    waveform *= torch.arange(waveform.shape[1]) < lengths[:, None]
    short = engine.whole // 2
    difference = 0.0
    for rows, samples in ((waveform, lengths), (waveform[:1, :short], torch.tensor([short]))):
        speaker = torch.from_numpy(extractor(rows.numpy(), samples.numpy())) if extractor else None
        with torch.inference_mode():
            expected = WaveformClassifier(network, config).eval()(rows, samples, speaker).logits.numpy()
        logits = engine.run(rows.numpy(), samples.numpy()).logits
        for row, count in enumerate(segment_counts(samples.numpy(), config)):
            difference = max(difference, float(np.abs(expected[row, :count] - logits[row, :count]).max()))
    if not difference <= TOLERANCE:
        raise ModelError(f"torch and ONNX differ by {difference:.2g} in a logit; at most {TOLERANCE} is allowed")
    return difference


def segment_counts(samples: NDArray[np.int64], config: ModelConfig) -> list[int]:
    """Number of segments of each row without padding."""
    return [segment_count(1 + int(count) // config.features.hop, config.segment) for count in samples]
