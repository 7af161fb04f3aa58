"""What a few clips of one voice bring: a model before and after fine-tuning, on other clips of the same voice.

Run: ``python benchmarks/fine_tuning.py --corpus emodb --root DIRECTORY --clips 20 --out OUT``. Each speaker is learned
by itself, as by ``emofocus train --init MODEL --folds``: so many clips, of all classes in turn, of which every fifth
validates; all others of the speaker are the test part, which is scored once. Before, the model has to choose among the
same classes (``--classes model`` leaves out those that it lacks; ``own`` takes them, and they cannot be right before).
Prints Markdown, and writes ``report.md``, ``predictions.csv`` and the clips of each part below ``--out``.

The shipped model has never heard EmoDB, EMOVO or nEMO. Speakers of such corpora say the same few sentences in every
emotion, so the sentences of the test part are learned ones.
"""

import argparse
import csv
import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofocus.config import load_recipe
from emofocus.corpora import Corpus, read_corpus
from emofocus.data.cache import Cache
from emofocus.data.datasets import SegmentDataset
from emofocus.data.feature_store import CachedSpeech, Speech
from emofocus.metrics.calibration import negative_log_likelihood, probabilities
from emofocus.metrics.statistics import Predictions, compare, intervals
from emofocus.splits.folds import Fold, Folds, write_folds
from emofocus.training.experiment import Experiment, run_fold
from emofocus.training.fabric import make_fabric
from emofocus.training.fine_tuning import StartingModel, with_model_classes
from emofocus.training.loop import mean_logits
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.utils.atomic import write_text
from emofocus.utils.markdown import table

Array = NDArray[np.float32]

VALIDATION = 5
"""Every so many clips to learn from, one validates."""


def some_of(corpus: Corpus, speakers: int | None, most: int | None, seed: int) -> Corpus:
    """The first so many speakers of a corpus, with at most so many clips each, chosen by a hash of their names."""
    keys = corpus.table["key"].to_list()
    chosen: list[int] = []
    for speaker in sorted(set(corpus.table["speaker"]))[:speakers]:
        mine = np.flatnonzero((corpus.table["speaker"] == speaker).to_numpy()).tolist()
        mine.sort(key=lambda number: hashlib.sha256(f"{seed}/{keys[number]}".encode()).digest())
        chosen += mine[:most]
    return replace(corpus, table=corpus.table[sorted(chosen)])


def fold_of(corpus: Corpus, speaker: str, clips: int, seed: int) -> Fold:
    """Clips of a speaker: those to learn from, of all classes in turn, those that validate, and the rest."""
    keys, labels = corpus.table["key"].to_list(), corpus.labels()
    mine = np.flatnonzero((corpus.table["speaker"] == speaker).to_numpy()).tolist()
    mine.sort(key=lambda number: hashlib.sha256(f"{seed}/{keys[number]}".encode()).digest())
    turns = {label: [number for number in mine if labels[number] == label] for label in sorted(set(labels[mine]))}
    dealt = [own[turn] for turn in range(len(mine)) for own in turns.values() if turn < len(own)]
    learned = dealt[:clips]
    valid = learned[VALIDATION - 1 :: VALIDATION]
    return Fold.of([number for number in learned if number not in valid], valid, dealt[clips:])


def experiment_of(given: argparse.Namespace, corpus: Corpus, seed: int) -> Experiment:
    """A fold for each speaker."""
    start = StartingModel.load(given.init, given.freeze)
    corpus = with_model_classes(corpus, start) if given.classes == "model" else corpus
    corpus = some_of(corpus, given.speakers, given.most, seed)
    speakers = sorted(set(corpus.table["speaker"]))
    folds = tuple(fold_of(corpus, speaker, given.clips, seed) for speaker in speakers)
    note = f"{given.clips} clips of one speaker are learned, and the others of this speaker are tested"
    name, recipe = load_recipe(given.recipe or ExperimentOptions(init=given.init, freeze=given.freeze).chosen_recipe)
    dealt = Folds(f"voice{given.clips}", note, True, seed, folds)
    return Experiment(corpus, start.config.model, name, start.recipe(recipe), dealt, seed, start=start)


def before(experiment: Experiment, speech: Sequence[Speech], fold: Fold) -> Array:
    """Probabilities of a test part before training (P, C); classes that the model lacks have none."""
    assert experiment.start is not None
    own = experiment.start.config
    part = SegmentDataset(speech, experiment.corpus.labels(), experiment.recipe.segment, fold.test)
    logits = mean_logits(deepcopy(experiment.network), part)
    logits[:, [label not in own.label2id for label in experiment.corpus.classes]] = -np.inf
    return np.asarray(probabilities(logits, own.temperature), np.float32)


def measure(given: argparse.Namespace, seed: int) -> tuple[Experiment, list[dict[str, object]]]:
    """One line for each test clip, with both answers."""
    corpus = read_corpus(given.corpus, given.root, given.labels)
    experiment = experiment_of(given, corpus, seed)
    speech = CachedSpeech(experiment.corpus, Cache(given.cache)).speech(experiment.recipe)
    fabric = make_fabric(FabricOptions(threads=1, devices=1), given.out)
    lines: list[dict[str, object]] = []
    for number, fold in enumerate(experiment.folds):
        first = before(experiment, speech[0], fold)
        _, rows = run_fold(experiment, number, speech, given.out / f"seed{seed}" / f"fold-{number}", fabric)
        for row, chances in zip(rows, first, strict=True):
            names = experiment.corpus.classes
            line = {"seed": seed, **row, "before": names[int(chances.argmax())]}
            lines.append(line | {f"before_{name}": f"{p:.5f}" for name, p in zip(names, chances, strict=True)})
    write_folds(experiment.folds, experiment.corpus, given.out / f"seed{seed}" / "folds.json")
    return experiment, lines


def predictions_of(experiment: Experiment, lines: Sequence[dict[str, object]], column: str) -> Predictions:
    """One of the two answers to all test clips."""
    lines, classes = sorted(lines, key=lambda line: str(line["file"])), list(experiment.corpus.classes)
    numbers = (np.array([classes.index(str(line[name])) for line in lines]) for name in ("label", column))
    labels, answers = numbers
    return Predictions(
        name=column,
        classes=tuple(classes),
        protocol=experiment.protocol,
        digest=experiment.folds.digest(experiment.corpus),
        utterances=tuple(str(line["file"]) for line in lines),
        speakers=tuple(str(line["speaker"]) for line in lines),
        labels=labels,
        predictions=answers,
    )


def report(experiment: Experiment, lines: Sequence[dict[str, object]]) -> str:
    """Both answers by speaker and of all, as Markdown."""
    rows = []
    for speaker in sorted({str(line["speaker"]) for line in lines}):
        mine = [line for line in lines if line["speaker"] == speaker]
        shares = [100 * np.mean([line["label"] == line[name] for line in mine]) for name in ("before", "prediction")]
        rows.append([speaker, str(len(mine)), *(f"{share:.1f}" for share in shares)])
    first, second = (predictions_of(experiment, lines, name) for name in ("before", "prediction"))
    found, compared = [intervals([item]) for item in (first, second)], compare(first, second)
    text = table(["speaker", "test clips", "WA before", "WA after"], rows, right=1)
    for name, change in (("wa", compared.wa), ("ua", compared.ua)):
        values = [shown(item[name].value, item[name].low, item[name].high) for item in found]
        text += (
            f"\n{name.upper()} {values[0]} → {values[1]}: {100 * change.value:+.1f} "
            f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}], p = {change.p:.4f}"
        )
    losses = [loss_of(experiment, lines, prefix) for prefix in ("before_", "p_")]
    return f"{text}\nnegative log-likelihood {losses[0]:.2f} → {losses[1]:.2f}\n"


def shown(value: float, low: float, high: float) -> str:
    """A share and its interval in percent."""
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def loss_of(experiment: Experiment, lines: Sequence[dict[str, object]], prefix: str) -> float:
    """Mean negative log-likelihood of the true classes."""
    classes = list(experiment.corpus.classes)
    chances = np.array([[float(str(line[f"{prefix}{name}"])) for name in classes] for line in lines])
    labels = np.array([classes.index(str(line["label"])) for line in lines])
    return negative_log_likelihood(np.maximum(chances, 1e-5), labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--labels")
    parser.add_argument("--init", default="shipped")
    parser.add_argument("--recipe", help="By default that of emofocus train.")
    parser.add_argument("--freeze", action="store_true")
    parser.add_argument("--classes", choices=("own", "model"), default="model")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--speakers", type=int, help="The first so many speakers; all by default.")
    parser.add_argument("--most", type=int, help="At most so many clips of each speaker; all by default.")
    parser.add_argument("--seeds", type=int, default=1, help="Repetitions, each with other clips to learn from.")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    for seed in range(given.seeds):
        experiment, lines = measure(given, seed)
        path = given.out / f"seed{seed}" / "predictions.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
        text = report(experiment, lines)
        write_text(path.with_name("report.md"), text)
        print(f"## seed {seed}\n\n{text}", flush=True)


if __name__ == "__main__":
    main()
