"""What the engine does meanwhile: every switch that it records, and how full its GPUs are between two snapshots."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, assert_never

from engine.api import EngineAPI, EngineUnreachable, Event, Recorded, Snapshot, Updated
from engine.core.ledger import charged
from engine.core.planning.placement import gpus
from engine.core.records import Switch


class Filling:
    """The share of the GPUs' budget that models fill, weighted by time; each snapshot holds until the next one."""

    def __init__(self) -> None:
        self.peak: float | None = None
        self._share_seconds = 0.0
        self._seconds = 0.0
        self._last: tuple[float, float] | None = None

    def note(self, at_s: float, share: float) -> None:
        if self._last is not None:
            before_s, before = self._last
            self._share_seconds += before * (at_s - before_s)
            self._seconds += at_s - before_s
        self._last = at_s, share
        self.peak = share if self.peak is None else max(self.peak, share)

    @property
    def mean(self) -> float | None:
        """None before two snapshots."""
        return self._share_seconds / self._seconds if self._seconds > 0 else None


class Watch:
    """Follows `api` until cancelled, or until the engine goes."""

    def __init__(self, api: EngineAPI) -> None:
        self._api: Final = api
        self._seq = 0
        self._changed = asyncio.Event()
        self.lost = ""
        """Why the engine went, when it did."""
        self.switches: list[Switch] = []
        self.all_along: Final = Filling()
        self.pressed: Final = Filling()
        """From the first eviction for want of room on."""

    async def follow(self) -> None:
        try:
            self._seq = await self._newest_seq()
            async for event in self._api.events(self._seq):
                self._note(event)
                self._changed.set()
        except EngineUnreachable as gone:
            self.lost = str(gone)
            self._changed.set()

    async def caught_up(self) -> None:
        """Wait until `follow`, which must be running, has seen all that is recorded by now. Not for an engine that has gone."""
        with contextlib.suppress(EngineUnreachable):
            newest = await self._newest_seq()
            while self._seq < newest and not self.lost:
                self._changed.clear()
                await self._changed.wait()

    def _note(self, event: Event) -> None:
        match event:
            case Updated(snapshot):
                self._note_filling(snapshot)
            case Recorded(record):
                self._seq = record.seq
                if isinstance(record.entry, Switch):
                    self.switches.append(record.entry)
            case _:
                assert_never(event)

    async def _newest_seq(self) -> int:
        newest = await self._api.records(1)
        return newest[-1].seq if newest else 0

    def _note_filling(self, snapshot: Snapshot) -> None:
        devices = gpus(snapshot.state)
        budget_bytes = sum(snapshot.budgets[gpu] for gpu in devices)
        if not budget_bytes:
            return
        share = sum(charged(snapshot.state, gpu) for gpu in devices) / budget_bytes
        self.all_along.note(snapshot.at_s, share)
        if any(switch.plan.victims for switch in self.switches):
            self.pressed.note(snapshot.at_s, share)
