"""Measures read from a folder, and their means with intervals."""

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

MeasureRow = dict[str, str]
"""A row of one of the files of measures."""

Array = NDArray[np.float64]

FILES = (UTTERANCES, HEADS, FAITHFULNESS)
ORDER = ("bmhsa", "-fa-", "-ca-", "-faca-")
"""Parts of model names in the order of tables, which is that of the paper's ablation."""


@dataclass(frozen=True)
class ModelMeasures:
    """Measures of one model.

    Attributes:
        name: Name of the model and its recipe.
        folds: Numbers of the measured folds.
        utterances: Rows of `utterances.csv` of all folds.
        heads: Rows of `heads.csv` of all folds.
        faithful: Rows of `faithfulness.csv` of all folds.
    """

    name: str
    folds: tuple[int, ...]
    utterances: tuple[MeasureRow, ...]
    heads: tuple[MeasureRow, ...]
    faithful: tuple[MeasureRow, ...]

    def column(self, name: str) -> Array:
        """A measure of each utterance (U,)."""
        return np.array([float(row[name]) for row in self.utterances])

    @property
    def speakers(self) -> list[str]:
        """Speaker of each utterance (U,)."""
        return [row["speaker"] for row in self.utterances]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each prediction is right (U,)."""
        return np.array([row["label"] == row["prediction"] for row in self.utterances])

    @cached_property
    def draws(self) -> Array:
        """Resampled means of all measures and their nulls: (R, 2 · measures)."""
        columns = np.column_stack([self.column(name) for name in self.columns])
        return resampled_means(columns, self.speakers)

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `draws`."""
        return [*MEASURES, *(f"{name}_null" for name in MEASURES)]

    def figure(self, make: Callable[[dict[str, Any]], Any]) -> Difference:
        """Figure computed from the means of the measures, with its interval.

        Args:
            make: Means by name of the measure, as numbers or as draws (R,) → the figure.
        """
        true = make({name: self.column(name).mean() for name in self.columns})
        drawn = make(dict(zip(self.columns, self.draws.T, strict=True)))
        return difference_of(float(true), drawn)

    def curves(self, ranking: str, kind: str) -> Array:
        """Probabilities of each utterance from no frame to all frames: (U', shares + 2)."""
        ends = ("whole", "nothing") if kind == "deletion" else ("nothing", "whole")
        names = [ends[0], *(f"{ranking}_{kind}_{share:g}" for share in SHARES), ends[1]]
        return np.array([[float(row[name]) for name in names] for row in self.faithful])


def read_measures(folder: Path) -> list[ModelMeasures]:
    """Measures of all models on the folds that all of them have, in the order of the paper's ablation.

    Raises:
        ConfigError: No fold has been measured for all models.
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


def _measured(model: Path, folds: Sequence[int]) -> ModelMeasures:
    files = [[row for fold in folds for row in _rows(model / f"fold-{fold}" / name)] for name in FILES]
    return ModelMeasures(model.name, tuple(folds), *map(tuple, files))


def _rows(path: Path) -> list[MeasureRow]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
