"""Folds of any number of runs as one queue of Ray's tasks: what is done where they were asked for."""

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from emofocus.cluster.connection import Ray, absolute_if_path, connected, reason_of, version_and_host
from emofocus.cluster.dashboard import DONE, FAILED, WAITING, Board, Key, shown
from emofocus.cluster.fold_task import Heard, Resources, fold_there
from emofocus.data.feature_file import FeaturesFile
from emofocus.data.feature_store import SpeechSource
from emofocus.errors import ConfigError, EmofocusError
from emofocus.training.cross_validation import FoldResult, cross_validate
from emofocus.training.experiment import Experiment
from emofocus.training.fabric import make_fabric
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.training.setup import make_experiment
from emofocus.training.summary import Summary, print_summary
from emofocus.utils.atomic import replacing


@dataclass(frozen=True)
class Run:
    """One cross-validation among others.

    Attributes:
        experiment: What to run.
        source: Where its features come from here, for the audit.
        heard: Where nodes have them from; None for those that are sent along.
        out: Where results go.
        precision: Arithmetic of training.
    """

    experiment: Experiment
    source: SpeechSource
    heard: Heard | None
    out: Path
    precision: str = "32-true"

    @classmethod
    def of(
        cls, experiment: Experiment, source: SpeechSource, cache: Path | None, embeddings: str | None, out: Path
    ) -> "Run":
        """A run of what `make_experiment` returns."""
        heard = Heard(cache and cache.absolute(), embeddings and absolute_if_path(embeddings))
        return cls(experiment, source, None if isinstance(source, FeaturesFile) else heard, out.absolute())

    @property
    def name(self) -> str:
        """How the board calls it."""
        item = self.experiment
        return f"{item.corpus.name} {item.protocol} {item.model}-{item.recipe_name} seed {item.seed}"


def crossval_on_ray(address: str, options: ExperimentOptions, device: FabricOptions, out: Path, jobs: int = 1) -> None:
    """`emofocus crossval --ray`.

    Raises:
        ConfigError: An option that makes no sense there, or a cluster that cannot be had.
    """
    for option, value in (("--devices", (device.devices or 1) > 1), ("--jobs", jobs > 1), ("--log", device.log)):
        if value:
            raise ConfigError(
                f"{option} is for one machine: with --ray each fold is a task of --threads cores, or a GPU"
            )
    resources = Resources(device.accelerator, device.precision, device.threads or 1)
    experiment, source = make_experiment(options)
    (summary,) = run_all(address, [Run.of(experiment, source, options.cache, options.embeddings, out)], resources)
    if isinstance(summary, EmofocusError):
        raise summary
    print_summary(summary)


def run_all(address: str, runs: Sequence[Run], resources: Resources) -> list[Summary | EmofocusError]:
    """Cross-validate several experiments; folds of all of them are queued at once.

    Args:
        address: As in `connected`.
        runs: With folders of their own; what is finished in them stays.
        resources: Of each fold.

    Returns:
        The summary of each run, or why it could not be finished: one that fails costs the others nothing.

    Raises:
        ConfigError: The cluster cannot be had, or has no such resources.
    """
    with connected(address) as ray:
        options = resources.options(ray)
        accelerator = "gpu" if options["num_gpus"] else "cpu"
        device = FabricOptions(
            accelerator=accelerator, devices=1, precision=resources.precision, threads=resources.threads
        )
        board = ray.remote(num_cpus=0)(Board).remote()
        task = partial(ray.remote(**options)(fold_there).remote, device, board)
        stop = threading.Event()
        runs = [replace(run, precision=resources.precision) for run in runs]
        with ThreadPoolExecutor(len(runs)) as pool, shown(lambda: ray.get(board.look.remote())) as show:
            try:
                return _summaries(_started(ray, pool, runs, task, board, stop, show), show)
            finally:
                stop.set()


def _started(
    ray: Ray,
    pool: ThreadPoolExecutor,
    runs: Sequence[Run],
    task: Callable[..., Any],
    board: Any,
    stop: threading.Event,
    show: Callable[[], None],
) -> list[Future[Summary]]:
    """A thread each, that mostly waits. Features and audits are made one run after the other, while folds train."""
    started = []
    for run in runs:
        prepared = threading.Event()
        started.append(pool.submit(_cross_validate, ray, run, task, board, prepared, stop))
        while not prepared.wait(1.0):
            show()
    return started


def _summaries(started: Sequence[Future[Summary]], show: Callable[[], None]) -> list[Summary | EmofocusError]:
    while wait(started, timeout=1.0).not_done:
        show()
    show()
    found: list[Summary | EmofocusError] = []
    for future in started:
        try:
            found.append(future.result())
        except EmofocusError as error:
            found.append(error)
    return found


def _cross_validate(
    ray: Ray, run: Run, task: Callable[..., Any], board: Any, prepared: threading.Event, stop: threading.Event
) -> Summary:
    def folds(numbers: Sequence[int]) -> Iterator[FoldResult]:
        with _mark(run.out) as mark:
            experiment = ray.put(run.experiment)
            speech = ray.put(run.source.speech(run.experiment.recipe)) if run.heard is None else None
            begin = partial(task, version_and_host(), run.name, experiment, speech, run.heard, mark)
            queued = {begin(number): number for number in numbers}
            prepared.set()
            for number in numbers:
                board.tell.remote((run.name, number), state=WAITING)
            yield from _finished(ray, run, queued, board, stop)

    try:
        fabric = make_fabric(FabricOptions(devices=1))
        return cross_validate(run.experiment, run.out, fabric, run.source, folds, run.precision)
    finally:
        prepared.set()


def _finished(ray: Ray, run: Run, queued: dict[Any, int], board: Any, stop: threading.Event) -> Iterable[FoldResult]:
    """Folds as they are finished; one that fails is reported when the others are through."""
    failed: list[EmofocusError] = []
    while queued and not stop.is_set():
        for done in ray.wait(list(queued), timeout=1.0)[0]:
            number = queued.pop(done)
            key: Key = (run.name, number)
            try:
                result, rows, files = ray.get(done)
            except ray.exceptions.RayError as error:
                failed.append(ConfigError(f"{run.name}, fold {number}: {reason_of(error)}"))
                board.tell.remote(key, state=FAILED, note=reason_of(error))
                continue
            for name, content in files.items():
                with replacing(run.out / f"fold-{number}" / name) as temporary:
                    temporary.write_bytes(content)
            board.tell.remote(key, state=DONE, note=f"test UA {result.ua:.1%}")
            yield result, rows
    if failed:
        raise failed[0]


@contextmanager
def _mark(folder: Path) -> Iterator[Path]:
    """A file in a folder, by which others see whether they have the same folder."""
    path = folder / f".seen-{uuid.uuid4().hex}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
