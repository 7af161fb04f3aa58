"""The cache keeps to its limit and never lies."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from emofocus.cli.main import app
from emofocus.data.cache import Cache, clear, default_folder, format_size, parse_size
from emofocus.errors import ConfigError


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write([("a", b"one"), ("b", b"")])
    assert (cache.read("a"), cache.read("b"), cache.read("c")) == (b"one", b"", None)
    assert cache.missing(["c", "a", "d"]) == [0, 2]


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [1000.0]
    monkeypatch.setattr("emofocus.data.cache.time.time", lambda: moment[0])
    for name in ("old", "older", "young"):
        moment[0] = {"old": 2000.0, "older": 1000.0, "young": 3000.0}[name]
        Cache(tmp_path, limit=1_000_000).write([(name, bytes(200_000))])
    moment[0] = 4000.0
    cache = Cache(tmp_path, limit=1_000_000)
    assert cache.missing(["older"]) == []  # looking for it makes it the youngest
    cache.write([("new", bytes(450_000))])
    assert cache.missing(["older", "young", "new"]) == []
    assert cache.missing(["old"]) == [0]


def test_the_file_stays_near_its_limit(tmp_path: Path) -> None:
    for round_ in range(30):
        Cache(tmp_path, limit=2_000_000).write([(f"{round_}-{n}", os.urandom(50_000)) for n in range(4)])
    usage = Cache(tmp_path, limit=2_000_000).usage()
    assert usage.used <= 2_000_000
    assert usage.file <= 2_600_000


def test_a_limit_too_small_for_one_run_is_refused_and_nothing_in_use_is_dropped(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=500_000)
    cache.write([("mine", bytes(300_000))])
    with pytest.raises(ConfigError, match=r"the limit of 500.0 KB is too small .* EMOFOCUS_CACHE_LIMIT"):
        cache.write([("more", bytes(300_000))])
    assert cache.read("mine") == bytes(300_000)


@pytest.mark.parametrize(("text", "size"), [("20GB", 20e9), ("1.5 MB", 1.5e6), ("700", 700), ("3kb", 3000)])
def test_limits_are_read(text: str, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-3GB", "0", "3 GiB"])
def test_limits_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no size such as 500MB"):
        parse_size(text)


def test_sizes_are_readable() -> None:
    assert [format_size(n) for n in (12, 1500, 2.5e9)] == ["12 B", "1.5 KB", "2.5 GB"]


def test_what_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    with pytest.raises(ConfigError, match="cannot be opened"):
        Cache(tmp_path)


def test_the_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOFOCUS_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "speech"


def test_the_command_shows_and_clears(tmp_path: Path) -> None:
    Cache(tmp_path).write([("a", bytes(50_000))])
    shown = CliRunner().invoke(app, ["cache", "--cache", str(tmp_path)])
    assert shown.exit_code == 0
    assert "entries  1\n" in shown.output
    assert "of 20.0 GB" in shown.output
    assert CliRunner().invoke(app, ["cache", "--cache", str(tmp_path), "clear"]).output.startswith("freed ")
    assert Cache(tmp_path).usage().entries == 0
    assert clear(tmp_path / "nothing") == 0


def _write_for_ever(folder: Path, name: str) -> None:
    cache, number = Cache(folder, limit=3_000_000), 0
    while True:
        key = f"{name}-{number % 50}"
        cache._in_use.clear()  # as if each round were another run
        cache.write([(key, key.encode() * 4000)])
        number += 1


@pytest.mark.slow
def test_writers_killed_at_any_moment_leave_whole_entries(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    for round_ in range(3):
        writers = [context.Process(target=_write_for_ever, args=(tmp_path, f"{round_}{w}")) for w in "ab"]
        for writer in writers:
            writer.start()
        deadline = time.monotonic() + 60
        while not (tmp_path / "data.mdb").exists() or Cache(tmp_path).usage().entries < 10 * (round_ + 1):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.Random(round_).random() / 5)
        for writer in writers:
            os.kill(writer.pid or 0, signal.SIGKILL)
            writer.join()
    cache = Cache(tmp_path, limit=3_000_000)
    keys = [f"{r}{w}-{n}" for r in range(3) for w in "ab" for n in range(50)]
    there = [key for key in keys if cache.read(key) is not None]
    assert len(there) >= 10
    assert all(cache.read(key) == key.encode() * 4000 for key in there)
    cache.write([("after", b"works")])
