"""Dynamic batching: requests that wait together run together, and each gets its own answer or error."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from emofocus.serving.batching import DynamicBatcher


class Pool(ThreadPoolExecutor):
    """One thread, whose results are kept."""

    def __init__(self) -> None:
        super().__init__(1)
        self.runs: list[Future[Any]] = []

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        self.runs.append(super().submit(*arguments, **options))
        return self.runs[-1]


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool() as pool:
        yield pool


def hold(pool: Pool) -> Event:
    """Keep the thread busy until the event is set."""
    event = Event()
    pool.submit(event.wait, 30)
    return event


def batcher_of(pool: Pool, batches: list[list[int]], most: int = 4) -> "DynamicBatcher[int, int]":
    def run(batch: Sequence[int]) -> list[int]:
        batches.append(list(batch))
        return [10 // number for number in batch]

    return DynamicBatcher(pool, run, lambda batch, _: len(batch) < most)


def test_requests_that_wait_run_together_in_their_order(pool: Pool) -> None:
    batches: list[list[int]] = []
    batcher, busy = batcher_of(pool, batches), hold(pool)
    answers = [batcher.submit(number) for number in range(1, 7)]
    busy.set()
    assert [answer.result(10) for answer in answers] == [10, 5, 3, 2, 2, 1]
    assert batches == [[1, 2, 3, 4], [5, 6]]


def test_a_cancelled_request_is_left_out_of_its_batch(pool: Pool) -> None:
    batches: list[list[int]] = []
    batcher, busy = batcher_of(pool, batches), hold(pool)
    answers = [batcher.submit(number) for number in range(1, 5)]
    assert answers[0].cancel()
    assert answers[2].cancel()
    busy.set()
    assert [answers[1].result(10), answers[3].result(10)] == [5, 2]
    assert batches == [[2, 4]]


def test_an_error_reaches_each_request_of_its_batch_and_no_other(pool: Pool) -> None:
    batcher, busy = batcher_of(pool, [], most=2), hold(pool)
    bad, same, other = (batcher.submit(number) for number in (0, 1, 2))
    busy.set()
    for answer in (bad, same):
        with pytest.raises(ZeroDivisionError):
            answer.result(10)
    assert other.result(10) == 5


def test_too_few_answers_are_an_error_and_nobody_waits_forever(pool: Pool) -> None:
    answer = DynamicBatcher(pool, lambda _: [], lambda _, __: True).submit(1)
    with pytest.raises(RuntimeError, match="0 answers to 1 requests"):
        answer.result(10)


def test_an_exit_is_not_swallowed(pool: Pool) -> None:
    def leave(_: Sequence[int]) -> list[int]:
        raise SystemExit(3)

    answer: Future[int] = DynamicBatcher(pool, leave, lambda _, __: True).submit(1)
    with pytest.raises(SystemExit):
        answer.result(10)
    with pytest.raises(SystemExit):
        pool.runs[-1].result(10)
