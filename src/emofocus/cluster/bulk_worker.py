"""What a worker does: the clips of one part, in the local command's batches, to rows and errors."""

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

from emofocus.cluster.connection import refuse_another_version
from emofocus.cluster.coordinator import Model
from emofocus.cluster.inputs import Clip
from emofocus.cluster.output import rows_schema
from emofocus.errors import AudioError, ConfigError
from emofocus.recognition.bulk import BATCH, ClipResult, Item, recognize_batch
from emofocus.recognition.prediction import Prediction
from emofocus.recognition.recognizer import Recognizer
from emofocus.utils.lookahead import map_ahead
from emofocus.utils.storage import LOCAL, reason_of

TRIES = 2
"""Workers that a part may cost. From then on it is recognized in a process apart, which may die alone."""

APART_BYTES = 8 << 30
"""Memory of the process apart: what asks for more fails there, and does not take the node along."""

Recognize = Callable[[Sequence[Item]], list[ClipResult]]
"""Some clips together → their results, in order."""

Row = dict[str, Any]


class Worker:
    """Recognizes parts; Ray Data makes an actor of it.

    Args:
        ask: Calls a method of `Desk`, by its name.

    Raises:
        ConfigError: It is of another version than who asks.
    """

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask
        self._model, self._wanted, asked = ask("task")
        refuse_another_version(asked)
        self._recognizer = self._model.load()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Recognize one part.

        Args:
            table: Of `listing.CLIPS`.

        Returns:
            Rows and errors; those have a ``reason``.
        """
        rows = []
        with self._recognize(table["position"][0].as_py() // self._wanted.size) as recognize:
            for batch, items in _fetched(self._batches(table)):
                told = recognize_all(recognize, items)
                rows += [
                    as_row(row, item) for row, item in zip(batch, told, strict=True) if row["position"] in self._wanted
                ]
        schema = rows_schema(self._recognizer.labels).append(pa.field("reason", pa.string()))
        return pa.Table.from_pylist(rows, schema=schema)

    @contextmanager
    def _recognize(self, part: int) -> Iterator[Recognize]:
        if self._ask("begin", part) <= TRIES:
            yield partial(recognize_batch, self._recognizer)
            return
        apart = Apart(self._model)
        try:
            yield apart
        finally:
            apart.close()

    def _batches(self, table: pa.Table) -> Iterator[list[Row]]:
        """The local command's batches, of which some clip is wanted."""
        rows = table.to_pylist()
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            if any(row["position"] in self._wanted for row in batch):
                yield batch


class Apart:
    """Recognizes in a process of its own; another takes its place when it dies."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._pool = self._begin()

    def _begin(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _load, (self._model,))

    def __call__(self, items: Sequence[Item]) -> list[ClipResult]:
        """Some clips together.

        Raises:
            BrokenProcessPool: They killed the process.
        """
        try:
            return self._pool.submit(_recognize_there, items).result()
        except BrokenProcessPool:
            self.close()
            self._pool = self._begin()
            raise

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(wait=True)


_there: list[Recognizer] = []
"""Of the process apart."""


def _load(model: Model) -> None:
    if model.options.device != "cuda":  # which maps far more than it uses
        import resource  # not on every system

        resource.setrlimit(resource.RLIMIT_DATA, (APART_BYTES, APART_BYTES))
    _there.append(model.load())


def _recognize_there(items: Sequence[Item]) -> list[ClipResult]:
    return recognize_batch(_there[0], items)


def recognize_all(recognize: Recognize, items: Sequence[Item | AudioError]) -> list[Prediction | AudioError]:
    """Recognize a batch, whatever is in it.

    A clip that raises something unforeseen, or kills the process, is left out as a damaged one is: its company keeps
    its bits.

    Args:
        recognize: Recognizes clips together.
        items: Clips, and what is known of those that could not be had.
    """
    clips = {number: item for number, item in enumerate(items) if isinstance(item, Item)}
    found: dict[int, Prediction | AudioError] = {
        number: item for number, item in enumerate(items) if isinstance(item, AudioError)
    }
    try:
        results = recognize(list(clips.values()))
    except Exception:
        bad = {number: error for number, item in clips.items() if (error := _failure(recognize, [item]))}
        found |= bad
        clips = {number: item for number, item in clips.items() if number not in bad}
        if together := _failure(recognize, list(clips.values())):
            return [found.get(number, together) for number in range(len(items))]
        results = recognize(list(clips.values()))
    told = dict(zip(clips, (result for _, result in results), strict=True))
    return [_plain(told[number], clips[number]) if number in told else found[number] for number in range(len(items))]


def _failure(recognize: Recognize, items: Sequence[Item]) -> AudioError | None:
    try:
        recognize(items)
    except BrokenProcessPool:
        return AudioError("kills the process that recognizes it, or needs too much memory")
    except Exception as error:
        return AudioError(f"{type(error).__name__}: {error}")
    return None


def _plain(told: Prediction | AudioError, item: Item) -> Prediction | AudioError:
    """A reason alone: the file stands beside it."""
    if isinstance(told, Prediction):
        return told
    return AudioError(str(told).replace(str(item.path), item.name).removeprefix(f"{item.name}: "))


def as_row(row: Row, told: Prediction | AudioError) -> Row:
    """One row of the output."""
    place = {name: row[name] for name in ("file", "start", "end", "position")}
    if isinstance(told, AudioError):
        return place | {"reason": str(told)}
    scores = {f"p_{label}": score for label, score in told.scores.items()}
    warnings = "; ".join(told.warnings)
    return (
        place
        | scores
        | {"label": told.label, "confident": told.confident, "warnings": warnings, "duration": told.duration}
    )


def _fetched(batches: Iterator[list[Row]]) -> Iterator[tuple[list[Row], list[Item | AudioError]]]:
    """Batches with their files on this disk: the next one is fetched while one is recognized."""
    with ThreadPoolExecutor(BATCH) as pool, tempfile.TemporaryDirectory() as folder:

        def fetch(numbered: tuple[int, list[Row]]) -> tuple[list[Row], list[Item | AudioError], Path]:
            number, batch = numbered
            into = Path(folder, str(number))
            return batch, list(pool.map(partial(_fetch, into), batch)), into

        for batch, items, into in map_ahead(fetch, enumerate(batches), threads=1):
            yield batch, items
            shutil.rmtree(into, ignore_errors=True)


def _fetch(folder: Path, row: Row) -> Item | AudioError:
    """A clip whose file is on this disk."""
    clip = Clip.of(row)
    item = Item(clip.name, Path(clip.location.path), clip.start, clip.end)
    if clip.location.root == LOCAL:
        return item
    try:
        folder.mkdir(exist_ok=True)
        path = folder / f"{row['position']}{clip.location.suffix}"
        system, there = clip.location.open()
        with system.open_input_stream(there) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)
    except (OSError, ConfigError) as error:
        return AudioError(reason_of(error))
    return replace(item, path=path)
