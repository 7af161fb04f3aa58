"""Dynamic batching: requests that arrive while the threads are busy run together as one batch.

`clip_batching` and `stream_batching` use it. A request waits for a free thread and for nothing else, so a service with
one client has no delay and a service with many has full batches.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from threading import Lock
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class DynamicBatcher(Generic[Request, Answer]):
    """A queue of requests that a pool of threads runs in batches; safe to use from any thread.

    Args:
        pool: Threads that run the batches; several batchers may share them.
        run: Batch → one answer for each request, in the same order.
        fits: Whether a request may join a batch, which is never empty. A batch is the longest waiting request and
            those directly behind it that fit.
    """

    def __init__(
        self,
        pool: Executor,
        run: Callable[[Sequence[Request]], Sequence[Answer]],
        fits: Callable[[Sequence[Request], Request], bool],
    ) -> None:
        self._pool, self._run, self._fits = pool, run, fits
        self._queue: deque[tuple[Request, Future[Answer]]] = deque()
        self._lock = Lock()

    def submit(self, request: Request) -> Future[Answer]:
        """Queue a request.

        Returns:
            The answer to come, or the error that ended its batch. A request that is cancelled while it waits is not
            run.
        """
        answer: Future[Answer] = Future()
        self._queue.append((request, answer))
        self._pool.submit(self._run_next)
        return answer

    def _run_next(self) -> None:
        """Run the next batch; nothing if earlier batches took all requests."""
        requests, futures = self._take()
        if not requests:
            return
        try:
            answers = self._run(requests)
            if len(answers) != len(requests):
                raise RuntimeError(f"{len(answers)} answers to {len(requests)} requests")
        except BaseException as error:
            for future in futures:
                future.set_exception(error)
            if not isinstance(error, Exception):  # SystemExit and the like end more than this batch
                raise
        else:
            for future, answer in zip(futures, answers, strict=True):
                future.set_result(answer)

    def _take(self) -> tuple[list[Request], list[Future[Answer]]]:
        """The longest waiting request and those behind it that fit, with their futures."""
        requests: list[Request] = []
        futures: list[Future[Answer]] = []
        with self._lock:
            while self._queue:
                request, future = self._queue[0]
                if requests and not future.cancelled() and not self._fits(requests, request):
                    break
                self._queue.popleft()
                if future.set_running_or_notify_cancel():
                    requests.append(request)
                    futures.append(future)
        return requests, futures
