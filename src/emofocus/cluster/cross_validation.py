"""Cross-validations on a cluster: the folds of any number of runs form one queue of Ray tasks."""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofocus.cluster.connection import Ray, Requester, absolute_if_path, connected, reason_of
from emofocus.cluster.dashboard import DONE, FAILED, WAITING, Dashboard, shown
from emofocus.cluster.fold_task import RETRIES, FoldOutcome, FoldTask, NodeFeatures, Resources, train_fold
from emofocus.data.feature_file import FeaturesFile
from emofocus.data.feature_store import SpeechSource
from emofocus.errors import ConfigError, EmofocusError
from emofocus.training.cross_validation import cross_validate
from emofocus.training.experiment import Experiment, FoldResult
from emofocus.training.fabric import make_fabric
from emofocus.training.options import ExperimentOptions, FabricOptions
from emofocus.training.results import Summary, print_summary
from emofocus.training.setup import make_experiment
from emofocus.utils.atomic import replacing


@dataclass(frozen=True)
class Run:
    """One cross-validation.

    Attributes:
        experiment: Experiment to cross-validate.
        source: Source of the features on this machine, for the audit.
        features: How nodes compute the features; None if they get those of ``source``.
        out: Folder of results.
    """

    experiment: Experiment
    source: SpeechSource
    features: NodeFeatures | None
    out: Path

    @classmethod
    def create(
        cls, experiment: Experiment, source: SpeechSource, cache: Path | None, embeddings: str | None, out: Path
    ) -> "Run":
        """A run of what `make_experiment` returns; nodes get features from a file, and otherwise compute them."""
        features = NodeFeatures(cache and cache.absolute(), embeddings and absolute_if_path(embeddings))
        return cls(experiment, source, None if isinstance(source, FeaturesFile) else features, out.absolute())

    @property
    def name(self) -> str:
        """Name on the dashboard."""
        item = self.experiment
        return f"{item.corpus.name} {item.protocol} {item.model}-{item.recipe_name} seed {item.seed}"


def crossval_on_ray(address: str, options: ExperimentOptions, device: FabricOptions, out: Path, jobs: int = 1) -> None:
    """Run `emofocus crossval --ray`.

    Raises:
        ConfigError: An option for one machine alone, or an unreachable cluster.
        EmofocusError: The cross-validation failed.
    """
    for option, value in (("--devices", (device.devices or 1) > 1), ("--jobs", jobs > 1), ("--log", device.log)):
        if value:
            raise ConfigError(
                f"{option} is for one machine: with --ray each fold is a task of --threads cores, or a GPU"
            )
    resources = Resources.from_options(device)
    experiment, source = make_experiment(options)
    run = Run.create(experiment, source, options.cache, options.embeddings, out)
    (summary,) = run_all(address, [run], resources)
    if isinstance(summary, EmofocusError):
        raise summary
    print_summary(summary)


def run_all(address: str, runs: Sequence[Run], resources: Resources) -> list[Summary | EmofocusError]:
    """Cross-validate several experiments.

    Args:
        address: Address of the cluster, as in `connected`.
        runs: Runs with a folder each; folds that are finished there are kept.
        resources: Resources of each fold.

    Returns:
        The summary of each run, or the reason why it failed; a failure costs the other runs nothing.

    Raises:
        ConfigError: The cluster is unreachable, or has no such resources.
    """
    with connected(address) as ray:
        return FoldQueue(ray, resources.find_device(ray)).run(runs)


class FoldQueue:
    """Runs cross-validations on a cluster, in a thread each, which mostly wait for their folds.

    Args:
        ray: The module, connected.
        device: Device of each fold.
    """

    def __init__(self, ray: Ray, device: FabricOptions) -> None:
        self._ray, self._device = ray, device
        self._dashboard = ray.remote(num_cpus=0)(Dashboard).remote()
        gpus = int(device.accelerator == "gpu")
        self._train_fold = ray.remote(num_cpus=device.threads, num_gpus=gpus, max_retries=RETRIES)(train_fold)
        self._stop = threading.Event()

    def run(self, runs: Sequence[Run]) -> list[Summary | EmofocusError]:
        """Cross-validate; return the summary of each run, or the reason why it failed."""
        with ThreadPoolExecutor(len(runs)) as pool, shown(self._statuses) as show:
            try:
                futures = self._start(pool, runs, show)
                while wait(futures, timeout=1.0).not_done:
                    show()
                show()
                return [_outcome(future) for future in futures]
            finally:
                self._stop.set()

    def _statuses(self) -> Any:
        return self._ray.get(self._dashboard.statuses.remote())

    def _start(self, pool: ThreadPoolExecutor, runs: Sequence[Run], show: Callable[[], None]) -> list[Future[Summary]]:
        """Start the threads. Features and audit of a run are made before the next run starts, while folds train."""
        futures = []
        for run in runs:
            queued = threading.Event()
            futures.append(pool.submit(self._cross_validate, run, queued))
            while not queued.wait(1.0):
                show()
        return futures

    def _cross_validate(self, run: Run, queued: threading.Event) -> Summary:
        """Run one cross-validation; ``queued`` is set once its folds are, or it has failed."""

        def run_folds(numbers: Sequence[int]) -> Iterator[FoldResult]:
            with _marker(run.out) as marker:
                tasks = self._queue(run, marker, numbers)
                queued.set()
                yield from self._outcomes(run, tasks)

        try:
            fabric = make_fabric(FabricOptions(devices=1))
            precision = self._device.precision
            return cross_validate(run.experiment, run.out, fabric, run.source, run_folds, precision)
        finally:
            queued.set()

    def _queue(self, run: Run, marker: Path, numbers: Sequence[int]) -> dict[Any, int]:
        """Queue the folds of a run; return references to their outcomes, with the numbers of the folds."""
        features = run.features or run.source.speech(run.experiment.recipe)
        task = FoldTask(run.name, run.experiment, features, marker, self._device, Requester.current())
        reference = self._ray.put(task)
        for number in numbers:
            self._dashboard.update.remote((run.name, number), state=WAITING)
        return {self._train_fold.remote(reference, self._dashboard, number): number for number in numbers}

    def _outcomes(self, run: Run, tasks: dict[Any, int]) -> Iterator[FoldResult]:
        """Figures and rows of folds as they finish.

        Raises:
            ConfigError: A fold failed; it is raised after all others have finished.
        """
        failures: list[EmofocusError] = []
        while tasks and not self._stop.is_set():
            for reference in self._ray.wait(list(tasks), timeout=1.0)[0]:
                number = tasks.pop(reference)
                try:
                    outcome: FoldOutcome = self._ray.get(reference)
                except self._ray.exceptions.RayError as error:
                    failures.append(ConfigError(f"{run.name}, fold {number}: {reason_of(error)}"))
                    self._dashboard.update.remote((run.name, number), state=FAILED, note=reason_of(error))
                    continue
                _write_files(run.out / f"fold-{number}", outcome.files)
                note = f"test UA {outcome.entry.ua:.1%}"
                self._dashboard.update.remote((run.name, number), state=DONE, note=note)
                yield outcome.entry, outcome.rows
        if failures:
            raise failures[0]


def _outcome(future: Future[Summary]) -> Summary | EmofocusError:
    try:
        return future.result()
    except EmofocusError as error:
        return error


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


@contextmanager
def _marker(folder: Path) -> Iterator[Path]:
    """Yield a file in a folder, by which other nodes see whether they share the folder."""
    path = folder / f".seen-{uuid.uuid4().hex}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
