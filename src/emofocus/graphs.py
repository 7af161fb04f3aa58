"""Changes to ONNX graphs: optional inputs, weights held once or packed."""

import hashlib

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from emofocus.checkpoint import PACKED_FROM
from emofocus.config import ModelConfig


def make_optional(graph: onnx.ModelProto, config: ModelConfig) -> None:
    """Give the inputs that most hosts do without a value that they have unless another one is fed."""
    values = {"hop": np.array(config.segment.hop, np.int64), "frame_lengths": np.ones(1, np.int64)}
    for item in graph.graph.input:
        if item.name == "frames":
            size = item.type.tensor_type.shape.dim[2].dim_value
            values["frames"] = np.zeros((1, 1, size), np.float32)
    there = {item.name for item in graph.graph.input}
    graph.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in values.items() if name in there
    )


def merge_equals(graph: onnx.ModelProto) -> None:
    """Keep one of equal weights: the exporter writes those of an LSTM once for each place it is called from."""
    first: dict[bytes, str] = {}
    same: dict[str, str] = {}
    kept = []
    for tensor in graph.graph.initializer:
        key = bytes([tensor.data_type]) + repr(tuple(tensor.dims)).encode() + numpy_helper.to_array(tensor).tobytes()
        name = first.setdefault(hashlib.blake2b(key).digest(), tensor.name)
        if name == tensor.name:
            kept.append(tensor)
        else:
            same[tensor.name] = name
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    for node in graph.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]


def pack_onnx(graph: onnx.ModelProto) -> None:
    """Replace large float matrices by int8 rows times scales, which the runtime multiplies out when it loads."""
    nodes, kept = [], []
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < PACKED_FROM:
            kept.append(tensor)
            continue
        found = _rows_of(values)
        if found is None:  # the exporter stacked matrices that were too small to be packed
            kept.append(tensor)
            continue
        whole, scale = found
        name = tensor.name
        kept += [
            numpy_helper.from_array(whole, f"{name}.int8"),
            numpy_helper.from_array(scale, f"{name}.scale"),
        ]
        nodes.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]))
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    for node in reversed(nodes):
        graph.graph.node.insert(0, node)


def _rows_of(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]] | None:
    """Find the axes along which weights were packed (exporters transpose) and split them again, without loss.

    None of weights that were not packed.
    """
    best: tuple[float, NDArray[np.int8], NDArray[np.float32]] | None = None
    for axis in (*range(values.ndim), tuple(range(1, values.ndim))):  # a convolution's row has three axes
        scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-12) / np.float32(127)
        whole = np.round(values / scale).astype(np.int8)
        error = float(np.abs(whole * scale - values).max())
        if best is None or error < best[0]:
            best = (error, whole, scale.astype(np.float32))
    assert best is not None
    return best[1:] if best[0] <= 1e-5 * float(np.abs(values).max()) else None
