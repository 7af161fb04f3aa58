"""A model on a pretrained encoder in fewer bits, several ways: answers of each fold's model on its own test part.

Run: ``python benchmarks/encoder_precisions.py FOLD … --corpus ravdess --root DIRECTORY``, where FOLD is a trained fold
(``fold-0``) of the corpus. Compared with `model.onnx` in float32: half precision; products on bytes whose ranges are
found when they run (what `emofocus export --int8` does) and calibrated on training speech; and weights of 8 and 4 bits
that are multiplied out (in blocks of 32, each with a scale), so that the arithmetic stays float32. Of the last two the
size is computed, without a file. Prints Markdown: size, WA, UA, the change of UA in points, the share of equal
answers, and milliseconds of the core's own time for a second of speech.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnx
from onnx import numpy_helper

from emofocus.audio.samples import Waveform
from emofocus.config import ModelConfig, load_model_config
from emofocus.corpora import Corpus, read_corpus
from emofocus.export import quantization
from emofocus.export.model_directory import CLIPS, training_part
from emofocus.export.onnx_graph import weighted
from emofocus.export.to_onnx import export
from emofocus.metrics.classification import measure
from emofocus.recognition.bulk import recognize_together
from emofocus.recognition.engine import PRECISION_FILES
from emofocus.recognition.recognizer import Recognizer
from emofocus.splits.protocols import make_folds

BATCH, BLOCK = 16, 32

Clips = Sequence[Waveform]


class Answers(NamedTuple):
    """Labels of a test part, milliseconds for a second of speech, and megabytes."""

    labels: list[str]
    milliseconds: float
    megabytes: float


def float32(source: Path, out: Path, config: ModelConfig, clips: Clips) -> None:
    """`model.onnx` as it is."""


def half(source: Path, out: Path, config: ModelConfig, clips: Clips) -> None:
    """`emofocus export --fp16`."""
    quantization.write_fp16(out, config, clips)
    (out / PRECISION_FILES["fp16"]).replace(source)


def dynamic(source: Path, out: Path, config: ModelConfig, clips: Clips) -> None:
    """`emofocus export --int8`."""
    quantization.write_int8(out, config, clips)
    (out / PRECISION_FILES["int8"]).replace(source)


def static(source: Path, out: Path, config: ModelConfig, clips: Clips) -> None:
    """As our own networks are: convolutions and products on bytes, with calibrated ranges."""
    with quantization._quietly():
        target = out / "static.onnx"
        quantization._quantize_statically(
            quantization._split(source), target, quantization._Clips(source, config, clips)
        )
    target.replace(source)


def weights(bits: int) -> Callable[[Path, Path, ModelConfig, Clips], None]:
    """Weights of products and convolutions rounded to some bits."""

    def write(source: Path, out: Path, config: ModelConfig, clips: Clips) -> None:
        graph = onnx.load(source)
        names = {name for node in weighted(graph, {"Conv", "MatMul", "Gemm"}) for name in node.input}
        for item in graph.graph.initializer:
            values = numpy_helper.to_array(item)
            if item.name in names and values.dtype == np.float32 and values.ndim > 1:
                item.CopyFrom(numpy_helper.from_array(rounded(values, bits), item.name))
        onnx.save(graph, source)

    return write


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Values as whole numbers of so many bits, with a scale for each block of `BLOCK`."""
    flat = np.pad(values.ravel(), (0, -values.size % BLOCK)).reshape(-1, BLOCK)
    largest = 2 ** (bits - 1) - 1
    scales = np.maximum(np.abs(flat).max(axis=1, keepdims=True), 1e-12) / largest
    whole = np.rint(flat / scales) * scales
    return whole.ravel()[: values.size].reshape(values.shape).astype(np.float32)


WAYS: dict[str, tuple[Callable[[Path, Path, ModelConfig, Clips], None], float | None]] = {
    "float32": (float32, None),
    "half precision": (half, None),
    "int8, ranges when it runs": (dynamic, None),
    "int8, calibrated ranges": (static, None),
    "weights of 8 bits": (weights(8), (8 + 16 / BLOCK) / 32),
    "weights of 4 bits": (weights(4), (4 + 16 / BLOCK) / 32),
}
"""Name → function that writes the graph, and the share of the size in float32 where that is computed."""


def answered(folder: Path, corpus: Corpus, part: Sequence[int]) -> tuple[list[str], float]:
    """Label of each utterance of a part, and milliseconds for a second of speech."""
    recognizer = Recognizer.from_pretrained(folder, threads=1, precision="fp32")
    labels, spent, seconds = [], 0.0, 0.0
    for start in range(0, len(part), BATCH):
        clips = [corpus.waveform(int(number)) for number in part[start : start + BATCH]]
        began = time.thread_time()
        labels += [item.label for item in recognize_together(recognizer, clips)]
        spent, seconds = spent + time.thread_time() - began, seconds + sum(map(len, clips)) / 16_000
    return labels, 1000 * spent / seconds


def answers(fold: Path, corpus: Corpus) -> Iterator[tuple[str, list[str], Answers]]:
    """For each way: its name, the true labels, and the answers of a fold's model."""
    config = load_model_config(fold / "config.json")
    training = config.training
    seed = training.get("folds_seed", training["seed"])
    part = make_folds(corpus, training["protocol"], seed)[training["fold"]].test
    known = training_part(corpus, config)
    clips = [corpus.waveform(int(number)) for number in known[:: max(1, len(known) // CLIPS)][:CLIPS]]
    true = [corpus.table["emotion"][int(number)] for number in part]
    for name, (write, share) in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / PRECISION_FILES["fp32"]
            export(fold, Path(folder))
            size = source.stat().st_size / 1e6
            write(source, Path(folder), load_model_config(Path(folder) / "config.json"), clips)
            size = source.stat().st_size / 1e6 if share is None else size * share
            yield name, true, Answers(*answered(Path(folder), corpus, part), size)


def main() -> None:
    """Print the table, over all folds together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folds", nargs="+", type=Path)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--root", type=Path)
    given = parser.parse_args()
    corpus = read_corpus(given.corpus, given.root)
    found: dict[str, list[Answers]] = {name: [] for name in WAYS}
    true: list[list[str]] = []
    for fold in given.folds:
        for name, labels, item in answers(fold, corpus):
            found[name].append(item)
            true += [labels] if name == "float32" else []
            print(f"<!-- {fold.name}, {name}: {np.mean(np.array(labels) == item.labels):.4f} -->", flush=True)
    print("| graph | MB | WA | UA | change of UA | same answers | ms a second |\n|---|---:|---:|---:|---:|---:|---:|")
    plain = [label for item in found["float32"] for label in item.labels]
    base = 0.0
    for name, items in found.items():
        figures = [measure(labels, item.labels, corpus.classes) for labels, item in zip(true, items, strict=True)]
        wa, ua = (100 * float(np.mean([getattr(item, key) for item in figures])) for key in ("wa", "ua"))
        base = ua if name == "float32" else base
        same = np.mean([a == b for a, b in zip(plain, (x for item in items for x in item.labels), strict=True)])
        speed, size = (float(np.mean([getattr(i, key) for i in items])) for key in ("milliseconds", "megabytes"))
        print(f"| {name} | {size:.1f} | {wa:.2f} | {ua:.2f} | {ua - base:+.2f} | {100 * same:.1f} % | {speed:.1f} |")


if __name__ == "__main__":
    main()
