"""Folders are walked once each, through links too, and one that cannot be read costs itself alone."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofocus import audio
from emofocus.errors import AudioError
from emofocus.recognition.bulk import items_of
from emofocus.utils.folder_tree import files_below
from helpers.properties import cases


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in files_below(folder, pytest.fail))


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    for folder in (elsewhere, root / "b"):
        folder.mkdir(parents=True)
    (elsewhere / "x.wav").touch()
    (root / "b" / "y.wav").touch()
    (root / "a").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    (root / "b" / "loop").symlink_to(root / "b")
    (root / "itself").symlink_to(root / "itself")
    (root / "gone.wav").symlink_to(root / "nothing")
    assert names(root) == ["a/x.wav", "b/y.wav"]


@cases(40)
@given(links=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_every_file_is_found_once_whatever_links_where(
    links: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for number in range(5):
        (root / str(number)).mkdir()
        (root / str(number) / f"{number}.wav").touch()
    for number, (where, to) in enumerate(links):
        (root / str(where) / f"link{number}").symlink_to(root / str(to))
    assert names(root) == [f"{number}/{number}.wav" for number in range(5)]


def test_a_folder_without_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "closed", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.wav").touch()
    listed = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything
    errors: list[AudioError] = []
    items = list(items_of([tmp_path], errors.append))
    assert [item.path.name for item in items] == ["a.wav", "z.wav"]
    assert [str(error) for error in errors] == [f"{tmp_path / 'closed'}: cannot be read (Permission denied)"]
    with pytest.raises(AudioError, match="cannot be read"):
        audio.find([tmp_path])


def test_videos_are_searched_for_and_raw_sound_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.MP4", "b.aac", "c.wma", "d.aiff", "e.pcm", "f.pcm", "g.mid", "h.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in audio.find([tmp_path])] == ["a.MP4", "b.aac", "c.wma", "d.aiff"]
    assert capsys.readouterr().err.endswith("are left out: 1 .mid, 2 .pcm\n")
