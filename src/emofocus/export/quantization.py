"""Quantization: `model.onnx` in int8 and fp16, and with one fixed length for phones."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from emofocus.config import ModelConfig
from emofocus.errors import ModelError
from emofocus.export.onnx_graph import (
    SMALLEST,
    drop_unused,
    folded,
    halve,
    hold,
    pack_encoder,
    pack_lstms,
    prune,
    split_gemms,
    weighted,
)
from emofocus.recognition.engine import PRECISION_FILES, Engine, open_session, runtime
from emofocus.segments import softmax
from emofocus.utils.atomic import replacing

Array = NDArray[np.float32]

FIXED = "model-fixed.onnx"
"""File name of the graph for one segment of a fixed length, whose shapes are all constant."""

LEAST_AGREEMENT = 0.9
"""Least share of segments with the same answer; below it, a graph is wrong and not just coarse."""


class Agreement(NamedTuple):
    """Agreement of a graph in fewer bits with `model.onnx`.

    Attributes:
        same: Share of segments with the same answer.
        mean: Mean difference of a probability.
        largest: Largest difference of a probability.
    """

    same: float
    mean: float
    largest: float


def write_int8(folder: Path, config: ModelConfig, clips: Sequence[Array]) -> Agreement:
    """`model-int8.onnx`: convolutions and products on bytes, whose ranges are calibrated on clips.

    Weights have seven bits: with eight, CPUs without the instructions for it (VNNI) overflow, and answer otherwise than
    those with them. LSTMs' weights are bytes at rest and float at work: computed on bytes, as onnxruntime can, they
    cost nine points of UA. Features stay in float, because their range is that of loudness, ten million to one, and so
    do products of attention, whose factors both depend on the input.

    A pretrained encoder's products find the range of each input when they run; a transformer's inputs hold a few very
    large numbers, which would coarsen calibrated ranges. Its convolutions and positions are bytes at rest alone.

    Args:
        folder: Model directory.
        config: Configuration of the model.
        clips: Speech of the training part, 16 kHz, each (T,).

    Raises:
        ModelError: The answers differ from `model.onnx` on more than a tenth of the clips' segments, or every layer is
            too small.
    """
    source = folder / PRECISION_FILES["fp32"]
    plain = _split(source)
    with replacing(folder / PRECISION_FILES["int8"]) as out, _quietly():
        if config.features.pretrained:
            _quantize_dynamically(plain, out)
        else:
            _quantize_statically(plain, out, _Clips(source, config, clips))
        return _checked(source, out, config, clips)


def _quantize_dynamically(plain: onnx.ModelProto, out: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # after `runtime` has silenced it

    nodes = [node.name for node in weighted(plain, {"MatMul"})]
    pack_encoder(plain)
    onnx.save(plain, out)
    if nodes:  # none would mean all
        quantize_dynamic(
            plain, out, nodes_to_quantize=nodes, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
        )


def _quantize_statically(plain: onnx.ModelProto, out: Path, clips: "_Clips") -> None:
    from onnxruntime.quantization import QuantType, quantize_static  # after `runtime` has silenced it

    nodes = [node.name for node in weighted(plain, {"Conv", "MatMul"})]
    onnx.save(plain, out)
    if nodes:  # none would mean all
        quantize_static(
            plain,
            out,
            clips,
            nodes_to_quantize=nodes,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    graph = onnx.load(out)
    pack_lstms(graph)
    drop_unused(graph)
    onnx.save(graph, out)


def write_fp16(folder: Path, config: ModelConfig, clips: Sequence[Array]) -> Agreement:
    """`model-fp16.onnx`: convolutions and products of the network in half precision, with half of their bytes.

    Made for devices that have such arithmetic; where a runtime has none, as on x86, it casts and gains nothing but
    size. LSTMs' weights are stored in 16 bits and computed in 32.

    Args:
        folder: Model directory.
        config: Configuration of the model.
        clips: Speech to check the graph on, 16 kHz, each (T,).

    Raises:
        ModelError: As in `write_int8`.
    """
    source = folder / PRECISION_FILES["fp32"]
    graph = _split(source)
    halve(graph)
    with replacing(folder / PRECISION_FILES["fp16"]) as out:
        onnx.save(graph, out)
        return _checked(source, out, config, clips)


def write_fixed(folder: Path, config: ModelConfig) -> None:
    """`model-fixed.onnx`: one segment (1, T) → logits (1, 1, C) and level (1, m), every shape a number.

    What runs on phones (CoreML, NNAPI) wants that, and onnxruntime-web takes it too. T is that of a whole segment,
    (m - 1) · hop samples; it is padded with zeros for a shorter one.

    Raises:
        ModelError: A shape still depends on the input, or its logits differ from those of `model.onnx`.
    """
    source = folder / PRECISION_FILES["fp32"]
    samples = (config.segment.frames - 1) * config.features.hop
    graph = onnx.load(source)
    hold(graph, "lengths", np.array([samples], np.int64))
    for item in graph.graph.input:
        if item.name == "waveform":
            for dimension, value in zip(item.type.tensor_type.shape.dim, (1, samples), strict=True):
                dimension.dim_value = value
    prune(graph, ("logits", "level"))
    with replacing(folder / FIXED) as out:
        onnx.save(folded(graph), out)
        moving = [node.op_type for node in onnx.load(out).graph.node if node.op_type in ("Shape", "Range", "NonZero")]
        if moving:
            raise ModelError(f"{FIXED} would still depend on its input's shape ({', '.join(sorted(set(moving)))})")
        session = open_session(out)
        waveform = np.random.default_rng(0).normal(0, 0.1, (1, samples)).astype(np.float32)
        expected = Engine(source).run(waveform, np.array([samples], np.int64)).logits
        difference = float(np.abs(session.run(["logits"], {"waveform": waveform})[0] - expected).max())
        if not difference <= 1e-4:
            raise ModelError(f"{FIXED} and model.onnx differ by {difference:.2g} in a logit")


def _split(source: Path) -> onnx.ModelProto:
    """Load a graph and split its layers for quantization.

    Raises:
        ModelError: Every layer is small.
    """
    graph = onnx.load(source)
    split_gemms(graph)
    if not weighted(graph, {"Conv", "MatMul", "LSTM"}):
        raise ModelError(f"{source}: no layer has {SMALLEST} weights, so that fewer bits would gain nothing")
    return graph


class _Clips:
    """Calibration data: clips, and frames of a segment for the part of the graph that streams use."""

    def __init__(self, source: Path, config: ModelConfig, clips: Sequence[Array]) -> None:
        self.engine, self.segment = Engine(source), config.segment
        self.clips = iter(clips)

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        clip = next(self.clips, None)
        if clip is None:
            return None
        feeds: dict[str, NDArray[np.generic]] = {"waveform": clip[None], "lengths": np.array([len(clip)], np.int64)}
        if self.engine.streams:
            frames = self.engine.encode(clip[None], np.array([len(clip)]))[0][:, : self.segment.frames]
            feeds["frames"] = frames
        return feeds


def _checked(source: Path, path: Path, config: ModelConfig, clips: Sequence[Array]) -> Agreement:
    """Agreement of ``path`` with ``source`` on all segments of the clips.

    Raises:
        ModelError: The agreement is below `LEAST_AGREEMENT`.
    """
    a, b = (
        np.concatenate([_probabilities(engine, clip, config) for clip in clips])
        for engine in (Engine(source), Engine(path))
    )
    difference = np.abs(a - b)
    same = float((a.argmax(axis=1) == b.argmax(axis=1)).mean())
    if not (np.isfinite(b).all() and same >= LEAST_AGREEMENT):
        raise ModelError(f"{path.name} would answer like model.onnx on {same:.0%} of segments alone")
    return Agreement(same, float(difference.mean()), float(difference.max()))


def _probabilities(engine: Engine, clip: Array, config: ModelConfig) -> Array:
    logits = engine.run(clip[None], np.array([len(clip)], np.int64)).logits[0]
    return softmax(logits, config.temperature)


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence warnings of onnxruntime's calibration about ranges of constants."""
    onnxruntime = runtime()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    onnxruntime.set_default_logger_severity(3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        onnxruntime.set_default_logger_severity(2)
