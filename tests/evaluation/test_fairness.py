"""Thresholds of fairness: what a model that answers at random shows at most."""

import numpy as np
import pytest

from emofocus.evaluation.fairness import SIMULATIONS, chance, gaps, random_answers, thresholds


def test_a_random_model_answers_each_class_alike_and_no_other() -> None:
    drawn = random_answers(np.array([100, 0, 300]), np.array([True, True, False]), [0])
    assert drawn.shape == (SIMULATIONS, 3, 3)
    assert (drawn.sum(axis=2) == [100, 0, 300]).all()
    assert (drawn[:, :, 2] == 0).all()
    assert drawn[:, 0, 0].mean() == pytest.approx(50, abs=1)


def test_chance_is_one_over_the_number_of_classes() -> None:
    drawn = chance(np.full(8, 40), np.ones(8, dtype=bool))
    assert drawn.mean(axis=0)[:2] == pytest.approx([1 / 8, 1 / 8], abs=0.002)


def test_gaps_are_those_of_the_classes_that_a_group_has() -> None:
    whole = np.array([[8, 2], [5, 5]])
    found = gaps(np.array([[2, 2], [0, 0]]), whole)
    assert found.ua == pytest.approx(0.5 - 0.8)
    assert found.recall[0] == pytest.approx(0.5 - 0.8)
    assert np.isnan(found.recall[1])
    assert found.precision == pytest.approx([1 - 8 / 13, 0 - 5 / 7])


def test_thresholds_shrink_as_groups_grow_and_are_the_same_each_time() -> None:
    small, large = (thresholds(np.full((2, 4), n), np.ones(4, dtype=bool)) for n in (10, 1000))
    assert large[0].ua < small[0].ua / 5
    again = thresholds(np.full((2, 4), 10), np.ones(4, dtype=bool))
    assert [limit.ua for limit in again] == [limit.ua for limit in small]


def test_a_thousand_utterances_let_ua_differ_by_three_points() -> None:
    """Two groups of four classes, 250 utterances each."""
    limits = thresholds(np.full((2, 4), 250), np.ones(4, dtype=bool))
    assert 0.02 < limits[0].ua < 0.04


def test_a_class_that_nobody_speaks_has_no_threshold() -> None:
    limits = thresholds(np.array([[10, 10, 0], [10, 10, 0]]), np.ones(3, dtype=bool))
    assert np.isnan(limits[0].recall).tolist() == [False, False, True]
