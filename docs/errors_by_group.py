"""Print the table of docs/responsible-use.md: who is recognized how well, out of committed predictions alone.

Run it from the root of the repository: ``python docs/errors_by_group.py``. UA is the mean of the recalls of the
classes, over all test utterances of a group. Speakers were never heard in training.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]

RUNS = {
    "RAVDESS, `actors5`, `compact-faca`": "ravdess/actors5/compact-faca-emofocus/seed0",
    "RAVDESS, `actors5` fold 0, `compact-faca` (shipped)": "ravdess/actors5/compact-faca-emofocus+offset-removed/seed0",
    "RAVDESS, `emobox6`, `compact-faca`": "ravdess/emobox6/compact-faca-emofocus/seed0",
    "RAVDESS, `actors5`, `encoder-faca`": "ravdess/actors5/encoder-faca-encoder/seed0",
    "RAVDESS, `emobox6`, `encoder-faca`": "ravdess/emobox6/encoder-faca-encoder/seed0",
    "EmoDB, `speaker`, `compact-faca`": "emodb/speaker/compact-faca-emofocus/seed0",
    "EmoDB, `speaker`, `encoder-faca`": "emodb/speaker/encoder-faca-encoder/seed0",
}
"""Name in the table → folder below results/."""

EMODB_MEN = {"03", "10", "11", "12", "15"}

Row = dict[str, str]


def is_man(run: str, speaker: str) -> bool:
    """Sex of a speaker: men have odd numbers in RAVDESS."""
    return int(speaker) % 2 == 1 if run.startswith("ravdess") else speaker in EMODB_MEN


def unweighted_accuracy(rows: Iterable[Row]) -> float:
    """Mean of the recalls of the classes, in percent."""
    right = defaultdict(list)
    for row in rows:
        right[row["label"]].append(row["label"] == row["prediction"])
    return 100 * sum(sum(found) / len(found) for found in right.values()) / len(right)


def row_of(name: str, run: str) -> str:
    """One row of the table."""
    with (ROOT / "results" / run / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    women = unweighted_accuracy(row for row in rows if not is_man(run, row["speaker"]))
    men = unweighted_accuracy(row for row in rows if is_man(run, row["speaker"]))
    speakers = sorted({row["speaker"] for row in rows})
    scores = [unweighted_accuracy(row for row in rows if row["speaker"] == speaker) for speaker in speakers]
    figures = (unweighted_accuracy(rows), women, men, min(scores), max(scores))
    return f"| {name} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |"


def table() -> str:
    """The table as Markdown."""
    head = (
        "| test speech, network | UA % | women | men | worst speaker | best speaker |\n|---|---:|---:|---:|---:|---:|\n"
    )
    return head + "".join(row_of(name, run) + "\n" for name, run in RUNS.items())


if __name__ == "__main__":
    print(table(), end="")
