"""The command `emofocus predict --ray`: paths and URIs in, Parquet out.

Ray Data runs a pool of actors over the parts of the input, restarts actors that die, and makes them wait while results
are not yet taken. Only the process that runs the command writes results, each part as soon as it is there.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from msgspec.structs import replace
from numpy.typing import NDArray

from emofocus.cluster.bulk_worker import Worker
from emofocus.cluster.connection import Ray, Requester, connected, native_stderr_silenced
from emofocus.cluster.coordinator import BulkTask, Coordinator, PortableModel, Selection
from emofocus.cluster.inputs import PartitionedInput, clips_of, partition
from emofocus.cluster.output import ERRORS, Output
from emofocus.config import Settings
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.recognition.bulk import BATCH
from emofocus.recognition.options import DEFAULT_OPTIONS, RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.results_file import settings_of
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.progress import log_line, log_progress

PART = 256
"""Clips of a part, which is one task and one file, and the most that a worker loses by an interruption."""

DEVICES = ("auto", "cpu", "cuda")
"""Devices of workers; auto is cpu, because Ray hides GPUs from tasks that do not request one."""

WRITERS = 16
"""Parts written at the same time: an object store is slow, but serves many at once."""


class BulkOptions(Settings, frozen=True, kw_only=True):
    """Division of the work on a cluster.

    Attributes:
        address: Address of the cluster, as in `connected`.
        workers: Actors at most, of one core or GPU each; by default as many as the cluster has now. A cluster that
            grows on demand is asked for as many.
        part: Clips of a task and of a file, a multiple of `BATCH`.

    Raises:
        ConfigError: An invalid number of clips.
    """

    address: str = "local"
    workers: int | None = None
    part: int = PART

    def __post_init__(self) -> None:
        """Check the size of a part."""
        if self.part < 1 or self.part % BATCH:
            raise ConfigError(f"a part of {self.part} clips: it must be a multiple of {BATCH}, the clips of a batch")


class CommittedPart(NamedTuple):
    """Counts of a part whose results are written.

    Attributes:
        rows: Recognized clips.
        errors: Clips that could not be recognized.
        seconds: Duration of the recognized clips.
    """

    rows: int
    errors: int
    seconds: float


def predict_on_ray(
    sources: Sequence[str],
    out: str,
    model: str | None = None,
    options: RecognitionOptions = DEFAULT_OPTIONS,
    cluster: BulkOptions | None = None,
) -> int:
    """Recognize files, folders and manifests on a cluster.

    Clips share batches with the same clips as in the local command, so results have the same bits. The same command
    resumes an interrupted run, and tries failed clips again, and recordings of this machine or of listed folders that
    were replaced since.

    Args:
        sources: Paths and URIs of audio files, of folders and of manifests.
        out: Path or URI of the folder of results, which `output` describes.
        model: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model; workers get a
            copy.
        options: Options with which workers load it, each for one thread; the device is one of `DEVICES`.
        cluster: How the cluster divides the work.

    Returns:
        Number of clips and sources that could not be recognized.

    Raises:
        ConfigError: An unknown device, an unreadable manifest, an unreachable cluster, a folder that cannot be
            written, or results of other settings or of another input in it.
        ModelError: The model cannot be loaded.
        MissingExtraError: Ray is not installed.
    """
    if options.device not in DEVICES:
        raise ConfigError(f"workers of a cluster have no device {options.device!r} ({one_of(DEVICES)})")
    cluster = cluster or BulkOptions()
    recognizer = Recognizer.load(model, replace(options, threads=1, device="cpu"))
    device = "cuda" if options.device == "cuda" else "cpu"
    portable = PortableModel.read(model, replace(options, threads=1, device=device))
    failures: list[AudioError] = []

    def report(error: AudioError) -> None:
        failures.append(error)
        log_line(f"emofocus: {error}")

    with connected(cluster.address) as ray:
        clips = partition(clips_of(sources, report), cluster.part, ray.put)
        output = Output(out)
        output.begin(settings_of(recognizer) | {"part": cluster.part, "clips": clips.clips, "input": clips.digest})
        selection, missing = _remaining(clips, output, cluster.part)
        if missing:
            task = BulkTask(portable, selection, Requester.current())
            tables = _recognize_parts(ray, task, [clips.parts[number] for number in missing], cluster.workers)
            total = min(cluster.part * len(missing), clips.clips)
            for _ in _with_progress(_write_parts(output, tables, cluster.part, clips.states), output.name, total):
                pass
    recognized, failed = output.finish()
    failures_note = f", {failed} could not be: see {output.name}/errors" if failed else ""
    log_line(f"{output.name}: {recognized} recognized{failures_note}")
    return failed + len(failures)


def _remaining(clips: PartitionedInput, output: Output, size: int) -> tuple[Selection, list[int]]:
    """The clips that have no row yet, or one of a recording that was replaced, and the numbers of their parts."""
    done, failed = output.done(), output.failed()
    replaced = _replaced(clips, output, sorted(done), size)
    again = {number: set(output.errors(number)["position"].to_pylist()) for number in sorted(done & failed)}
    if done:
        log_line(f"{output.name}: {len(done)} of {len(clips.parts)} parts are there, {len(again)} of them with errors")
    if replaced:
        count = sum(map(len, replaced.values()))
        log_line(f"{output.name}: {count} recordings were replaced since; they are recognized again")
    for number, changed in replaced.items():
        again.setdefault(number, set()).update(changed)
    selection = Selection(size, clips.repeated, {number: frozenset(chosen) for number, chosen in again.items()})
    unfinished = (number for number in range(len(clips.parts)) if number not in done or number in again)
    positions = range(clips.clips)
    return selection, [
        number for number in unfinished if any(map(selection.__contains__, positions[number * size :][:size]))
    ]


def _replaced(clips: PartitionedInput, output: Output, done: Sequence[int], size: int) -> dict[int, list[int]]:
    """Positions of recordings that are not as they were when their rows were written, by part.

    Recordings that are gone, and those of which nothing is noted, keep their rows.
    """
    known = [number for number in done if clips.states[number * size :][:size].any()]
    found = {}
    for number, noted in zip(known, map_ahead(output.states, known, WRITERS), strict=True):
        now = clips.states[number * size :][:size]
        before = np.asarray(noted, np.uint64)
        if len(before) == len(now):
            changed = np.flatnonzero((before != now) & (before != 0) & (now != 0))
            if len(changed):
                found[number] = (number * size + changed).tolist()
    return found


def _recognize_parts(ray: Ray, task: BulkTask, parts: Sequence[Any], workers: int | None) -> Iterator[pa.Table]:
    """Results of parts in the order of the input.

    Args:
        ray: The module, connected.
        task: The task of each worker.
        parts: References to the tables of parts.
        workers: Workers at most.

    Raises:
        ConfigError: The cluster has no resources for a worker.
    """
    on_gpu = task.model.options.device == "cuda"
    unit = "GPU" if on_gpu else "CPU"
    available = int(ray.cluster_resources().get(unit, 0))
    most = min(workers or available, len(parts))
    if not most:
        raise ConfigError(f"the cluster has no {unit}")
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=max(1, min(most, available)))
    # Ray Data restarts actors without limit; a part that ends its workers is soon recognized in a separate process.
    dataset = ray.data.from_arrow_refs(list(parts)).map_batches(
        Worker,
        batch_size=None,
        batch_format="pyarrow",
        compute=pool,
        fn_constructor_args=(_start_coordinator(ray, task),),
        num_gpus=1 if on_gpu else None,
        num_cpus=None if on_gpu else 1,
    )
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")


def _start_coordinator(ray: Ray, task: BulkTask) -> Any:
    """Start the actor on this node; return its handle.

    Ray writes an error to stderr, once in a process, at the first actor that it may restart with large arguments, as
    they might be lost. Ray Data's own actors are such, too. These arguments belong to this process, without which there
    is no run, so the error is discarded.
    """
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    here = affinity(ray.get_runtime_context().get_node_id(), soft=True)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(Coordinator)
    with native_stderr_silenced():
        return actor.remote(task)


def _write_parts(
    output: Output, tables: Iterable[pa.Table], size: int, states: NDArray[np.uint64]
) -> Iterator[CommittedPart]:
    """Write parts as they come, several at a time."""
    commit = partial(_commit, output, size, states)
    # Results that are there are written even when the command is interrupted.
    yield from map_ahead(commit, tables, WRITERS, ahead=2 * WRITERS, eager=True, cancel=False)


def _commit(output: Output, size: int, states: NDArray[np.uint64], table: pa.Table) -> CommittedPart:
    number, last = (table["position"][row].as_py() // size for row in (0, -1))
    assert number == last, "Ray Data keeps the blocks of the input, which are one part each"
    failed = pa.compute.is_valid(table["reason"])
    rows, errors = table.filter(pa.compute.invert(failed)).drop_columns(["reason"]), table.filter(failed)
    output.commit(number, rows, errors.select(ERRORS.names), states[number * size :][:size].tolist())
    return CommittedPart(len(rows), len(errors), pa.compute.sum(rows["duration"]).as_py() or 0.0)


def _with_progress(parts: Iterable[CommittedPart], out: str, clips: int) -> Iterator[CommittedPart]:
    """Yield the running totals of the parts, with a line of progress now and then."""

    def totals() -> Iterator[CommittedPart]:
        total = CommittedPart(0, 0, 0.0)
        for part in parts:
            total = CommittedPart(total.rows + part.rows, total.errors + part.errors, total.seconds + part.seconds)
            yield total

    def line(total: CommittedPart, elapsed: float) -> str:
        files = total.rows + total.errors
        speed = f"{files / elapsed:.1f} a second, {total.seconds / elapsed:.0f} times as fast as they last"
        return f"{out}: {files} of at most {clips} files, {speed}, {total.errors} damaged"

    return log_progress(totals(), line)
