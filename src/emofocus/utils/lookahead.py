"""Bounded look-ahead: threads work on the next items while the results before them are used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    ahead: int | None = None,
    eager: bool = False,
    cancel: bool = True,
) -> Iterator[Result]:
    """Results of a function in the order of its items, from threads that work a bounded number of items ahead.

    Args:
        function: Called with each item, in any of the threads. Its exception is raised in place of the result.
        items: Taken no further than ``ahead`` items before the result that is given.
        threads: Number of threads.
        ahead: Items under way, besides the one whose result is given next; as many as there are threads by default.
        eager: Whether to give a result as soon as it is there. Otherwise a result is given once ``ahead`` items behind
            it are under way, so that threads work while the result is used.
        cancel: Whether items that no thread has begun are dropped when the consumer stops early or an item fails.
    """
    from concurrent.futures import ThreadPoolExecutor  # imported here: recognizing one clip starts without it

    ahead = threads if ahead is None else ahead
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead or (eager and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=cancel)
