"""Bounded look-ahead: order, bounds, errors, and an early end."""

import threading
import time
from collections.abc import Iterator

import pytest

from emofocus.utils.lookahead import map_ahead


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(map_ahead(slow_first, range(20), threads=4)) == [number**2 for number in range(20)]


@pytest.mark.parametrize(("ahead", "expected"), [(None, 3), (1, 2), (7, 8)])
def test_items_are_taken_no_further_than_the_bound(ahead: int | None, expected: int) -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = map_ahead(lambda number: number, endless(), threads=2, ahead=ahead)
    assert next(results) == 0
    assert len(taken) == expected
    results.close()


def test_eager_results_do_not_wait_for_the_items_behind_them() -> None:
    def items() -> Iterator[int]:
        yield 0
        time.sleep(0.05)  # by now the first result is there, which the next item finds
        yield 1
        pytest.fail("the first result waited for a third item")

    results = map_ahead(lambda number: number, items(), threads=2, ahead=9, eager=True)
    assert next(results) == 0
    results.close()


@pytest.mark.parametrize("cancel", [True, False])
def test_what_has_not_begun_is_dropped_only_on_request(cancel: bool) -> None:
    begun, gate = [], threading.Event()

    def wait(number: int) -> int:
        begun.append(number)
        if number:
            gate.wait(5)
        return number

    results = map_ahead(wait, range(100), threads=1, ahead=3, cancel=cancel)
    assert next(results) == 0
    threading.Timer(0.05, gate.set).start()
    results.close()
    assert set(begun) <= {0, 1} if cancel else begun == [0, 1, 2, 3]


def test_an_error_takes_the_place_of_its_result() -> None:
    results = map_ahead(lambda number: 1 // number, [1, 0, 1], threads=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
