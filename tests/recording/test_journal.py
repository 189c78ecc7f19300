"""The journal on a real disk: rotation, torn lines, the sequence."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.records import Notice, Record
from engine.recording.files import Bounds, NotWritten
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
