"""The journal: one JSON line a record, in files that are rotated, read back at start. A torn last line costs that line only."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import aiofiles
import msgspec

from engine.core.records import Entry, Record

_log: Final = logging.getLogger(__name__)
CURRENT: Final = "journal.jsonl"


class JournalBroken(Exception):
    """The journal can't be written. The engine goes on without."""


class Journal:
    """Appends records to `folder`; keeps the `files` newest closed files beside the current one."""

    def __init__(self, folder: Path, max_bytes: int, files: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._files = files
        self._encoder = msgspec.json.Encoder()
        self._last_seq = 0

    def read_back(self, limit: int = 1000) -> list[Record]:
        """The newest records that earlier runs wrote, oldest first. What can't be read is left out, and logged."""
        decoder = msgspec.json.Decoder(Record)
        records: list[Record] = []
        for path in reversed(self._paths()):
            for number, line in enumerate(path.read_bytes().splitlines(), 1):
                try:
                    records.append(decoder.decode(line))
                except msgspec.DecodeError as error:
                    _log.warning("line %d of %s is left out: %s", number, path, error)
        self._last_seq = max((r.seq for r in records), default=0)
        self._end_torn_line()
        return records[-limit:]

    def number(self, entry: Entry) -> Record:
        """The entry, with the next place in the sequence."""
        self._last_seq += 1
        return Record(self._last_seq, entry)

    async def append(self, record: Record) -> None:
        """Write one line. Raises JournalBroken, saying why."""
        path = self._folder / CURRENT
        try:
            if path.exists() and path.stat().st_size >= self._max_bytes:
                self._rotate()
            async with aiofiles.open(path, "ab") as file:
                await file.write(self._encoder.encode(record) + b"\n")
        except OSError as error:
            raise JournalBroken(f"{path} can't be written: {error.strerror}; switches are not recorded") from error

    def _paths(self) -> list[Path]:
        """The files that are there, newest first."""
        paths = [self._folder / CURRENT, *(self._folder / f"{CURRENT}.{n}" for n in range(1, self._files + 1))]
        return [path for path in paths if path.exists()]

    def _rotate(self) -> None:
        closed = [self._folder / f"{CURRENT}.{n}" for n in range(1, self._files + 1)]
        for older, newer in zip(reversed(closed), [*reversed(closed[:-1]), self._folder / CURRENT], strict=True):
            if newer.exists():
                newer.replace(older)

    def _end_torn_line(self) -> None:
        """Begin the next record on a line of its own when the last run died while it wrote one."""
        path = self._folder / CURRENT
        if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")
