"""Runs of a made-up corpus, as `emofocus crossval` writes them."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

from emofocus.splits.folds import Fold, Folds
from emofocus.training.results import averages, measure_rows

CLASSES = ["angry", "happy", "sad"]
SPEAKERS = [f"{number:02d}" for number in range(1, 7)]
EACH = 12
FOLDS = 3


def write_result(
    root: Path, protocol: str = "speaker", model: str = "bmhsa", seed: int = 0, right: float = 0.5, done: int = FOLDS
) -> Path:
    """One result of a made-up corpus, as `crossval` writes it."""
    folder = root / "made" / protocol / f"{model}-tiny" / f"seed{seed}"
    generator = np.random.default_rng([seed, len(model), len(protocol)])
    files = [f"{speaker}/{speaker}-{number:02d}.wav" for speaker in SPEAKERS for number in range(EACH)]
    rows, parts = [], []
    for number, file in enumerate(files):
        label = number % len(CLASSES)
        scores = generator.dirichlet(np.ones(3)).round(5)
        hit = generator.random() < right
        best = int(scores.argmax())
        scores[[best, label if hit else (label + 1) % 3]] = scores[[label if hit else (label + 1) % 3, best]]
        speaker = file[:2]
        group = number % FOLDS if protocol == "random" else int(speaker) % FOLDS
        row = {"fold": str(group), "file": file, "speaker": speaker, "label": CLASSES[label]}
        row["prediction"] = CLASSES[int(scores.argmax())]
        rows.append(row | {f"p_{name}": f"{p:.5f}" for name, p in zip(CLASSES, scores, strict=True)})
    for fold in range(FOLDS):
        kept = {"test": (fold,), "valid": ((fold + 1) % FOLDS,), "train": ((fold + 2) % FOLDS,)}
        parts.append(
            {n: [r["file"][:-4] for r in rows if int(r["fold"]) in kept[n]] for n in ("train", "valid", "test")}
        )
    write(folder, rows, parts, protocol, model, seed, done)
    return folder


def write(folder: Path, rows: list, parts: list, protocol: str, model: str, seed: int, done: int) -> None:
    folder.mkdir(parents=True)
    rows = sorted((row for row in rows if int(row["fold"]) < done), key=lambda row: row["fold"])
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    entries = []
    for number in range(done):
        own = [row for row in rows if row["fold"] == str(number)]
        figures = {name: round(value, 6) for name, value in measure_rows(own, CLASSES)._asdict().items()}
        sizes = {name: len(keys) for name, keys in parts[number].items()}
        history = [[1.1, 0.3, 0.3], [0.9, 0.5, 0.5]]
        entries.append({"fold": number, **sizes, "best_epoch": 2, **figures, "history": history})
    named = {"name": protocol, "note": "a note", "folds": FOLDS, "digest": digest(parts), "selection": "validation"}
    summary = {"corpus": "made", "utterances": len(SPEAKERS) * EACH, "classes": CLASSES, "model": model}
    summary |= {"recipe": "tiny", "recipe_settings": {"epochs": 2}, "parameters": 1000, "protocol": named, "seed": seed}
    summary |= {"audit": {"text": 2}, "folds": entries, **averages(entries)}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "folds.json").write_text(json.dumps({"folds": parts}))


def digest(parts: list[dict[str, list[str]]]) -> str:
    """As `crossval` computes it."""
    keys = sorted({key for part in parts for keys in part.values() for key in keys})
    place = {key: position for position, key in enumerate(keys)}
    folds = [Fold.of(**{name: [place[key] for key in part[name]] for name in part}) for part in parts]
    table = pl.DataFrame({"key": keys})
    return Folds("", "", False, 0, tuple(folds)).digest(SimpleNamespace(table=table))  # type: ignore[arg-type]


def change(path: Path, edit: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
