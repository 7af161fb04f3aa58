"""Copy into the page what it runs: a model, its two halves for live speech, and the examples.

Run: ``python page/model_files.py [MODEL_DIRECTORY]``; the shipped model by default.
"""

import json
import shutil
import sys
from pathlib import Path

import onnx
from onnx.utils import extract_model

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "src" / "emofocus" / "assets" / "default"
HALVES = {
    "live-encode.onnx": (["waveform", "lengths"], ["encoded", "level"]),
    "live-classify.onnx": (["frames"], ["frame_logits"]),
}
"""File → inputs and outputs: what `Engine.encode` and `Engine.classify` compute. onnxruntime-web runs all or
nothing."""


def write(model: Path, public: Path) -> None:
    """Write the folders `model` and `examples` into a folder, anew."""
    for folder in ("model", "examples"):
        shutil.rmtree(public / folder, ignore_errors=True)
        (public / folder).mkdir(parents=True)
    shutil.copy(model / "model.onnx", public / "model" / "model.onnx")
    metadata = {item.key: item.value for item in onnx.load(model / "model.onnx").metadata_props}
    config = json.loads((model / "config.json").read_text())
    config["frames_a_step"] = int(metadata["frames_a_step"])  # onnxruntime-web shows no metadata
    (public / "model" / "config.json").write_text(json.dumps(config, indent=1))
    for name, (inputs, outputs) in HALVES.items():
        path = public / "model" / name
        extract_model(str(model / "model.onnx"), str(path), inputs, outputs)
        graph = onnx.load(path)
        kept = [item for item in graph.graph.initializer if item.name not in inputs]  # no defaults: all are given
        del graph.graph.initializer[:]
        graph.graph.initializer.extend(kept)
        onnx.save(graph, path)
    for clip in (ROOT / "examples").glob("*.wav"):
        shutil.copy(clip, public / "examples" / clip.name)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED, ROOT / "page" / "public")
