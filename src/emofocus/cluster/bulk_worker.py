"""A worker of a bulk run: it recognizes the clips of one part, in the local command's batches, to rows and errors."""

import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from emofocus.cluster.connection import check_version
from emofocus.cluster.coordinator import BulkTask, PortableModel
from emofocus.cluster.inputs import Clip
from emofocus.cluster.output import rows_schema
from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.bulk import BATCH, ClipResult, Item, recognize_batch
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.storage import LOCAL, reason_of

ATTEMPTS = 2
"""Workers that may try a part. Later ones recognize it in a separate process, which may die without them."""

ISOLATED_BYTES = 8 << 30
"""Memory of the separate process: larger requests fail there and leave the node alone."""

Recognize = Callable[[Sequence[Item]], list[ClipResult]]
"""Clips of a batch → their results, in order."""

ClipRow = dict[str, Any]
"""One row of a table, by column."""


class Worker:
    """Recognizes parts; Ray Data makes an actor of it.

    Args:
        coordinator: Handle of the `Coordinator`.

    Raises:
        ConfigError: This node has another version of emofocus.
    """

    def __init__(self, coordinator: Any) -> None:
        import ray

        self._coordinator = coordinator
        self._task: BulkTask = ray.get(coordinator.task.remote())
        check_version(self._task.requester)
        self._recognizer = self._task.model.load()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Recognize one part.

        Args:
            table: Clips of the part, with the columns `inputs.CLIPS`.

        Returns:
            Rows and errors; only errors have a ``reason``.
        """
        rows = []
        selection = self._task.selection
        with self._recognize(table["position"][0].as_py() // selection.part_size) as recognize:
            for batch, items in _fetched(self._batches(table)):
                results = zip(batch, recognize_all(recognize, items), strict=True)
                rows += [as_row(row, result) for row, result in results if row["position"] in selection]
        schema = rows_schema(self._recognizer.labels).append(pa.field("reason", pa.string()))
        return pa.Table.from_pylist(rows, schema=schema)

    @contextmanager
    def _recognize(self, part: int) -> Iterator[Recognize]:
        """Yield the function that recognizes a part: in this process, or in a separate one after failed attempts."""
        import ray

        if ray.get(self._coordinator.begin.remote(part)) <= ATTEMPTS:
            yield partial(recognize_batch, self._recognizer)
            return
        isolated = IsolatedRecognizer(self._task.model)
        try:
            yield isolated
        finally:
            isolated.close()

    def _batches(self, table: pa.Table) -> Iterator[list[ClipRow]]:
        """The local command's batches that contain selected clips."""
        rows = table.to_pylist()
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            if any(row["position"] in self._task.selection for row in batch):
                yield batch


class IsolatedRecognizer:
    """Recognizes in a separate process, which is replaced when it dies.

    Args:
        model: The model to use.
    """

    def __init__(self, model: PortableModel) -> None:
        self._model = model
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _load_isolated, (self._model,))

    def __call__(self, items: Sequence[Item]) -> list[ClipResult]:
        """Recognize the clips of a batch.

        Raises:
            BrokenProcessPool: The clips ended the process.
        """
        try:
            return self._pool.submit(_recognize_isolated, items).result()
        except BrokenProcessPool:
            self.close()
            self._pool = self._start()
            raise

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(wait=True)


_isolated: list[Recognizer] = []
"""The recognizer of a separate process, once it is loaded."""


def _load_isolated(model: PortableModel) -> None:
    if model.options.device != "cuda":  # CUDA maps far more memory than it uses
        import resource  # imported here, because some systems lack it

        resource.setrlimit(resource.RLIMIT_DATA, (ISOLATED_BYTES, ISOLATED_BYTES))
    _isolated.append(model.load())


def _recognize_isolated(items: Sequence[Item]) -> list[ClipResult]:
    return recognize_batch(_isolated[0], items)


def recognize_all(recognize: Recognize, items: Sequence[Item | AudioError]) -> list[Prediction | AudioError]:
    """Recognize a batch, whatever its clips contain.

    A clip that raises an unexpected error, or ends the process, is left out of the batch as a damaged one is, so that
    the other clips keep their bits.

    Args:
        recognize: Recognizes clips together.
        items: Clips, or the errors of clips whose file could not be read.
    """
    clips = {number: item for number, item in enumerate(items) if isinstance(item, Item)}
    results: dict[int, Prediction | AudioError] = {
        number: item for number, item in enumerate(items) if isinstance(item, AudioError)
    }
    try:
        recognized = recognize(list(clips.values()))
    except Exception:
        bad = {number: error for number, item in clips.items() if (error := _failure(recognize, [item]))}
        results |= bad
        clips = {number: item for number, item in clips.items() if number not in bad}
        if together := _failure(recognize, list(clips.values())):
            return [results.get(number, together) for number in range(len(items))]
        recognized = recognize(list(clips.values()))
    for (number, item), (_, result) in zip(clips.items(), recognized, strict=True):
        results[number] = result if isinstance(result, Prediction) else _without_name(result, item)
    return [results[number] for number in range(len(items))]


def _failure(recognize: Recognize, items: Sequence[Item]) -> AudioError | None:
    """The reason why some clips cannot be recognized together, or None if they can."""
    try:
        recognize(items)
    except BrokenProcessPool:
        return AudioError("kills the process that recognizes it, or needs too much memory")
    except Exception as error:
        return AudioError(f"{type(error).__name__}: {error}")
    return None


def _without_name(error: AudioError, item: Item) -> AudioError:
    """An error without the name of its file, which has a column of its own."""
    return AudioError(str(error).replace(str(item.path), item.name).removeprefix(f"{item.name}: "))


def as_row(clip: ClipRow, result: Prediction | AudioError) -> ClipRow:
    """The row of a clip in the worker's table.

    Args:
        clip: Row of the clip in the table of the part.
        result: Prediction, or the reason why there is none.
    """
    columns = {name: clip[name] for name in ("file", "start", "end", "position")}
    if isinstance(result, AudioError):
        return columns | {"reason": str(result)}
    scores = {f"p_{label}": score for label, score in result.scores.items()}
    answer = {"label": result.label, "confident": result.confident, "warnings": "; ".join(result.warnings)}
    return columns | scores | answer | {"duration": result.duration}


def _fetched(batches: Iterator[list[ClipRow]]) -> Iterator[tuple[list[ClipRow], list[Item | AudioError]]]:
    """Batches with their files on this disk; the next batch is fetched while one is recognized."""
    with ThreadPoolExecutor(BATCH) as pool, tempfile.TemporaryDirectory() as folder:

        def fetch(numbered: tuple[int, list[ClipRow]]) -> tuple[list[ClipRow], list[Item | AudioError], Path]:
            number, batch = numbered
            subfolder = Path(folder, str(number))
            return batch, list(pool.map(partial(_fetch, subfolder), batch)), subfolder

        for batch, items, subfolder in map_ahead(fetch, enumerate(batches), threads=1):
            yield batch, items
            shutil.rmtree(subfolder, ignore_errors=True)


def _fetch(folder: Path, row: ClipRow) -> Item | AudioError:
    """Copy a clip's file into a folder, unless it is on this machine; return the clip, or the reason of a failure."""
    clip = Clip.of(row)
    item = Item(clip.name, Path(clip.location.path), clip.start, clip.end)
    if clip.location.root == LOCAL:
        return item
    try:
        folder.mkdir(exist_ok=True)
        path = folder / f"{row['position']}{clip.location.suffix}"
        system, name = clip.location.open()
        with system.open_input_stream(name) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (OSError, ConfigError) as error:
        return AudioError(reason_of(error))
    return replace(item, path=path)
