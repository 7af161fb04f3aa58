"""What `emofocus predict --ray` does: paths and URIs in, Parquet out.

Ray Data runs a pool of actors over the parts of the input, starts them again when they die, and holds back what
nobody has taken yet. The process that asked writes: it alone, and each part as it comes.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute
from msgspec.structs import replace

from emofocus.cluster.bulk_worker import Worker
from emofocus.cluster.connection import Ray, connected, version_and_host
from emofocus.cluster.coordinator import Desk, Model, Wanted
from emofocus.cluster.inputs import Listing, clips_of, listing_of
from emofocus.cluster.output import ERRORS, Output
from emofocus.errors import AudioError, ConfigError, one_of
from emofocus.recognition.bulk import BATCH
from emofocus.recognition.options import DEFAULT_OPTIONS, RecognitionOptions
from emofocus.recognition.recognizer import Recognizer
from emofocus.recognition.results_file import settings_of
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.progress import log_line, log_progress

PART = 256
"""Clips of a part, which is one task and one file: what an interruption can cost a worker."""

DEVICES = ("auto", "cpu", "cuda")
"""Of workers; auto is cpu, as Ray hides GPUs that nobody asked it for."""

WRITERS = 16
"""Parts written side by side: an object store answers slowly, but to many at once."""


class Committed(NamedTuple):
    """What has been written of a part."""

    rows: int
    errors: int
    heard: float


def predict_on_ray(
    sources: Sequence[str],
    address: str,
    out: str,
    model: str | None = None,
    options: RecognitionOptions = DEFAULT_OPTIONS,
    workers: int | None = None,
    part: int = PART,
) -> int:
    """Recognize files, folders and what manifests name on a cluster.

    A clip has the same company as with the local command, and so the same bits. The same command goes on where it was
    interrupted, and tries again what failed.

    Args:
        sources: Paths and URIs of audio files, of folders that are walked, and of manifests.
        address: As in `connected`.
        out: Path or URI of a folder; what is in it says `output`.
        model: A model directory, ``org/name`` on the Hugging Face Hub, or None for the shipped model; workers get a
            copy.
        options: How workers load it, each for one thread; its device is one of `DEVICES`.
        workers: Actors at most, of one core or GPU each; by default as many as the cluster has now. A cluster that
            grows when it is asked to is asked for as many.
        part: Clips of a task and of a file; a multiple of `BATCH`.

    Returns:
        How many could not be recognized.

    Raises:
        ConfigError: No such device, manifest, cluster or place to write, or ``out`` holds results of another model, of
            other settings or of another input.
        ModelError: The model cannot be loaded.
        MissingExtraError: Ray is not installed.
    """
    if options.device not in DEVICES:
        raise ConfigError(f"workers of a cluster have no device {options.device!r} ({one_of(DEVICES)})")
    if part < 1 or part % BATCH:
        raise ConfigError(f"a part of {part} clips: it must be a multiple of {BATCH}, the clips of a batch")
    device = "cuda" if options.device == "cuda" else "cpu"
    recognizer = Recognizer.load(model, replace(options, threads=1, device="cpu"))
    sent = Model.of(model, replace(options, threads=1, device=device))
    failures: list[str] = []
    with connected(address) as ray:
        listing = listing_of(clips_of(sources, lambda error: _report(error, failures)), part, ray.put)
        output = Output(out)
        output.begin(settings_of(recognizer) | {"part": part, "clips": listing.clips, "input": listing.digest})
        wanted, todo = _left(listing, output, part)
        if todo:
            tables = _recognized(ray, sent, wanted, [listing.parts[number] for number in todo], workers, device)
            for _ in _watched(_committed(output, tables, part), output.name, min(part * len(todo), listing.clips)):
                pass
    recognized, failed = output.finish()
    failures_note = f", {failed} could not be: see {output.name}/errors" if failed else ""
    log_line(f"{output.name}: {recognized} recognized{failures_note}")
    return failed + len(failures)


def _report(error: AudioError, failures: list[str]) -> None:
    failures.append(str(error))
    log_line(f"emofocus: {error}")


def _left(listing: Listing, output: Output, size: int) -> tuple[Wanted, list[int]]:
    """What was not done before: parts, and of parts that are done the clips that failed."""
    done, failed = output.done(), output.failed()
    again = {number: frozenset(output.errors(number)["position"].to_pylist()) for number in sorted(done & failed)}
    if done:
        log_line(
            f"{output.name}: {len(done)} of {len(listing.parts)} parts are there, {len(again)} of them with errors"
        )
    wanted = Wanted(size, listing.repeated, again)
    left = (number for number in range(len(listing.parts)) if number not in done or number in again)
    clips = range(listing.clips)
    return wanted, [number for number in left if any(map(wanted.__contains__, clips[number * size :][:size]))]


def _recognized(
    ray: Ray, model: Model, wanted: Wanted, parts: Sequence[Any], workers: int | None, device: str
) -> Iterator[pa.Table]:
    """Results of parts, as they come."""
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    here = affinity(ray.get_runtime_context().get_node_id(), soft=True)
    desk = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(Desk)
    ask = partial(_ask, desk.remote(model, wanted, version_and_host()))
    unit = "GPU" if device == "cuda" else "CPU"
    there = int(ray.cluster_resources().get(unit, 0))
    most = min(workers or there, len(parts))
    if not most:
        raise ConfigError(f"the cluster has no {unit}")
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=max(1, min(most, there)))
    # Ray Data starts actors again without end: a part that kills its workers is soon recognized in a process apart.
    dataset = ray.data.from_arrow_refs(list(parts)).map_batches(
        Worker,
        batch_size=None,
        batch_format="pyarrow",
        compute=pool,
        fn_constructor_args=(ask,),
        num_gpus=1 if device == "cuda" else None,
        num_cpus=None if device == "cuda" else 1,
    )
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")


def _ask(desk: Any, question: str, *about: Any) -> Any:
    import ray

    return ray.get(getattr(desk, question).remote(*about))


def _committed(output: Output, tables: Iterable[pa.Table], size: int) -> Iterator[Committed]:
    """Write parts as they come, several at a time."""
    commit = partial(_commit, output, size)
    # What was recognized is written even when the command is interrupted.
    yield from map_ahead(commit, tables, WRITERS, ahead=2 * WRITERS, eager=True, cancel=False)


def _commit(output: Output, size: int, table: pa.Table) -> Committed:
    number, last = (table["position"][place].as_py() // size for place in (0, -1))
    assert number == last, "Ray Data gives back blocks as they went in: one a part"
    failed = pa.compute.is_valid(table["reason"])
    rows, errors = table.filter(pa.compute.invert(failed)).drop_columns(["reason"]), table.filter(failed)
    output.commit(number, rows, errors.select(ERRORS.names))
    return Committed(len(rows), len(errors), pa.compute.sum(rows["duration"]).as_py() or 0.0)


def _watched(parts: Iterable[Committed], out: str, clips: int) -> Iterator[Committed]:
    """Say now and then how far it is."""
    total = Committed(0, 0, 0.0)

    def counted() -> Iterator[Committed]:
        nonlocal total
        for part in parts:
            total = Committed(total.rows + part.rows, total.errors + part.errors, total.heard + part.heard)
            yield part

    def line(_: Committed, spent: float) -> str:
        files = total.rows + total.errors
        speed = f"{files / spent:.1f} a second, {total.heard / spent:.0f} times as fast as they last"
        return f"{out}: {files} of at most {clips} files, {speed}, {total.errors} damaged"

    return log_progress(counted(), line)
