"""Files that grow line by line: what is whole stays whole, and nothing grows without bound."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.recording.files import Bounds, NotWritten, RotatedFile, Writer, kept_paths, last_lines, whole_lines

NAME = "lines.txt"


def rotated(folder: Path, max_bytes: int = 1 << 20, files: int = 2) -> RotatedFile:
    return RotatedFile(folder, NAME, Bounds(max_bytes, files), b"heading\n")


async def test_each_file_begins_with_the_heading_and_the_oldest_is_dropped(tmp_path: Path) -> None:
    file = rotated(tmp_path, max_bytes=20)
    for number in range(12):
        await file.append(f"line {number}\n".encode())

    paths = kept_paths(tmp_path, NAME)
    assert [path.name for path in paths] == [f"{NAME}.2", f"{NAME}.1", NAME]
    assert all(whole_lines(path)[0] == b"heading" for path in paths)
    kept = [line for path in paths for line in whole_lines(path)[1:]]
    assert kept == [f"line {number}".encode() for number in range(12)][-len(kept) :]


async def test_a_torn_line_is_taken_off_and_the_whole_ones_stay(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"heading\nwhole\ntor")

    await rotated(tmp_path).append(b"next\n")

    assert (tmp_path / NAME).read_bytes() == b"heading\nwhole\nnext\n"


async def test_a_file_of_one_torn_line_only_begins_anew(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"head")

    await rotated(tmp_path).append(b"next\n")

    assert (tmp_path / NAME).read_bytes() == b"heading\nnext\n"


async def test_what_can_be_written_again_is_written_whole(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    file = rotated(tmp_path)
    with pytest.raises(NotWritten, match=r"lines\.txt can't be written: Is a directory"):
        await file.append(b"lost\n")

    (tmp_path / NAME).rmdir()
    await file.append(b"kept\n")

    assert whole_lines(tmp_path / NAME) == [b"heading", b"kept"]


def test_the_last_whole_line_is_found_beside_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"one\ntwo\nth")
    assert last_lines(path)[-1] == b"two"

    path.write_bytes(b"o")
    assert last_lines(path) == []


def test_other_files_of_the_folder_are_not_taken_for_closed_ones(tmp_path: Path) -> None:
    for name in (NAME, f"{NAME}.10", f"{NAME}.9", f"{NAME}.old", f"{NAME}."):
        (tmp_path / name).touch()

    assert [path.name for path in kept_paths(tmp_path, NAME)] == [f"{NAME}.10", f"{NAME}.9", NAME]


def unexpected(trouble: NotWritten) -> None:
    pytest.fail(str(trouble))


async def test_what_can_not_be_written_is_told_once_and_once_more_when_it_can(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    file, told = rotated(tmp_path), list[str]()

    async def append(*lines: bytes) -> None:
        await file.append(b"".join(lines))

    writer = Writer[bytes](append, lambda trouble: told.append(str(trouble)), lambda trouble: told.append(trouble.past))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(writer.run())
        for line in (b"lost\n", b"lost, too\n", b"kept\n"):
            if line == b"kept\n":
                (tmp_path / NAME).rmdir()
            writer.put(line)
            await writer.written()
        running.cancel()

    assert whole_lines(tmp_path / NAME) == [b"heading", b"kept"]
    assert told == [
        f"{tmp_path / NAME} can't be written: Is a directory",
        f"{tmp_path / NAME} is written again; it could not be: Is a directory",
    ]


async def test_entries_that_wait_are_handed_over_together_and_in_order() -> None:
    handed: list[tuple[int, ...]] = []
    is_asked, is_free = asyncio.Event(), asyncio.Event()

    async def append(*entries: int) -> None:
        handed.append(entries)
        is_asked.set()
        await is_free.wait()

    writer = Writer[int](append, unexpected, unexpected)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(writer.run())
        writer.put(1)
        await is_asked.wait()
        for number in (2, 3, 4):
            writer.put(number)
        is_free.set()
        await writer.written()
        running.cancel()

    assert handed == [(1,), (2, 3, 4)]
