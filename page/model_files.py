"""Copy into the page what it runs: a model, its two halves for live speech, and the examples.

Run: ``python page/model_files.py [MODEL_DIRECTORY]``; the shipped model by default.
"""

import json
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import onnx
from onnx.utils import extract_model

from emofocus.config import ModelConfig, load_model_config
from emofocus.recognition.engine import NOTHING, PRECISION_FILES, Voice
from emofocus.recognition.recognizer import STREAM_WINDOW
from emofocus.recognition.streaming import STREAM_HOP

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "src" / "emofocus" / "assets" / "default"
ENCODE, CLASSIFY = "live-encode.onnx", "live-classify.onnx"
HALVES = {
    ENCODE: (["waveform", "lengths"], ["encoded", "level"]),
    CLASSIFY: (["frames"], ["frame_logits"]),
}
"""File → inputs and outputs: what `Engine.encode` and `Engine.classify` compute. onnxruntime-web computes all outputs
or none. Nearly all weights of a model on a pretrained encoder belong to `CLASSIFY`, so there `model.onnx` does its
work: one frame of silence beside the segment costs little, and a second copy of the weights a download."""

REQUIRED = tuple(NOTHING)
"""Inputs of `model.onnx` that the page gives each time, because onnxruntime-web takes no input with a default."""

ENCODER_HOP = 0.8
"""Seconds from event to event of a model on a pretrained encoder: a browser computes a window anew for each."""


def smallest(model: Path) -> Path:
    """Graph that the page runs: of a model on a pretrained encoder int8 if there is one, a quarter of the download."""
    int8 = model / PRECISION_FILES["int8"]
    pretrained = load_model_config(model / "config.json").features.pretrained
    return int8 if pretrained and int8.is_file() else model / "model.onnx"


def page_settings(config: ModelConfig) -> dict[str, Any]:
    """Rules of the package that the page follows in its own language.

    Samples from a frame's position to its middle, and to the last one that it is made of; frames of a live segment, and
    seconds from one to the next.
    """
    features, frames = config.features, config.segment.frames
    live = min(frames, round(STREAM_WINDOW * features.sampling_rate / features.hop)) if features.pretrained else frames
    hop = ENCODER_HOP if features.pretrained else STREAM_HOP
    return {"ahead": features.ahead, "centre": features.centre, "live_frames": live, "live_hop": hop}


def write(model: Path, public: Path) -> None:
    """Write the folders `model` and `examples` into a folder, anew."""
    for folder in ("model", "examples"):
        shutil.rmtree(public / folder, ignore_errors=True)
        (public / folder).mkdir(parents=True)
    settings = load_model_config(model / "config.json")
    graph = onnx.load(smallest(model))
    shapes = {item.name: item.type.tensor_type.shape.dim for item in graph.graph.input}
    sizes = {name: shape[-1].dim_value for name, shape in shapes.items() if shape}  # a hop is one number
    required = REQUIRED if settings.features.pretrained else Voice._fields
    if {item.name for item in graph.graph.initializer} & set(required):
        onnx.save(require(onnx.load(smallest(model)), required), public / "model" / "model.onnx")
    else:  # the same bytes: a wheel holds them once
        shutil.copy(smallest(model), public / "model" / "model.onnx")
    metadata = {item.key: item.value for item in graph.metadata_props}
    config = json.loads((model / "config.json").read_text())
    config["frames_a_step"] = int(metadata["frames_a_step"])  # onnxruntime-web shows no metadata
    config["page"] = page_settings(settings)
    config["page"]["voice_size"] = sizes.get("shift", 0)
    config["page"]["frame_size"] = sizes.get("frames", 0)
    for name, (inputs, outputs) in HALVES.items():
        if name == CLASSIFY and settings.features.pretrained:
            continue
        path = public / "model" / name
        given = [*inputs, *(sizes.keys() & set(Voice._fields) if "frames" in inputs else ())]
        extract_model(str(smallest(model)), str(path), given, outputs)
        onnx.save(require(onnx.load(path), given), path)
    files = sorted((public / "model").glob("*.onnx"))
    # Loading is shown, and compressed answers do not say their sizes.
    config["page"]["bytes"] = {path.name: path.stat().st_size for path in files}
    (public / "model" / "config.json").write_text(json.dumps(config, indent=1))
    for pattern in ("*.wav", "examples.json"):
        for path in (ROOT / "examples").glob(pattern):
            shutil.copy(path, public / "examples" / path.name)


def require(graph: onnx.ModelProto, inputs: Collection[str]) -> onnx.ModelProto:
    """The graph, of which some inputs have no default any more."""
    kept = [item for item in graph.graph.initializer if item.name not in inputs]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    return graph


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED, ROOT / "page" / "public")
