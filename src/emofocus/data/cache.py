"""Cache of features and other costly results: one memory-mapped LMDB file, keyed by content.

Transactions make it safe to interrupt, and to fill from several processes at once. At its limit, the entries that were
not used for longest are dropped.
"""

import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emofocus.errors import ConfigError
from emofocus.utils.folders import cache_folder

DEFAULT_LIMIT = "20GB"
"""Default largest size of the cache, which ``$EMOFOCUS_CACHE_LIMIT`` replaces."""

ADDRESS_SPACE = 1 << 38
"""Bytes that the map may span (256 GiB); the file grows only with what is in it."""

ROOM = 0.9
"""Share of the limit that is in use after making room, so that it need not be made at every write."""

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class Usage(NamedTuple):
    """Entries in the cache, bytes they take, bytes of the file, the limit, and when the oldest was last used."""

    entries: int
    used: int
    file: int
    limit: int
    oldest: float | None


class Cache:
    """Bytes by key.

    Args:
        folder: Folder of the cache; `default_folder` by default.
        limit: Largest size in bytes; ``$EMOFOCUS_CACHE_LIMIT`` or 20 GB by default.

    Raises:
        ConfigError: The folder holds no cache that can be opened, or the limit is no size.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        import lmdb

        self.folder = folder or default_folder()
        self.limit = limit or parse_size(os.environ.get("EMOFOCUS_CACHE_LIMIT", DEFAULT_LIMIT))
        self._in_use: set[bytes] = set()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            space = max(ADDRESS_SPACE, 2 * self.limit)
            self._environment = lmdb.open(str(self.folder), map_size=space, max_readers=512, max_dbs=2)
            self._environment.reader_check()  # forget readers that were killed: they would keep old pages alive
            self._entries = self._environment.open_db(b"entries")
            self._last_used = self._environment.open_db(b"last used")
        except lmdb.Error as error:
            raise ConfigError(f"{self.folder}: this cache cannot be opened ({error})") from error

    def missing(self, keys: Sequence[str]) -> list[int]:
        """Positions of the keys without an entry; the others count as used now."""
        names = [key.encode() for key in keys]
        with self._environment.begin(db=self._entries) as transaction, transaction.cursor() as cursor:
            absent = [position for position, name in enumerate(names) if not cursor.set_key(name)]
        skip = set(absent)
        self._touch(name for position, name in enumerate(names) if position not in skip)
        return absent

    def read(self, key: str) -> bytes | None:
        """Copy of an entry, or None if the key has none."""
        with self._environment.begin(db=self._entries) as transaction:
            value: bytes | None = transaction.get(key.encode())
            return value

    def write(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Add entries, all or none of them.

        Raises:
            ConfigError: The entries exceed the limit even without all others.
        """
        self._make_room(sum(len(value) for _, value in items))
        with self._environment.begin(write=True) as transaction:
            for key, value in items:
                transaction.put(key.encode(), value, db=self._entries)
        self._touch(key.encode() for key, _ in items)

    def usage(self) -> Usage:
        """Sizes and age of the entries."""
        with self._environment.begin() as transaction:
            entries = transaction.stat(self._entries)["entries"]
            used = self._bytes_used(transaction)
            with transaction.cursor(self._last_used) as cursor:
                oldest = min((float(value) for _, value in cursor), default=None)
        return Usage(entries, used, (self.folder / "data.mdb").stat().st_size, self.limit, oldest)

    def __reduce__(self) -> tuple[type["Cache"], tuple[Path, int]]:
        """Another process opens the same folder."""
        return Cache, (self.folder, self.limit)

    def close(self) -> None:
        """Release the file."""
        self._environment.close()

    def _touch(self, names: Iterable[bytes]) -> None:
        """Remember that these were used now."""
        fresh = [name for name in names if name not in self._in_use]
        if not fresh:
            return
        now = f"{time.time():.0f}".encode()
        with self._environment.begin(write=True, db=self._last_used) as transaction:
            for name in fresh:
                transaction.put(name, now)
        self._in_use.update(fresh)

    def _make_room(self, size: int) -> None:
        """Drop what was not used for longest; what this process uses stays."""
        with self._environment.begin(write=True) as transaction:
            excess = self._bytes_used(transaction) + size - self.limit
            if excess <= 0:
                return
            excess += int((1 - ROOM) * self.limit)
            with transaction.cursor(self._last_used) as cursor:
                by_age = sorted((float(moment), bytes(name)) for name, moment in cursor)
            for _, name in by_age:
                if excess <= 0:
                    return
                if name not in self._in_use:
                    excess -= len(transaction.get(name, default=b"", db=self._entries))
                    transaction.delete(name, db=self._entries)
                    transaction.delete(name, db=self._last_used)
        if self.usage().used + size > self.limit:
            raise ConfigError(
                f"{self.folder}: the limit of {format_size(self.limit)} is too small for what this run needs; "
                "set EMOFOCUS_CACHE_LIMIT to more, or free the disk with: emofocus cache clear"
            )

    def _bytes_used(self, transaction: Any) -> int:
        counts = transaction.stat(self._entries)
        pages = counts["branch_pages"] + counts["leaf_pages"] + counts["overflow_pages"]
        return int(pages * counts["psize"])


def describe(cache: Cache) -> str:
    """A few lines for people."""
    usage = cache.usage()
    last = "never" if usage.oldest is None else time.strftime("%Y-%m-%d", time.localtime(usage.oldest))
    return (
        f"folder   {cache.folder}\nentries  {usage.entries}\nin use   {format_size(usage.used)} of "
        f"{format_size(usage.limit)} (EMOFOCUS_CACHE_LIMIT)\nfile     {format_size(usage.file)}\noldest   {last}"
    )


def clear(folder: Path | None = None) -> int:
    """Delete the cache; a process that has it open goes on with what it had.

    Returns:
        Bytes that the files took.
    """
    folder = folder or default_folder()
    freed = 0
    for name in ("data.mdb", "lock.mdb"):
        if (folder / name).exists():
            freed += (folder / name).stat().st_size
            (folder / name).unlink()
    return freed


def default_folder() -> Path:
    """``speech`` in the folder of `emofocus.utils.folders.cache_folder`."""
    return cache_folder() / "speech"


def parse_size(text: str) -> int:
    """``"20GB"`` → bytes.

    Raises:
        ConfigError: No size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(KB|MB|GB|TB|)", text.strip(), re.IGNORECASE)
    size = int(float(match[1]) * UNITS[match[2].upper()]) if match else 0
    if size <= 0:
        raise ConfigError(f"cache limit {text!r} is no size such as 500MB or 20GB")
    return size


def format_size(size: float) -> str:
    """Bytes → ``"1.4 GB"``."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
