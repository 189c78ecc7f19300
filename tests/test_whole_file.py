"""A file that is written whole: the old one or the new one, for whom it is meant, and nothing left beside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.whole_file import FOR_ALL, only_writer, put_aside, read_whole, write_whole


def test_the_new_file_takes_the_place_of_the_old_one_and_who_reads_the_old_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    with path.open("rb") as reader:
        write_whole(path, b"new")
        assert reader.read() == b"old"

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_for_its_owner_unless_it_is_said_to_be_for_all(tmp_path: Path) -> None:
    write_whole(tmp_path / "own", b"")
    write_whole(tmp_path / "report", b"", FOR_ALL)
    (tmp_path / "ordinary").touch()

    own, report, ordinary = ((tmp_path / name).stat().st_mode & 0o777 for name in ("own", "report", "ordinary"))

    assert (own, report) == (0o600, ordinary)


def test_what_can_not_be_written_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "kept").touch()

    with pytest.raises(OSError, match="directory"):
        write_whole(folder, b"new")

    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "kept").exists()


def test_it_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        done.append("sync of the folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync of the file")
        sync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        done.append("replace")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_whole(tmp_path / "file", b"new")

    assert done == ["sync of the file", "replace", "sync of the folder"]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_would_be_read_for_ever_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(path := tmp_path / "kept.json")
    with pytest.raises(OSError, match="it is no file"):
        read_whole(path, 100)


def test_a_file_that_can_not_be_understood_is_kept_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_bytes(b"\xff")

    assert put_aside(tmp_path / "state.json") == "the file is kept as state.damaged"
    assert (tmp_path / "state.damaged").read_bytes() == b"\xff"
    assert put_aside(tmp_path / "state.json") == "the file could not be put aside: No such file or directory"


def test_one_at_a_time_changes_a_folders_files(tmp_path: Path) -> None:
    with only_writer(tmp_path), pytest.raises(BlockingIOError), only_writer(tmp_path):
        pass
    with only_writer(tmp_path):
        pass
