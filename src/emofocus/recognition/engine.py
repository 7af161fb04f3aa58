"""The engine: runs `model.onnx` with onnxruntime, without torch."""

import json
import os
from collections.abc import Callable, Sequence
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
"""Entry of the file's metadata: number of frames that one position of the attention maps stands for."""

PRECISION_FILES = {"fp32": "model.onnx", "int8": "model-int8.onnx", "fp16": "model-fp16.onnx"}
"""Precision → file of a model directory. Every model directory has the first."""

DEVICES = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Device → onnxruntime's provider of it, in order of preference."""

CPU_BATCH, DEVICE_BATCH = 4, 32
"""Clips of a few seconds that are best scored together. On a CPU the values between layers of more clips do not fit in
its cache: each of 32 clips takes a sixth longer than each of four."""


class EngineOutput(NamedTuple):
    """Outputs of one run: B clips of S segments of m positions, n frames, h heads, C labels.

    Outputs that the model lacks, or that were not asked for, are None.

    Attributes:
        logits: Scores of each segment (B, S, C).
        level: Level of each frame in dB full scale (B, n).
        features: Features of each frame before normalization (B, n, F).
        attention: Attention maps before calibration, query by key (B, S, h, m, m).
        centre: Centre of focus of each query, in positions 1 … m (B, S, h, m).
        scope: Width of focus of each query, in positions (B, S, h, m).
        gates: Calibration weight of each head (B, S, h).
        voice: Mean and log deviation of each feature of each segment (B, S, 2, F), before any adaptation.
        pooled: Embedding of each segment, of which the last layer makes its scores (B, S, D).
    """

    logits: Array
    level: Array
    features: Array | None = None
    attention: Array | None = None
    centre: Array | None = None
    scope: Array | None = None
    gates: Array | None = None
    voice: Array | None = None
    pooled: Array | None = None


NOTHING: dict[str, Callable[[int], Array]] = {
    "shift": lambda size: np.zeros(size, np.float32),
    "scale": lambda size: np.ones(size, np.float32),
    "frames": lambda size: np.zeros((1, 1, size), np.float32),
}
"""Input that a graph may require → its value where there is nothing to say: nobody's voice, no frames.

Exported graphs have these values as defaults. onnxruntime-web takes no input with a default, so graphs that browsers
run require them each time.
"""

SCORES = ("logits", "level")
"""Outputs that every recognition needs."""

ALL_OUTPUTS = tuple(name for name in EngineOutput._fields if name not in ("voice", "pooled"))
"""Outputs that an explanation needs."""


class Voice(NamedTuple):
    """A voice that a model is adapted to: its difference from the training part.

    Attributes:
        shift: Mean of each standardized feature (F,).
        scale: Deviation of each feature, as a ratio to the training part's (F,).
    """

    shift: Array
    scale: Array


class Engine:
    """An onnxruntime session over one `model.onnx`.

    Args:
        path: File of the graph.
        threads: CPU threads; by default as many as there are cores.
        device: A key of `DEVICES`, or auto for the first that this machine has.
        optimize_graph: Whether onnxruntime arranges the graph anew. That takes a while at the start, and saves a tenth
            of the time of each clip.

    Attributes:
        step: Number of frames that one position of the attention maps stands for.
        attends: Whether the graph has attention maps.
        adaptable: Whether the graph can be adapted to a `Voice`.
        embeds: Whether the graph gives embeddings of segments.
        voice_size: Number of features F of such a voice; 0 if the graph cannot be adapted.
        windowed: Whether segments can be shorter than the model's own, as with pretrained encoders.
        streams: Whether the graph scores frames and segments one by one. Models that need a speaker's embedding do not.
        batch: Number of clips of a few seconds that are best scored together.
        frame_hop: Number of samples from frame to frame.
        frames: Number of frames of a segment.
        whole: Number of samples that fill a segment. Shorter clips are scored one by one: the graph has no mask.

    Raises:
        ModelError: The file is missing or damaged.
        ConfigError: This machine lacks the device.
    """

    def __init__(
        self, path: Path, threads: int | None = None, device: str = "cpu", optimize_graph: bool = True
    ) -> None:
        if not path.is_file():
            raise ModelError(f"{path.parent}: not a model directory, {path.name} is missing")
        self.path = path
        self._options = threads, device, optimize_graph
        self._columns: list[int] | None = None
        self._session = open_session(path, threads, device, optimize_graph)
        self._names = {output.name for output in self._session.get_outputs()}
        taken = {item.name: item.shape for item in self._session.get_inputs()}
        spare = {item.name: item.shape for item in self._session.get_overridable_initializers()}
        given = taken.keys() - {"waveform", "lengths"}
        optional = spare | {name: taken[name] for name in given}
        metadata = self._session.get_modelmeta().custom_metadata_map
        exported = "config" in metadata and "hop" in spare and self._names >= {"logits", "level"}
        self.voice_size = int(optional["shift"][0]) if "shift" in optional else 0
        if not taken.keys() >= {"waveform", "lengths"} or not given <= NOTHING.keys() or not exported:
            raise ModelError(f"{path}: not a model that emofocus exported, which takes waveform, lengths and hop")
        if not optional.keys() <= {"hop", "window", *NOTHING}:  # older graphs have masks
            raise ModelError(f"{path}: exported by an older emofocus; emofocus export {path.parent} makes it anew")
        self.attends, self.embeds = "attention" in self._names, "pooled" in self._names
        self.streams, self.windowed, self.adaptable = "frames" in optional, "window" in spare, "shift" in optional
        self._nothing = {name: NOTHING[name](taken[name][-1]) for name in given}
        self._config = metadata["config"]
        self.batch = CPU_BATCH if self._session.get_providers() == [DEVICES["cpu"]] else DEVICE_BATCH
        self.step = int(metadata.get(STEP, 1))
        config = json.loads(self._config)
        self.frame_hop, self.frames = int(config["features"]["hop"]), int(config["segment"]["frames"])
        self.whole = (self.frames - 1) * self.frame_hop
        # onnxruntime computes the requested outputs only.
        self._run_options = runtime().RunOptions()
        self._run_options.only_execute_path_to_fetches = True

    @property
    def digest(self) -> str:
        """Hash of the exported config, which names the model in every precision."""
        import hashlib  # here: OpenSSL takes longer to load than a clip to be recognized

        return hashlib.blake2b(self._config.encode(), digest_size=16).hexdigest()

    def __reduce__(self) -> tuple[Callable[..., "Engine"], tuple[object, ...]]:
        """A copy, also in another process, opens the file again: a session cannot be pickled."""
        return _opened, (self.path, *self._options, self._columns)

    def with_columns(self, columns: Sequence[int]) -> "Engine":
        """The same graph, in the same session, of whose scores some are left out.

        Args:
            columns: Positions of the scores that stay, among those of this engine.
        """
        other = object.__new__(Engine)
        vars(other).update(vars(self))
        other._columns = list(columns) if self._columns is None else [self._columns[number] for number in columns]
        return other

    def _chosen(self, logits: Array) -> Array:
        return logits if self._columns is None else logits[..., self._columns]

    def run(
        self,
        waveform: Array,
        lengths: NDArray[np.int64],
        need_maps: bool = False,
        hop: int | None = None,
        window: int | None = None,
        voice: Voice | None = None,
        need_voice: bool = False,
        need_embedding: bool = False,
    ) -> EngineOutput:
        """Score a batch whose rows are at least as long as a segment, or all of one length.

        Args:
            waveform: Samples (B, T), 16 kHz, rows padded with zeros.
            lengths: Number of samples of each row without padding (B,).
            need_maps: Whether to return features, attention, centres, scopes and gates too, as far as the model has
                them.
            hop: Frames from segment to segment; by default those of the exported config.
            window: Number of frames of a segment, for `windowed` models; by default that of the exported config.
            voice: Voice that speaks in all rows, for `adaptable` models; by default nobody's.
            need_voice: Whether to return the statistics of the voice too, of `adaptable` models.
            need_embedding: Whether to return embeddings too, of models that have them.

        Raises:
            ValueError: A row is shorter than a segment, and padded; or the model has no such segments.
        """
        size = self.frames if window is None else window
        if size != self.frames and not (self.windowed and 1 <= size <= self.frames):
            raise ValueError(f"this model has no segments of {size} frames; its own have {self.frames}")
        whole = (size - 1) * self.frame_hop
        if lengths.min() < min(whole, waveform.shape[1]):
            raise ValueError(f"rows of less than {whole} samples are recognized by themselves, without padding")
        extra = {"voice": need_voice, "pooled": need_embedding}
        wanted = (*(ALL_OUTPUTS if need_maps else SCORES), *(name for name, needed in extra.items() if needed))
        names = [name for name in wanted if name in self._names]
        feeds = self._nothing | {"waveform": waveform, "lengths": lengths}
        if hop is not None:
            feeds["hop"] = np.array(hop, np.int64)
        if size != self.frames:
            feeds["window"] = np.array(size, np.int64)
        if voice is not None:
            feeds |= voice._asdict()
        values = self._session.run(names, feeds, self._run_options)
        output = EngineOutput(**dict(zip(names, values, strict=True)))
        return output._replace(logits=self._chosen(output.logits))

    def encode(self, waveform: Array, lengths: NDArray[np.int64]) -> tuple[Array, Array]:
        """Encode each frame by itself, for `classify`.

        Args:
            waveform: Samples (B, T), 16 kHz, rows padded with zeros.
            lengths: Number of samples of each row without padding (B,).

        Returns:
            Encoded frames (B, n, D), and their levels (B, n) in dB full scale.
        """
        feeds = self._nothing | {"waveform": waveform, "lengths": lengths}
        encoded, level = self._session.run(["encoded", "level"], feeds, self._run_options)
        return encoded, level

    def classify(self, frames: Array, voice: Voice | None = None) -> Array:
        """Logits (B, C) of segments of frames (B, m, D) that `encode` has returned, for nobody's or a given voice."""
        return self._chosen(self._run_frames(["frame_logits"], frames, voice)[0])

    def classify_and_measure(self, frames: Array, voice: Voice | None = None) -> tuple[Array, Array]:
        """Logits as `classify` gives them, and the statistics (B, 2, F) of the voice, of `adaptable` models.

        The statistics are those before any adaptation, as in `EngineOutput`.
        """
        logits, statistics = self._run_frames(["frame_logits", "frame_voice"], frames, voice)
        return self._chosen(logits), statistics

    def _run_frames(self, names: list[str], frames: Array, voice: Voice | None) -> list[Array]:
        nothing = {"waveform": np.zeros((1, 1), np.float32), "lengths": np.ones(1, np.int64)}
        feeds = self._nothing | nothing | {"frames": frames} | (voice._asdict() if voice else {})
        values: list[Array] = self._session.run(names, feeds, self._run_options)
        return values


def _opened(
    path: Path, threads: int | None, device: str, optimize_graph: bool, columns: Sequence[int] | None
) -> Engine:
    engine = Engine(path, threads, device, optimize_graph)
    return engine if columns is None else engine.with_columns(columns)


def graph_file(folder: Path, precision: str) -> Path:
    """File of a model directory that holds the graph of a precision, which is a key of `PRECISION_FILES`.

    Raises:
        ModelError: The directory has no such file.
    """
    path = folder / PRECISION_FILES[precision]
    if path.is_file() or precision == "fp32":  # Engine reports a missing one
        return path
    present = [name for name, file in PRECISION_FILES.items() if (folder / file).is_file()]
    raise ModelError(
        f"{folder}: has no {path.name} (it has {', '.join(present)}); emofocus export --{precision} makes it"
    )


def runtime() -> ModuleType:
    """The module onnxruntime, imported on first use, with its telemetry off.

    Since 1.29 onnxruntime writes a device number and reports names and hashes of models to its maker, unless the
    environment variable is set before it is imported.
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
        ConfigError: This machine lacks the device.
    """
    onnxruntime = runtime()
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The highest level brings other layouts of convolutions, and products of bytes. The file has the cheap
    # optimizations already.
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


def _providers(device: str, available: Sequence[str]) -> list[str]:
    """Providers of a device, in order of preference; the CPU runs the operations that the device cannot.

    Raises:
        ConfigError: This machine lacks the device.
    """
    devices = [name for name, provider in DEVICES.items() if provider in available]
    if device not in ("auto", *devices):
        raise ConfigError(f"this onnxruntime has no {device} (it has {', '.join(devices)})")
    chosen = devices[0] if device == "auto" else device
    return list(dict.fromkeys([DEVICES[chosen], DEVICES["cpu"]]))
