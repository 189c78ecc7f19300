"""Keeps the engine's books beside its work: what was asked of it, and how its devices' memory was used over time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from engine.api import Hello, Snapshot
from engine.clock import Clock
from engine.core.names import ModelName
from engine.core.records import Switch
from engine.core.state import State
from engine.recording.demand import Asked, DemandLog
from engine.recording.files import Writer
from engine.recording.host_facts import this_machine
from engine.recording.memory import PRESSURE_S, EngineFacts, MemoryLine, MemoryLog, ModelFacts, sample_of
from engine.runtime.history import History


class Pace(Struct, frozen=True):
    """Seconds between two samples."""

    quiet_s: float
    pressed_s: float
    """While models are evicted for others: what happens then is over before the next quiet sample."""


class Recorder:
    """Writes in tasks of its own: no request and no decision waits for it."""

    def __init__(self, demand: DemandLog, memory: MemoryLog, history: History, clock: Clock, pace: Pace) -> None:
        self._history: Final = history
        self._clock: Final = clock
        self._pace: Final = pace
        self._demand: Final = Writer[Asked](demand.append, history.not_written, history.written_again)
        self._memory: Final = Writer[MemoryLine](memory.append, history.not_written, history.written_again)
        self._seen_seq = history.last_seq
        self._evicted_at_s = float("-inf")

    def asked(self, model: ModelName, work: int) -> None:
        """A request came."""
        self._demand.put(Asked(self._clock.now(), self._clock.monotonic(), model, work))

    async def run(self, hello: Hello, snapshot: Callable[[], Awaitable[Snapshot]]) -> None:
        """Sample and write, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._demand.run())
            tasks.create_task(self._memory.run())
            first = await snapshot()
            self._memory.put(_facts(hello, self._pace.quiet_s, first))
            before_s = first.at_s
            while True:
                now = await snapshot()
                self._memory.put(sample_of(now, before_s))
                before_s = now.at_s
                await self._pause()

    async def written(self) -> None:
        """Wait until `run`, which must be running, has written all that there is."""
        await self._demand.written()
        await self._memory.written()

    async def _pause(self) -> None:
        """Until the next sample is due: sooner, when models begin to be evicted for others meanwhile."""
        ends_s = self._clock.monotonic() + self._pace.quiet_s
        while (left_s := ends_s - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left_s, self._pace.pressed_s))
            if self._is_pressed():
                return

    def _is_pressed(self) -> bool:
        for record in self._history.after(self._seen_seq):
            self._seen_seq = record.seq
            entry = record.entry
            if isinstance(entry, Switch) and entry.plan.victims and entry.outcome == "done":
                self._evicted_at_s = entry.at_s + entry.total_s
        # Far from now, whichever way, where the clock was set since.
        return abs(self._clock.now() - self._evicted_at_s) < PRESSURE_S


def _facts(hello: Hello, interval_s: float, first: Snapshot) -> EngineFacts:
    state = first.state
    return EngineFacts(
        at_s=first.at_s,
        hello=hello,
        machine=this_machine(state.devices.values()),
        devices=tuple(device.spec for device in state.devices.values()),
        models=_models(state),
        interval_s=interval_s,
    )


def _models(state: State) -> tuple[ModelFacts, ...]:
    return tuple(
        ModelFacts(
            known.spec.name,
            known.spec.task,
            known.spec.dtype,
            known.source,
            known.synthetic,
            known.footprint.total_bytes,
            known.trouble,
        )
        for known in state.models.values()
    )
