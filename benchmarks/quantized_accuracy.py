"""Accuracy of a run's models in fewer bits: each fold's model is exported and answers its own test part.

Run: ``python benchmarks/quantized_accuracy.py RUN … --corpus ravdess --root DIRECTORY``, where RUN is the folder of a
cross-validation with its weights (``fold-0``, …). The corpus is that of the runs. Each fold is exported as
`emofocus export --int8 --fp16` does it; int8's ranges are calibrated on training speech. Prints Markdown: WA and UA of
float32, and the change in points and the share of equal answers of the other precisions, by fold and over folds.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emofocus.config import load_model_config
from emofocus.corpora import Corpus, read_corpus
from emofocus.export.model_directory import export_model
from emofocus.metrics.classification import measure
from emofocus.recognition.bulk import recognize_together
from emofocus.recognition.engine import PRECISION_FILES
from emofocus.recognition.recognizer import Recognizer
from emofocus.splits.protocols import make_folds

BATCH = 16


def answers(folder: Path, precision: str, corpus: Corpus, part: Sequence[int]) -> list[str]:
    """Label of each utterance of a part."""
    recognizer = Recognizer.from_pretrained(folder, threads=1, precision=precision)
    labels = []
    for start in range(0, len(part), BATCH):
        clips = [corpus.waveform(int(number)) for number in part[start : start + BATCH]]
        labels += [item.label for item in recognize_together(recognizer, clips)]
    return labels


def fold_figures(fold: Path, corpus: Corpus, given: argparse.Namespace) -> dict[str, tuple[float, float, float]]:
    """WA, UA and share of answers that equal those of float32, in percent, of each precision of a fold's model."""
    training = load_model_config(fold / "config.json").training
    seed = training.get("folds_seed", training["seed"])
    part = make_folds(corpus, training["protocol"], seed)[training["fold"]].test
    assert len(part) == training["test"], f"{fold} was not tested on this part"
    labels = [corpus.table["emotion"][int(number)] for number in part]
    with tempfile.TemporaryDirectory() as folder:
        export_model(fold, Path(folder), int8=True, fp16=given.fp16, corpus=given.corpus, root=given.root)
        chosen = [name for name, file in PRECISION_FILES.items() if (Path(folder) / file).is_file()]
        found = {name: answers(Path(folder), name, corpus, part) for name in chosen}
    figures = {}
    for name, said in found.items():
        metrics = measure(labels, said, corpus.classes)
        equal = float(np.mean([a == b for a, b in zip(said, found["fp32"], strict=True)]))
        figures[name] = (100 * metrics.wa, 100 * metrics.ua, 100 * equal)
    return figures


def row(name: str, figures: dict[str, tuple[float, float, float]]) -> str:
    """A line of the table."""
    wa, ua, _ = figures["fp32"]
    cells = [name, f"{wa:.2f}", f"{ua:.2f}"]
    for precision, (other_wa, other_ua, equal) in figures.items():
        if precision != "fp32":
            cells.append(f"{precision}: {other_wa - wa:+.2f} / {other_ua - ua:+.2f}, {equal:.1f} % equal")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print a table for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--fp16", action="store_true", help="Also in half precision.")
    given = parser.parse_args()
    corpus = read_corpus(given.corpus, given.root)
    for run in given.runs:
        print(f"\n{run}\n\n| fold | WA | UA | change of WA / UA |\n|---|---:|---:|---|", flush=True)
        folds = []
        for fold in sorted(run.glob("fold-*")):
            folds.append(fold_figures(fold, corpus, given))
            print(row(fold.name.removeprefix("fold-"), folds[-1]), flush=True)
        names = folds[0]
        means = {name: tuple(np.mean([item[name] for item in folds], axis=0)) for name in names}
        print(row("mean", means), flush=True)


if __name__ == "__main__":
    main()
