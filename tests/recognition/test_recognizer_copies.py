"""A recognizer can be copied and sent to other processes; the copy gives the same answers."""

import copy
import multiprocessing
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from emofocus import Prediction, Recognizer

CLIP = {"array": np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32), "sampling_rate": 16_000}


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    """With options that are not the defaults."""
    return Recognizer.from_pretrained(threads=1, threshold=0.7, hop=0.2, optimize_graph=False)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda item: pickle.loads(pickle.dumps(item))])
def test_a_copy_answers_alike(recognizer: Recognizer, duplicate: Callable[[Recognizer], Recognizer]) -> None:
    assert same(duplicate(recognizer)(CLIP), recognizer(CLIP))


def test_a_recognizer_travels_to_spawned_processes(recognizer: Recognizer) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.map(recognizer, [CLIP])
    assert same(found, recognizer(CLIP))


def test_a_recognizer_travels_through_joblib(recognizer: Recognizer) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    (found,) = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(recognizer)(clip) for clip in [CLIP])
    assert same(found, recognizer(CLIP))


def same(first: Prediction, second: Prediction) -> bool:
    return first.to_dict() == second.to_dict()
