"""The boxes' journals as one: numbered by time, so that whoever has a number is told what came after it, also by a service that
has started since.

A record's number is the microsecond in which what it tells of ended, by its box's clock, or the next one that is free. So nothing
needs to be kept: what boxes have at hand gets the same numbers again. News that comes late, as from a box that was away, is news
all the same and gets a number behind all others.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from engine.core.names import BoxName
from engine.core.records import CommandEnd, Entry, Notice, Pinned, Record, Refused, Residency, Switch
from fleet.naming import record_on

KEPT_RECORDS: Final = 1000
"""Of each box, as it keeps at hand itself."""


class FleetHistory:
    """The newest records of all boxes."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._arrived: Final[deque[tuple[int, Record]]] = deque(maxlen=KEPT_RECORDS)
        self._arrivals = 0
        self._last: Final[dict[BoxName, Record]] = {}
        """As the box numbers it."""
        self._by_id: Final[dict[str, dict[BoxName, CommandEnd]]] = {}
        self._most = KEPT_RECORDS

    @property
    def arrivals(self) -> int:
        """How many records have come; whoever follows remembers it."""
        return self._arrivals

    @property
    def last_seq(self) -> int:
        return self._records[-1].seq if self._records else 0

    def newest(self, limit: int) -> tuple[Record, ...]:
        """At most `limit` records, oldest first."""
        return tuple(self._records[-limit:]) if limit > 0 else ()

    def after(self, seq: int) -> list[Record]:
        """The records kept with numbers above that."""
        return self._records[bisect.bisect_right(self._records, seq, key=lambda one: one.seq) :]

    def since(self, arrivals: int) -> Iterator[Record]:
        """Those that came after so many had, in the order in which they came."""
        return (record for number, record in self._arrived if number > arrivals)

    def ended(self, submission_id: str) -> dict[BoxName, CommandEnd]:
        """What boxes have written down of a command's end, by their names for devices."""
        return self._by_id.get(submission_id, {})

    def connected(self, box: BoxName, kept: Iterable[Record]) -> None:
        """This is the newest that `box` has at hand, as when the line to it has just come up. What is known already is left
        out."""
        kept = list(kept)
        if (last := self._last.get(box)) is None:
            self._take_past(box, kept)
        elif last in kept:
            self._take_news(box, kept[kept.index(last) + 1 :])
        else:  # it has begun another journal, or was away for longer than it keeps
            self._take_news(box, [one for one in kept if ended_us(one.entry) > ended_us(last.entry)])

    def add(self, box: BoxName, record: Record) -> None:
        """`box` has just written it."""
        last = self._last.get(box)
        if last is None or record.seq > last.seq:
            self._take_news(box, [record])

    def _take_past(self, box: BoxName, kept: list[Record]) -> None:
        """What happened before it was followed takes its place among the others."""
        self._most += KEPT_RECORDS
        seq, past = 0, list[Record]()
        for record in kept:
            seq = max(ended_us(record.entry), seq + 1)
            past.append(Record(seq, self._noted(box, record).entry))
        numbered = [(one, False) for one in self._records] + [(one, True) for one in past]
        self._records, seq = [], 0
        self._arrivals += 1
        for record, is_new in sorted(numbered, key=lambda one: one[0].seq):
            seq = max(record.seq, seq + 1)
            self._records.append(Record(seq, record.entry))
            if is_new:
                self._arrived.append((self._arrivals, self._records[-1]))

    def _take_news(self, box: BoxName, records: Iterable[Record]) -> None:
        for record in records:
            numbered = Record(max(ended_us(record.entry), self.last_seq + 1), self._noted(box, record).entry)
            self._records.append(numbered)
            self._arrivals += 1
            self._arrived.append((self._arrivals, numbered))
        del self._records[: -self._most]

    def _noted(self, box: BoxName, record: Record) -> Record:
        """The record in the fleet's names."""
        self._last[box] = record
        if isinstance(record.entry, CommandEnd):
            self._by_id.setdefault(record.entry.id, {})[box] = record.entry
            if len(self._by_id) > self._most:
                del self._by_id[next(iter(self._by_id))]
        return record_on(box, record)


def ended_us(entry: Entry) -> int:
    """When what it tells of ended, microseconds since the epoch."""
    match entry:
        case Switch():
            return round((entry.at_s + entry.total_s) * 1e6)
        case Refused() | Pinned() | Notice() | Residency():
            return round(entry.at_s * 1e6)
