"""Files are whole or absent; links, pipes and devices stay what they are."""

import os
import threading
from pathlib import Path

import pytest

from emofocus.utils.atomic import replacing, write_text


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    """The link was replaced, and the file that it led to stayed old."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "results.csv").write_text("old")
    (tmp_path / "results.csv").symlink_to(tmp_path / "disk" / "results.csv")
    write_text(tmp_path / "results.csv", "new")
    assert (tmp_path / "results.csv").is_symlink()
    assert (tmp_path / "disk" / "results.csv").read_text() == "new"
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["results.csv"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    """With the rights of root, `--out /dev/null` put a file in its place."""
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()), daemon=True)
    reader.start()
    write_text(tmp_path / "pipe", "whole")
    reader.join(10)
    assert read == ["whole"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_write_that_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    def break_off() -> None:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
