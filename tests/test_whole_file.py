"""A file that is written whole: the old one or the new one, for whom it is meant, and nothing left beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.whole_file import FOR_ALL, write_whole


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
