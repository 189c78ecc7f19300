"""The records that are kept at hand, and the task that writes them to the journal."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from engine.core.records import Entry, Notice, Record
from engine.runtime.journal import Journal, JournalBroken
from engine.runtime.ports import Clock

KEPT_RECORDS: Final = 1000


class History:
    """Numbers entries, keeps the newest, and hands them to the journal in order. A broken journal is told once."""

    def __init__(self, journal: Journal, past: list[Record], clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._records: deque[Record] = deque(past, maxlen=KEPT_RECORDS)
        self._unwritten: asyncio.Queue[Record] = asyncio.Queue()
        self._broken = False

    def add(self, entry: Entry) -> None:
        record = self._journal.number(entry)
        self._records.append(record)
        self._unwritten.put_nowait(record)

    @property
    def last_seq(self) -> int:
        return self._records[-1].seq if self._records else 0

    def newest(self, limit: int) -> tuple[Record, ...]:
        """At most `limit` records, oldest first."""
        return tuple(self._records)[-limit:] if limit > 0 else ()

    def after(self, seq: int) -> list[Record]:
        """The records kept that came after number `seq`."""
        return [record for record in self._records if record.seq > seq]

    async def write(self) -> None:
        """Write records as they come, until cancelled."""
        while True:
            await self._write(await self._unwritten.get())
            self._unwritten.task_done()

    async def written(self) -> None:
        """Wait until `write`, which must be running, has written everything."""
        await self._unwritten.join()

    async def _write(self, record: Record) -> None:
        try:
            await self._journal.append(record)
            self._broken = False
        except JournalBroken as broken:
            if not self._broken:
                self._broken = True
                self.add(Notice(self._clock.now(), "error", str(broken)))
