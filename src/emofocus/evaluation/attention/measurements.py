"""The measures that lie in a folder, and figures made of them with their intervals."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofocus.errors import ConfigError
from emofocus.evaluation.attention.alignment import MEASURES
from emofocus.evaluation.attention.faithfulness import SHARES
from emofocus.evaluation.attention.measure import FAITHFULNESS, HEADS, UTTERANCES
from emofocus.metrics.statistics import Difference, difference_of, resampled_means

Row = dict[str, str]
Array = NDArray[np.float64]

FILES = (UTTERANCES, HEADS, FAITHFULNESS)
ORDER = ("bmhsa", "-fa-", "-ca-", "-faca-")
"""Of models in tables: the paper's ablation."""


@dataclass(frozen=True)
class Measured:
    """What was measured of one model.

    Attributes:
        name: The model, and the recipe where several share it.
        folds: Numbers of the folds that are there.
        utterances: Lines of all folds' `utterances.csv`.
        heads: Lines of all folds' `heads.csv`.
        faithful: Lines of all folds' `faithfulness.csv`.
    """

    name: str
    folds: tuple[int, ...]
    utterances: tuple[Row, ...]
    heads: tuple[Row, ...]
    faithful: tuple[Row, ...]

    def column(self, name: str) -> Array:
        """A measure of each utterance (U,)."""
        return np.array([float(row[name]) for row in self.utterances])

    @property
    def speakers(self) -> list[str]:
        """Who speaks (U,)."""
        return [row["speaker"] for row in self.utterances]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each utterance was recognized (U,)."""
        return np.array([row["label"] == row["prediction"] for row in self.utterances])

    @cached_property
    def draws(self) -> Array:
        """Resampled means of all measures and their nulls: (R, 2 · measures)."""
        columns = np.column_stack([self.column(name) for name in self.columns])
        return resampled_means(columns, self.speakers)

    @property
    def columns(self) -> list[str]:
        """Of `draws`."""
        return [*MEASURES, *(f"{name}_null" for name in MEASURES)]

    def figure(self, make: Callable[[dict[str, Any]], Any]) -> Difference:
        """Something made of the measures' means, with its interval."""
        true = make({name: self.column(name).mean() for name in self.columns})
        drawn = make(dict(zip(self.columns, self.draws.T, strict=True)))
        return difference_of(float(true), drawn)

    def curves(self, ranking: str, kind: str) -> Array:
        """Probabilities of each utterance from none to all frames: (U', shares + 2)."""
        ends = ("whole", "nothing") if kind == "deletion" else ("nothing", "whole")
        names = [ends[0], *(f"{ranking}_{kind}_{share:g}" for share in SHARES), ends[1]]
        return np.array([[float(row[name]) for name in names] for row in self.faithful])


def read_measures(folder: Path) -> list[Measured]:
    """All models' measures of the folds that all of them have, in the order of the paper's ablation.

    Raises:
        ConfigError: There are none.
    """
    finished: dict[str, set[int]] = {}
    for path in folder.glob(f"*/fold-*/{HEADS}"):
        finished.setdefault(path.parts[-3], set()).add(int(path.parts[-2].removeprefix("fold-")))
    folds = sorted(set.intersection(*finished.values())) if finished else []
    if not folds:
        raise ConfigError(
            f"{folder} holds no measures of attention that {len(finished) or 'any'} models have of a fold"
        )
    names = sorted(
        finished, key=lambda name: (next((i for i, end in enumerate(ORDER) if end in name), len(ORDER)), name)
    )
    return [_measured(folder / name, folds) for name in names]


def _measured(model: Path, folds: Sequence[int]) -> Measured:
    files = [[row for fold in folds for row in _rows(model / f"fold-{fold}" / name)] for name in FILES]
    return Measured(model.name, tuple(folds), *map(tuple, files))


def _rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
