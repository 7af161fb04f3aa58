"""Runs `model.onnx`: a batch of waveforms → outputs, without torch."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from emofocus.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = NDArray[np.float32]

STEP = "frames_a_step"
"""Entry of the file's metadata: frames of features that one position of the attention maps stands for."""

PRECISION_FILES = {"fp32": "model.onnx", "int8": "model-int8.onnx", "fp16": "model-fp16.onnx"}
"""Arithmetic of the network → file of a model directory, which always has the first."""

DEVICES = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Device → onnxruntime's name of what runs graphs on it, the one that is taken first when several are there first."""

CPU_BATCH, DEVICE_BATCH = 4, 32
"""Clips of a few seconds that are best recognized together. On a CPU what is between layers of more of them falls out
of its cache: 32 at once take a sixth longer each than four."""


class EngineOutput(NamedTuple):
    """One row a segment or a frame; S segments of m positions, n frames, h heads.

    Attributes:
        logits: (B, S, C).
        level: (B, n), level of each frame in dB full scale.
        features: (B, n, F), what the network hears of each frame, before it is normalized, or None when not asked for.
        attention: (B, S, h, m, m), before calibration, or None.
        centre: (B, S, h, m), in positions 1 … m, or None.
        scope: (B, S, h, m), in positions, or None.
        gates: (B, S, h), or None.
    """

    logits: Array
    level: Array
    features: Array | None = None
    attention: Array | None = None
    centre: Array | None = None
    scope: Array | None = None
    gates: Array | None = None


class Engine:
    """An onnxruntime session over one `model.onnx`.

    Args:
        path: The file.
        threads: CPU threads; as many as there are cores by default.
        device: A key of `DEVICES`, or auto for the first of them that is there.
        optimize_graph: Whether it will recognize more than a few clips: then a while at the start, in which onnxruntime
            arranges the graph, saves a tenth of each one's time.

    Attributes:
        step: Frames that one position of the attention maps stands for.
        attends: Whether there are attention maps.
        streams: Whether frames and segments can be had one by one: not of a model that is told who speaks.
        batch: Clips of a few seconds that are best recognized together.
        whole: Samples that fill a segment. Shorter clips are recognized each by itself: the graph masks nothing.

    Raises:
        ModelError: The file is missing or damaged.
        ConfigError: No such device, here or at all.
    """

    def __init__(
        self, path: Path, threads: int | None = None, device: str = "cpu", optimize_graph: bool = True
    ) -> None:
        if not path.is_file():
            raise ModelError(f"{path.parent}: not a model directory, {path.name} is missing")
        self.path = path
        self._options = threads, device, optimize_graph
        self._session = open_session(path, threads, device, optimize_graph)
        self._names = {output.name for output in self._session.get_outputs()}
        taken = {item.name for item in self._session.get_inputs()}
        spare = {item.name for item in self._session.get_overridable_initializers()}
        told = self._session.get_modelmeta().custom_metadata_map
        ours = "config" in told and "hop" in spare and self._names >= {"logits", "level"}
        if taken != {"waveform", "lengths"} or not ours:
            raise ModelError(f"{path}: not a model that emofocus exported, which takes waveform, lengths and hop")
        if not spare <= {"hop", "frames"}:  # its segments of streams would be masked otherwise
            raise ModelError(f"{path}: exported by an older emofocus; emofocus export {path.parent} makes it anew")
        self.attends = "attention" in self._names
        self.streams = "frames" in spare
        self.batch = CPU_BATCH if self._session.get_providers() == [DEVICES["cpu"]] else DEVICE_BATCH
        self.step = int(told.get(STEP, 1))
        config = json.loads(told["config"])
        self.whole = (config["segment"]["frames"] - 1) * config["features"]["hop"]
        # Only what is asked for is computed.
        self._run_options = runtime().RunOptions()
        self._run_options.only_execute_path_to_fetches = True

    def __reduce__(self) -> tuple[type["Engine"], tuple[object, ...]]:
        """A copy, also in another process, opens the file again: a session cannot be pickled."""
        return type(self), (self.path, *self._options)

    def run(
        self, waveform: Array, lengths: NDArray[np.int64], need_maps: bool = False, hop: int | None = None
    ) -> EngineOutput:
        """Recognize a batch: rows that are at least as long as a segment, or all of one length.

        Args:
            waveform: (B, T), 16 kHz, rows padded with zeros.
            lengths: True samples of each row (B,).
            need_maps: Also return features, attention, centres, scopes and gates, as far as the model has them.
            hop: Frames from segment to segment; as it was exported by default.

        Raises:
            ValueError: A row is shorter than a segment, and padded.
        """
        if lengths.min() < min(self.whole, waveform.shape[1]):
            raise ValueError(f"rows of less than {self.whole} samples are recognized by themselves, without padding")
        wanted = EngineOutput._fields if need_maps else EngineOutput._fields[:2]
        names = [name for name in wanted if name in self._names]
        feeds = {"waveform": waveform, "lengths": lengths}
        if hop is not None:
            feeds["hop"] = np.array(hop, np.int64)
        values = self._session.run(names, feeds, self._run_options)
        return EngineOutput(**dict(zip(names, values, strict=True)))

    def encode(self, waveform: Array, lengths: NDArray[np.int64]) -> tuple[Array, Array]:
        """What the network makes of each frame by itself, for `classify`, and its level.

        Args:
            waveform: (B, T), 16 kHz, padded with zeros.
            lengths: True samples of each row (B,).

        Returns:
            (B, n, D), and (B, n) in dB full scale.
        """
        feeds = {"waveform": waveform, "lengths": lengths}
        encoded, level = self._session.run(["encoded", "level"], feeds, self._run_options)
        return encoded, level

    def classify(self, frames: Array) -> Array:
        """Segments of frames, as `encode` gives them, (B, m, D) → logits (B, C)."""
        nothing = {"waveform": np.zeros((1, 1), np.float32), "lengths": np.ones(1, np.int64)}
        logits: Array = self._session.run(["frame_logits"], nothing | {"frames": frames}, self._run_options)[0]
        return logits


def graph_file(folder: Path, precision: str) -> Path:
    """File of a model directory that holds the graph of a precision, which is a key of `PRECISION_FILES`.

    Raises:
        ModelError: The directory has no such file.
    """
    path = folder / PRECISION_FILES[precision]
    if path.is_file() or precision == "fp32":  # of which `Engine` says more
        return path
    there = [name for name, file in PRECISION_FILES.items() if (folder / file).is_file()]
    raise ModelError(
        f"{folder}: has no {path.name} (it has {', '.join(there)}); emofocus export --{precision} makes it"
    )


def runtime() -> ModuleType:
    """onnxruntime, which is imported when it is needed, and tells nobody.

    Since 1.29 it writes a device number and reports model names and hashes to its maker, unless this is set before it
    is imported. What runs on speech keeps to itself.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return cast(ModuleType, onnxruntime)


def open_session(
    path: Path, threads: int | None = None, device: str = "cpu", optimize_graph: bool = True
) -> "InferenceSession":
    """Open an ONNX file with onnxruntime; arguments are those of `Engine`.

    Raises:
        ModelError: The file is missing or damaged.
        ConfigError: No such device, here or at all.
    """
    onnxruntime = runtime()
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Other layouts of convolutions, and products of bytes, are of the highest level; what is cheap to arrange is so in
    # the file already.
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize_graph else level.ORT_DISABLE_ALL
    if threads:
        options.intra_op_num_threads = threads
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions share no base but Exception
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path}: damaged, or not a model that onnxruntime can run ({reason})") from error


def _providers(device: str, there: Sequence[str]) -> list[str]:
    """What runs a graph, in order of preference; the CPU takes what a device cannot.

    Raises:
        ConfigError: No such device, here or at all.
    """
    found = [name for name, provider in DEVICES.items() if provider in there]
    if device not in ("auto", *found):
        raise ConfigError(f"this onnxruntime has no {device} (it has {', '.join(found)})")
    chosen = found[0] if device == "auto" else device
    return list(dict.fromkeys([DEVICES[chosen], DEVICES["cpu"]]))
