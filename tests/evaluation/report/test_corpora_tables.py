"""Results on several corpora: four and all classes by test corpus, language and sex, from the predictions alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from emofocus.evaluation.report import write_report
from emofocus.evaluation.report.corpora_tables import details, overview
from emofocus.evaluation.report.entries import group_results
from emofocus.evaluation.results import ResultError, read_results
from emofocus.training.results import averages, measure_rows
from helpers.runs import change, digest

CLASSES = ["neutral", "happy", "sad", "angry", "fearful"]
HELD = {"first": CLASSES, "second": CLASSES[:4]}


def write_several(root: Path, seed: int = 0) -> Path:
    """A result of `loco` on two made-up corpora, with random probabilities."""
    folder = root / "multi" / "loco" / "toy-tiny" / f"seed{seed}"
    generator = np.random.default_rng(seed)
    rows = []
    for fold, (name, classes) in enumerate(HELD.items()):
        for number in range(80):
            scores = generator.dirichlet(np.ones(len(CLASSES))).round(5)
            row = {"fold": str(fold), "file": f"{name}/{number:03d}.wav", "speaker": f"{name}/{number % 8}"}
            row |= {"corpus": name, "gender": ("female", "male")[number % 2], "language": name[:2]}
            row |= {"label": classes[number // 2 % len(classes)], "prediction": CLASSES[int(scores.argmax())]}
            rows.append(row | {f"p_{label}": f"{p:.5f}" for label, p in zip(CLASSES, scores, strict=True)})
    keys = {name: [row["file"][:-4] for row in rows if row["corpus"] == name] for name in HELD}
    parts = [
        {"train": keys[other][20:], "valid": keys[other][:20], "test": keys[name]}
        for name, other in (("first", "second"), ("second", "first"))
    ]
    folder.mkdir(parents=True)
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    entries = []
    for fold, part in enumerate(parts):
        figures = measure_rows([row for row in rows if row["fold"] == str(fold)], CLASSES)._asdict()
        sizes = {name: len(part[name]) for name in part}
        entries.append({"fold": fold, **sizes, **{name: round(value, 6) for name, value in figures.items()}})
    corpora = {
        name: {"utterances": 80, "speakers": 8, "classes": classes, "only_tested": False}
        for name, classes in HELD.items()
    }
    protocol = {"name": "loco", "note": "a note", "folds": 2, "digest": digest(parts), "selection": "validation"}
    summary = {"corpus": "first+second", "corpora": corpora, "utterances": 160, "classes": CLASSES, "model": "toy"}
    summary |= {"recipe": "tiny", "recipe_settings": {"epochs": 2}, "parameters": 10, "protocol": protocol}
    summary |= {"seed": seed, "audit": {}, "folds": entries, **averages(entries)}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "folds.json").write_text(json.dumps({"folds": parts}))
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def ua_of_four(rows: list[dict[str, str]]) -> float:
    four = CLASSES[:4]
    recalls = []
    for label in four:
        own = [row for row in rows if row["label"] == label]
        answers = [max(four, key=lambda name: float(row[f"p_{name}"])) for row in own]
        recalls.append(np.mean([answer == label for answer in answers]))
    return float(np.mean(recalls))


def test_figures_of_a_test_corpus_are_those_of_its_predictions(tmp_path: Path) -> None:
    folder = write_several(tmp_path)
    (result,) = read_results(tmp_path)
    for name in HELD:
        rows = [row for row in rows_of(folder) if row["corpus"] == name]
        chosen = result.groups["corpus"] == name
        assert result.figures_of(chosen, CLASSES[:4])[1] == pytest.approx(ua_of_four(rows))
        assert result.figures_of(chosen)[1] == pytest.approx(measure_rows(rows, CLASSES).ua)
        women = chosen & (result.groups["gender"] == "female")
        rows = [row for row in rows if row["gender"] == "female"]
        assert result.figures_of(women, CLASSES[:4])[1] == pytest.approx(ua_of_four(rows))


def test_the_overview_shows_four_and_all_classes_and_random_answers(tmp_path: Path) -> None:
    folder = write_several(tmp_path)
    (entry,) = group_results(read_results(tmp_path))
    shown = "\n".join(overview([entry]))
    rows = {name: [row for row in rows_of(folder) if row["corpus"] == name] for name in HELD}
    cells = [f"{100 * ua_of_four(own):.1f} / {100 * measure_rows(own, CLASSES).ua:.1f}" for own in rows.values()]
    assert f"| `toy`, `tiny` (1 seed) | `loco` | {cells[0]} | {cells[1]} |" in shown
    assert "| random answers (expected) |  | 25.0 / 20.0 | 25.0 / 20.0 | 25.0 / 20.0 |" in shown


def test_details_name_language_and_sex_of_each_corpus(tmp_path: Path) -> None:
    write_several(tmp_path)
    write_several(tmp_path, seed=1)
    (entry,) = group_results(read_results(tmp_path))
    (shown,) = details(entry)
    assert "| `first` | fi | 80 |" in shown
    assert "| `second` | se | 80 |" in shown
    assert " ± " in shown, "two seeds"


def test_a_report_holds_the_tables_and_recomputes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = write_several(tmp_path / "results")
    write_report(tmp_path / "results", tmp_path / "results.md")
    text = (tmp_path / "results.md").read_text()
    assert "### Each test corpus: UA % of four classes / of all" in text
    assert "women − men" in text

    def spoil(summary: dict[str, list[dict[str, float]]]) -> None:
        summary["folds"][0]["ua"] += 0.01

    change(folder / "summary.json", spoil)
    with pytest.raises(ResultError, match=r"but predictions\.csv gives"):
        write_report(tmp_path / "results", tmp_path / "results.md")
