"""The records that are kept at hand, each handed on to be written to the journal."""

from __future__ import annotations

from collections import deque
from typing import Final

from engine.clock import Clock
from engine.core.records import Entry, Notice, Record
from engine.recording.files import NotWritten, Writer
from engine.recording.journal import Journal

HISTORY_RECORDS: Final = 1000


class History:
    """Numbers entries, keeps the newest, and has them written in order. A journal that can't be written is an entry, too."""

    def __init__(self, journal: Journal, past: list[Record], clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._records: deque[Record] = deque(past, maxlen=HISTORY_RECORDS)
        self._writer = Writer(journal.append, self.not_written, self.written_again)

    def add(self, entry: Entry) -> None:
        record = self._journal.number(entry)
        self._records.append(record)
        self._writer.put(record)

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
        await self._writer.run()

    async def written(self) -> None:
        """Wait until `write`, which must be running, has written everything."""
        await self._writer.written()

    def not_written(self, trouble: NotWritten) -> None:
        """Something that is recorded is lost from here on."""
        self.add(Notice(self._clock.now(), "error", str(trouble), condition=trouble.cause))

    def written_again(self, trouble: NotWritten) -> None:
        """And from here on no longer."""
        self.add(Notice(self._clock.now(), "info", trouble.past, condition=trouble.cause, over=True))

    def tell(self, text: str) -> None:
        """Something can't be written."""
        self.add(Notice(self._clock.now(), "error", text))
