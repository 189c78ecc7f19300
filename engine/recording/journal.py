"""The journal: one JSON line a record, read back at start. A torn last line costs that line only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine.core.records import Entry, Record
from engine.recording.files import Bounds, NotWritten, RotatedFile, kept_paths, whole_lines

_log: Final = logging.getLogger(__name__)
CURRENT: Final = "journal.jsonl"


class Journal:
    """Numbers entries and appends them to the files in `folder`."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self._folder = folder
        self._file = RotatedFile(folder, CURRENT, bounds)
        self._encoder = msgspec.json.Encoder()
        self._last_seq = 0

    def read_back(self) -> list[Record]:
        """The records that earlier runs wrote, oldest first; numbers go on after theirs."""
        records = list(recorded_records(self._folder))
        self._last_seq = max((r.seq for r in records), default=0)
        return records

    def number(self, entry: Entry) -> Record:
        """The entry, with the next place in the sequence."""
        self._last_seq += 1
        return Record(self._last_seq, entry)

    async def append(self, *records: Record) -> None:
        """Write a line each. Raises NotWritten, saying what is not kept because of it."""
        try:
            await self._file.append(b"".join(self._encoder.encode(record) + b"\n" for record in records))
        except NotWritten as trouble:
            raise NotWritten(f"{trouble}; switches are not recorded") from trouble


def recorded_records(folder: Path) -> Iterator[Record]:
    """The records in `folder`, oldest first. What can't be read is left out, and logged. Raises OSError."""
    decoder = msgspec.json.Decoder(Record)
    for path in kept_paths(folder, CURRENT):
        for number, line in enumerate(whole_lines(path), 1):
            try:
                yield decoder.decode(line)
            except msgspec.MsgspecError as error:
                _log.warning("line %d of %s is left out: %s", number, path, error)
