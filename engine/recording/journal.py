"""The journal: one JSON line a record, each with a checksum, read back at start. A line that is torn or damaged costs that line
only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from engine.core.records import Entry, Record
from engine.core.serialization import to_sealed_json
from engine.recording.files import Bounds, NotWritten, RotatedFile, SealedLines, newest_sealed, sealed_lines

CURRENT: Final = "journal.jsonl"


class Past(NamedTuple):
    """What earlier runs left in the journal."""

    records: list[Record]
    """Oldest first."""
    warning: str = ""
    """What could not be read of it, in words."""


class Journal:
    """Numbers entries and appends them to the files in `folder`."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self._folder = folder
        self._file = RotatedFile(folder, CURRENT, bounds)
        self._last_seq = 0

    def read_back(self) -> Past:
        """What earlier runs wrote; numbers go on after theirs."""
        found = recorded_records(self._folder)
        self._last_seq = max((r.seq for r in found.values), default=0)
        return Past(list(found.values), found.left_out)

    def number(self, entry: Entry) -> Record:
        """The entry, with the next place in the sequence."""
        self._last_seq += 1
        return Record(self._last_seq, entry)

    async def append(self, *records: Record) -> None:
        """Write a line each. Raises NotWritten, saying what is not kept because of it."""
        try:
            await self._file.append(b"".join(to_sealed_json(record) + b"\n" for record in records))
        except NotWritten as trouble:
            raise trouble.so_that("switches are not recorded") from trouble


def newest_records(folder: Path, most_bytes: int) -> Iterator[Record]:
    """The records of the newest `most_bytes` in `folder`, oldest first; damaged ones are left out. Raises OSError."""
    return newest_sealed(folder, CURRENT, Record, most_bytes)


def recorded_records(folder: Path) -> SealedLines[Record]:
    """The records in `folder`."""
    return sealed_lines(folder, CURRENT, Record)
