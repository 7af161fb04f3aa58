"""Copy into the page what it runs: the shipped model, its two halves for live speech, and the examples."""

import shutil
from pathlib import Path

import onnx
from onnx.utils import extract_model

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "src" / "emofocus" / "assets" / "default"
HALVES = {
    "live-encode.onnx": (["waveform", "lengths"], ["encoded", "level"]),
    "live-classify.onnx": (["frames", "frame_lengths"], ["frame_logits"]),
}
"""File → inputs and outputs: what `Engine.encode` and `Engine.classify` compute. onnxruntime-web runs all or
nothing."""


def main() -> None:
    """Write `page/public/model` and `page/public/examples`."""
    public = Path(__file__).parent / "public"
    for folder in ("model", "examples"):
        shutil.rmtree(public / folder, ignore_errors=True)
        (public / folder).mkdir(parents=True)
    for name in ("model.onnx", "config.json"):
        shutil.copy(MODEL / name, public / "model" / name)
    for name, (inputs, outputs) in HALVES.items():
        path = public / "model" / name
        extract_model(str(MODEL / "model.onnx"), str(path), inputs, outputs)
        graph = onnx.load(path)
        kept = [item for item in graph.graph.initializer if item.name not in inputs]  # no defaults: all are given
        del graph.graph.initializer[:]
        graph.graph.initializer.extend(kept)
        onnx.save(graph, path)
    for clip in (ROOT / "examples").glob("*.wav"):
        shutil.copy(clip, public / "examples" / clip.name)


if __name__ == "__main__":
    main()
