"""The journal on a real disk: rotation, torn lines, the sequence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.core.records import Notice, Record
from engine.core.serialization import to_json
from engine.recording.files import Bounds, NotWritten, RotatedFile
from engine.recording.journal import CURRENT, Journal


def texts(records: list[Record]) -> list[str]:
    return [r.entry.text for r in records if isinstance(r.entry, Notice)]


async def write(journal: Journal, *lines: str) -> None:
    for line in lines:
        await journal.append(journal.number(Notice(0.0, "info", line)))


async def test_what_was_written_is_read_back_and_numbers_go_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Bounds(1 << 20, 3))
    await write(journal, "one", "two")

    again = Journal(tmp_path, Bounds(1 << 20, 3))

    assert texts(again.read_back().records) == ["one", "two"]
    assert again.number(Notice(0.0, "info", "three")).seq == 3


async def test_a_torn_last_line_costs_that_line_only(tmp_path: Path) -> None:
    await write(Journal(tmp_path, Bounds(1 << 20, 3)), "one", "two")
    path = tmp_path / CURRENT
    path.write_bytes(path.read_bytes()[:-20])

    again = Journal(tmp_path, Bounds(1 << 20, 3))
    assert texts(again.read_back().records) == ["one"]
    await write(again, "three")

    assert texts(Journal(tmp_path, Bounds(1 << 20, 3)).read_back().records) == ["one", "three"]


async def test_full_files_are_rotated_and_the_oldest_dropped(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Bounds(100, 2))
    await write(journal, *(f"line {n}" for n in range(20)))

    kept = texts(Journal(tmp_path, Bounds(100, 2)).read_back().records)
    assert 0 < len(kept) < 20
    assert kept == [f"line {n}" for n in range(20)][-len(kept) :]


async def test_a_journal_that_cannot_be_written_says_which_file_and_why(tmp_path: Path) -> None:
    (tmp_path / CURRENT).mkdir()
    journal = Journal(tmp_path, Bounds(1 << 20, 2))

    with pytest.raises(NotWritten, match=r"journal\.jsonl can't be written: Is a directory"):
        await write(journal, "one")


async def test_a_damaged_line_costs_itself_and_is_counted(tmp_path: Path) -> None:
    await write(Journal(tmp_path, Bounds(1 << 20, 3)), "one", "two", "three", "four")
    path = tmp_path / CURRENT
    written = path.read_bytes()
    path.write_bytes(written.replace(b'"two"', b'"tw\xef"').replace(b'"three"', b'"throw"'))

    records, warning = Journal(tmp_path, Bounds(1 << 20, 3)).read_back()

    assert texts(records) == ["one", "four"]
    assert warning.startswith(
        f"2 lines of {path} can't be read and left out, all others are taken up. The first is line 2 of"
    )


@pytest.mark.parametrize("at", range(0, 12))
async def test_no_single_bit_of_a_line_may_change_unnoticed(tmp_path: Path, at: int) -> None:
    await write(Journal(tmp_path, Bounds(1 << 20, 3)), "one")
    path = tmp_path / CURRENT
    written = path.read_bytes()
    for place in range(at, len(written) - 1, 12):
        for bit in range(8):
            damaged = bytearray(written)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            records = Journal(tmp_path, Bounds(1 << 20, 3)).read_back().records
            assert texts(records) in ([], ["one"]), (place, bit)


async def test_lines_of_before_there_were_checksums_are_read(tmp_path: Path) -> None:
    old = Record(7, Notice(0.0, "info", "old"))
    (tmp_path / CURRENT).write_bytes(to_json(old) + b"\n")
    journal = Journal(tmp_path, Bounds(1 << 20, 3))

    assert journal.read_back() == ([old], "")
    await write(journal, "new")

    assert [record.seq for record in Journal(tmp_path, Bounds(1 << 20, 3)).read_back().records] == [7, 8]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.mkdir, "Is a directory"),
        (os.mkfifo, "it is no file"),
        (lambda p: p.symlink_to("/dev/zero"), "it is no file"),
    ],
    ids=["folder", "pipe", "device"],
)
async def test_a_file_that_cannot_be_read_costs_that_file(
    tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    make(tmp_path / CURRENT)

    records, warning = Journal(tmp_path, Bounds(1 << 20, 3)).read_back()

    assert records == []
    assert f"journal.jsonl can't be read: {why}" in warning
    with pytest.raises(NotWritten, match="can't be written"):
        await RotatedFile(tmp_path, CURRENT, Bounds(1 << 20, 3)).append(b"{}\n")
