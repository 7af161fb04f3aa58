"""Transformations of ONNX graphs: optional inputs; merged, packed and halved weights; removal of unused parts."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy as copy
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from emofocus.config import ModelConfig
from emofocus.models.checkpoint import PACKED_FROM
from emofocus.recognition.engine import runtime

Rows: TypeAlias = tuple[NDArray[np.int8], NDArray[np.float32]]

POSITIONS = ".positions"
"""End of the name of an encoder's vectors of positions."""

FEATURES = ("front_end", "log_mel")
"""Parts of the names of nodes that compute features."""

SMALLEST = 4096
"""Fewest weights of a layer that is stored in fewer bits, because casts around it cost time and bytes."""


def make_optional(graph: onnx.ModelProto, config: ModelConfig) -> None:
    """Give default values to the inputs that most hosts do not feed."""
    values: dict[str, NDArray[np.generic]] = {"hop": np.array(config.segment.hop, np.int64)}
    for item in graph.graph.input:
        if item.name == "window":
            values["window"] = np.array(config.segment.frames, np.int64)
        if item.name == "frames":
            size = item.type.tensor_type.shape.dim[2].dim_value
            values["frames"] = np.zeros((1, 1, size), np.float32)
        if item.name in ("shift", "scale"):
            fill = np.zeros if item.name == "shift" else np.ones
            values[item.name] = fill(item.type.tensor_type.shape.dim[0].dim_value, np.float32)
    graph.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())


def merge_equals(graph: onnx.ModelProto) -> None:
    """Keep one of equal weights; the exporter writes an LSTM's weights once per call.

    Nodes that read them through an Identity read them directly afterwards.
    """
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
    names = {tensor.name for tensor in kept}
    _keep(graph, kept)
    kept_nodes = []
    for node in graph.graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.input[0] in names:
            same[node.output[0]] = node.input[0]
        else:
            kept_nodes.append(node)
    nodes = list(map(copy, kept_nodes))
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def pack_onnx(graph: onnx.ModelProto) -> None:
    """Replace large float matrices by int8 rows times scales, which the runtime multiplies out when it loads."""

    def rows(tensor: onnx.TensorProto) -> Rows | None:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2 or values.size < PACKED_FROM:
            return None
        return _rows_of(values)  # None too where the exporter stacked matrices that were too small to be packed

    _pack(graph, rows)


def pack_lstms(graph: onnx.ModelProto) -> None:
    """Store LSTMs' weights as int8 rows, each gate's with a scale of its own; they are multiplied out as above."""
    weights = {node.input[place] for node in graph.graph.node if node.op_type == "LSTM" for place in (1, 2)}
    _pack(graph, lambda tensor: _rows(numpy_helper.to_array(tensor), -1) if tensor.name in weights else None)


def pack_encoder(graph: onnx.ModelProto) -> None:
    """Store an encoder's convolutions and positions as int8 rows, each filter and position with a scale of its own."""
    filters = {node.input[1] for node in weighted(graph, {"Conv"})}

    def rows(tensor: onnx.TensorProto) -> Rows | None:
        if tensor.name in filters:
            return _rows(numpy_helper.to_array(tensor), (1, 2))
        return _rows(numpy_helper.to_array(tensor), 1) if tensor.name.endswith(POSITIONS) else None

    _pack(graph, rows)


def _pack(graph: onnx.ModelProto, rows: Callable[[onnx.TensorProto], Rows | None]) -> None:
    """Replace those weights for which there are rows."""
    nodes, kept = [], []
    for tensor in graph.graph.initializer:
        packed = rows(tensor)
        if packed is None:
            kept.append(tensor)
            continue
        name, (whole, scale) = tensor.name, packed
        kept += [numpy_helper.from_array(whole, f"{name}.int8"), numpy_helper.from_array(scale, f"{name}.scale")]
        nodes += _multiplied_out(name)
    _keep(graph, kept)
    for node in reversed(nodes):
        graph.graph.node.insert(0, node)


def _keep(graph: onnx.ModelProto, weights: Sequence[onnx.TensorProto]) -> None:
    """Remove all other weights."""
    kept = list(map(copy, weights))
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)


def _multiplied_out(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]),
    ]


def _rows(values: NDArray[np.float32], axis: int | tuple[int, ...]) -> Rows:
    """Quantize values to whole numbers up to 127, with scales along an axis."""
    scale = np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-12) / np.float32(127)
    return np.round(values / scale).astype(np.int8), scale.astype(np.float32)


def _rows_of(values: NDArray[np.float32]) -> Rows | None:
    """Recover int8 rows and scales of weights that were packed, along whichever axes the exporter left them.

    Returns:
        Rows and scales, without loss; None for weights that were not packed.
    """
    best: tuple[float, Rows] | None = None
    for axis in (*range(values.ndim), tuple(range(1, values.ndim))):  # a convolution's row has three axes
        whole, scale = _rows(values, axis)
        error = float(np.abs(whole * scale - values).max())
        if best is None or error < best[0]:
            best = (error, (whole, scale))
    assert best is not None
    return best[1] if best[0] <= 1e-5 * float(np.abs(values).max()) else None


def weighted(graph: onnx.ModelProto, kinds: set[str]) -> list[onnx.NodeProto]:
    """Nodes of the network with large weights, without those of features and of a joined speaker extractor."""
    sizes = {item.name: int(np.prod(item.dims)) for item in graph.graph.initializer}
    return [
        node
        for node in graph.graph.node
        if node.op_type in kinds
        and sizes.get(node.input[1], 0) >= SMALLEST
        and not any(part in node.name for part in FEATURES)
        and not node.name.startswith("speaker/")
    ]


def split_gemms(graph: onnx.ModelProto) -> None:
    """Split large nodes `x · Wᵀ + b` into a product and a sum, because the quantizer cannot share W among nodes."""
    values = {item.name: numpy_helper.to_array(item) for item in graph.graph.initializer}
    turned: set[str] = set()
    nodes = []
    for node in graph.graph.node:
        attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        large = node.op_type == "Gemm" and values.get(node.input[1], np.zeros(0)).size >= SMALLEST
        if not large or attributes.get("transB") != 1 or attributes.get("transA", 0) or len(node.input) != 3:
            nodes.append(copy(node))
            continue
        weight, product = node.input[1], f"{node.name}.product"
        turned.add(weight)
        nodes.append(helper.make_node("MatMul", [node.input[0], f"{weight}.turned"], [product], product))
        nodes.append(helper.make_node("Add", [product, node.input[2]], list(node.output), f"{node.name}.sum"))
    graph.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(values[name].T), f"{name}.turned") for name in sorted(turned)
    )
    _replace(graph, nodes)


def halve(graph: onnx.ModelProto) -> None:
    """Store the network's weights in 16 bits, and compute convolutions and products in them."""
    values = {item.name: numpy_helper.to_array(item) for item in graph.graph.initializer}
    before: dict[str, list[onnx.NodeProto]] = {}
    after: dict[str, list[onnx.NodeProto]] = {}
    halved: set[str] = set()

    def cast(name: str, new: str, to: int) -> onnx.NodeProto:
        return helper.make_node("Cast", [name], [new], to=to)

    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for node in weighted(graph, {"Conv", "MatMul"}):
        name, (result,) = node.name, node.output
        before[name] = [cast(node.input[0], f"{result}.in", half)]
        after[name] = [cast(f"{result}.out", result, single)]
        halved.update(node.input[1:])
        node.input[:] = [f"{result}.in", *(f"{item}.half" for item in node.input[1:])]
        node.output[:] = [f"{result}.out"]
    first = []
    for node in weighted(graph, {"LSTM"}):
        for place in (1, 2):
            weight = node.input[place]
            if weight not in halved:
                first.append(cast(f"{weight}.half", f"{weight}.single", single))
            halved.add(weight)
            node.input[place] = f"{weight}.single"
    graph.graph.initializer.extend(
        numpy_helper.from_array(values[name].astype(np.float16), f"{name}.half") for name in sorted(halved)
    )
    nodes = list(first)
    for node in graph.graph.node:
        nodes += [*before.get(node.name, ()), copy(node), *after.get(node.name, ())]
    _replace(graph, nodes)


def _replace(graph: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Replace all nodes by copies, and drop the weights that they do not need."""
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    drop_unused(graph)


def drop_unused(graph: onnx.ModelProto) -> None:
    """Remove weights that no node reads; bodies of `If` nodes read from outside, too."""
    read = {item.name for item in graph.graph.input}
    read.update(name for node in graph.graph.node for name in _reads(node))
    _keep(graph, [item for item in graph.graph.initializer if item.name in read])


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node and its bodies read."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _reads(inner)
        yield from (item.name for item in attribute.g.output)


def hold(graph: onnx.ModelProto, name: str, value: NDArray[np.int64]) -> None:
    """Turn an input into a constant."""
    kept = [item for item in graph.graph.input if item.name != name]
    del graph.graph.input[:]
    graph.graph.input.extend(kept)
    graph.graph.initializer.append(numpy_helper.from_array(value, name))


def prune(graph: onnx.ModelProto, outputs: Sequence[str]) -> None:
    """Keep only the nodes that some outputs need; inputs with a default become constants."""
    needed, kept = set(outputs), []
    for node in reversed(graph.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_reads(node))
    nodes = [copy(node) for node in reversed(kept)]
    given = {item.name for item in graph.graph.initializer}
    for field, keep in (
        (graph.graph.node, nodes),
        (graph.graph.input, [copy(item) for item in graph.graph.input if item.name in needed - given]),
        (graph.graph.output, [copy(item) for item in graph.graph.output if item.name in outputs]),
    ):
        del field[:]
        field.extend(keep)
    drop_unused(graph)


def folded(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Graph with its constant parts computed by onnxruntime, which keeps to standard operators.

    It has half of the nodes and loads in half of the time.
    """
    onnxruntime = runtime()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "folded.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(out)
        # Layers stay two nodes, a product and a sum, each of which is still known by its name.
        onnxruntime.InferenceSession(
            graph.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["MatMulAddFusion"],
        )
        result = onnx.load(out)
    helper.set_model_props(result, {item.key: item.value for item in graph.metadata_props})
    used = [copy(item) for item in result.opset_import if item.domain in {node.domain for node in result.graph.node}]
    del result.opset_import[:]
    result.opset_import.extend(used)
    return result
