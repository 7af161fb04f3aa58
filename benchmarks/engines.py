"""What engines and hops do to accuracy, on validation and test parts of every fold.

Run: ``python benchmarks/engines.py MODEL... --corpus ravdess --root DIR --out DIR``, with one model directory a fold,
as ``emofocus train --fold N`` writes them. Bytes are calibrated on each fold's training part. Writes
``predictions.csv``, with a column an engine, and ``engines.md``, which is made from it; ``--out DIR`` alone makes that
anew.
"""

import argparse
import csv
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emofocus.config import load_model_config
from emofocus.corpora import Corpus, read_corpus
from emofocus.export.model_directory import export_model
from emofocus.metrics.classification import measure
from emofocus.recognition.bulk import BATCH, recognize_together
from emofocus.recognition.recognizer import Recognizer
from emofocus.splits.protocols import make_folds
from emofocus.utils.atomic import write_text
from emofocus.utils.markdown import table

KEYS = ("fold", "part", "file", "speaker", "label")
VARIANTS = {
    "fp32": {},
    "int8": {"engine": "int8"},
    "fp16": {"engine": "fp16"},
    "fp32, hop 0.25 s": {"hop": 0.256},
    "fp32, hop 1 s": {"hop": 1.024},
    "fp32, hop 2 s": {"hop": 2.048},
}


def rows_of(model: Path, corpus: Corpus, root: Path) -> Iterator[dict[str, str]]:
    """What every variant answers to each utterance of a fold's validation and test parts."""
    told = load_model_config(model / "config.json").training
    fold = make_folds(corpus, told["protocol"], told["seed"])[told["fold"]]
    if (len(fold.train), len(fold.valid), len(fold.test)) != (told["train"], told["valid"], told["test"]):
        raise SystemExit(f"{model}: was trained on other folds")
    with tempfile.TemporaryDirectory() as scratch:
        export_model(model, Path(scratch), int8=True, fp16=True, corpus=corpus.name, root=root)
        ready = {name: Recognizer.from_pretrained(scratch, threads=1, **how) for name, how in VARIANTS.items()}
        for part in ("valid", "test"):
            numbers = getattr(fold, part).tolist()
            for start in range(0, len(numbers), BATCH):
                group = numbers[start : start + BATCH]
                waveforms = [corpus.waveform(number) for number in group]
                answers = {name: recognize_together(recognizer, waveforms) for name, recognizer in ready.items()}
                for place, number in enumerate(group):
                    item = corpus.utterances[number]
                    row = dict(zip(KEYS, (str(told["fold"]), part, item.file, item.speaker, item.emotion), strict=True))
                    yield row | {
                        name: f"{found[place].label} {found[place].scores[found[place].label]:.4f}"
                        for name, found in answers.items()
                    }


def report(rows: list[dict[str, str]]) -> str:
    """The table: mean over folds, and differences from the first variant."""
    names = [name for name in rows[0] if name not in KEYS]
    labels = sorted({row["label"] for row in rows})
    cells = []
    for name in names:
        line = [name]
        for part in ("valid", "test"):
            folds = defaultdict(list)
            for row in rows:
                if row["part"] == part:
                    folds[row["fold"]].append(row)
            ua = [_ua(each, name, labels) for each in folds.values()]
            difference = [_ua(each, name, labels) - _ua(each, names[0], labels) for each in folds.values()]
            line += [f"{100 * np.mean(ua):.2f}", "–" if name == names[0] else f"{100 * np.mean(difference):+.2f}"]
        tested = [row for row in rows if row["part"] == "test"]
        pairs = [(row[name].split(), row[names[0]].split()) for row in tested]
        same = np.mean([a[0] == b[0] for a, b in pairs])
        moved = np.mean([abs(float(a[1]) - float(b[1])) for a, b in pairs])
        cells.append([*line, f"{100 * same:.1f}", f"{moved:.4f}"])
    head = (
        *("engine", "validation UA %", "difference", "test UA %", "difference"),
        *("same answer %", "top probability differs by"),
    )
    return table(head, cells, right=1)


def _ua(rows: list[dict[str, str]], name: str, labels: list[str]) -> float:
    return measure([row["label"] for row in rows], [row[name].split()[0] for row in rows], labels).ua


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--corpus", default="ravdess")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    path = arguments.out / "predictions.csv"
    if arguments.models:
        corpus = read_corpus(arguments.corpus, arguments.root)
        rows = [row for model in arguments.models for row in rows_of(model, corpus, arguments.root)]
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    write_text(arguments.out / "engines.md", report(rows))
    print(report(rows), end="")


if __name__ == "__main__":
    main()
