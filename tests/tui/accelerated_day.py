"""A day at the console, faster than a day: an engine that is told what to say, and an operator who now and then presses keys."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count, cycle
from pathlib import Path
from types import FrameType
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from textual.pilot import Pilot

from citadel_tui.app import CitadelApp
from citadel_tui.screens.dashboard import Dashboard
from citadel_tui.theme import Look
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.scene import Scene
from engine.api import EngineAPI, Event, Recorded, Updated
from engine.core.devices import Reading
from engine.core.records import Record, Switch
from engine.core.state import State
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine, with_requests
from tests.tui.consoles import Clock, Console

HOUR_S: Final = 3600
KEYS_EVERY: Final = 45
LOST_EVERY: Final = 100
"""Both in steps of the day."""
_HABITS: Final[tuple[tuple[str, ...], ...]] = (
    ("enter", "escape"),
    ("slash", "p", "h", "i", "escape", "escape"),
    ("s", "o", "s", "o"),
    ("0", "down", "escape"),
    ("tab", "down", "down", "enter", "escape", "tab"),
    ("colon", "e", "v", "escape"),
    ("t", "escape"),
    ("space", "space", "escape", "escape"),
    ("exclamation_mark", "escape"),
    ("question_mark", "pagedown", "escape"),
    ("g", "g"),
    ("m", "escape"),
)
"""What the operator does, one after the other."""


class Holding(Struct, frozen=True):
    """How much the console holds on to."""

    blocks: int
    """Of memory, in Python's allocator."""
    resident_kib: int
    widgets: int
    records: int
    buckets: int
    """The longest track of the history."""


class Broadcast(ScriptedEngine):
    """Says what it is told to say, and remembers nothing of it."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._told: asyncio.Queue[Event] = asyncio.Queue()

    def tell(self, event: Event) -> None:
        self._told.put_nowait(event)

    async def heard(self) -> None:
        """Returns when the console has taken all of it."""
        await self._told.join()

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        yield Updated(await self.snapshot())
        while True:
            yield await self._told.get()
            self._told.task_done()


class Day:
    """The console's life, step by step."""

    def __init__(
        self, app: CitadelApp, pilot: Pilot[int], engine: Broadcast, story: Sequence[Record], clock: Clock
    ) -> None:
        self._app = app
        self._clock = clock
        self._pilot = pilot
        self._engine = engine
        self._story = cycle(story)
        self._habits = cycle(_HABITS)
        self._steps = count(1)

    @property
    def scene(self) -> Scene:
        return self._app.link.scene()

    async def pass_hour(self, step_s: int) -> None:
        """Lets an hour pass, with an update and a line of the log each `step_s`, and some keys now and then."""
        for _ in range(0, HOUR_S, step_s):
            self._clock.now_s += step_s
            await self._step()

    async def _step(self) -> None:
        step = next(self._steps)
        self._engine.tell(Recorded(_retold(next(self._story), step, self._clock.now_s)))
        await self._update(step)
        if step % KEYS_EVERY == 0:
            await self._pilot.press(*next(self._habits))

    async def _update(self, step: int) -> None:
        """One new snapshot, from the engine to the screen."""
        state = with_requests(self._engine.state, step)
        if step % LOST_EVERY == 0:
            gpu1 = replace(state.devices["gpu1"], reading=Reading("lost", "it fell off the bus"))
            state = replace(state, devices={**state.devices, "gpu1": gpu1})
        self._engine.tell(Updated(replace(await self._engine.snapshot(), seq=step, state=state)))
        await self._engine.heard()
        self._app.link.remember()
        for screen in self._app.screen_stack:
            if isinstance(screen, Dashboard):
                screen.show_scene(self.scene)
        await self._pilot.pause(0)

    async def calls_of_an_update(self) -> int:
        """How many functions are called for one: the work, whatever the machine's speed."""
        calls = 0

        def called(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += event == "call"

        sys.setprofile(called)
        try:
            await self._update(1)
        finally:
            sys.setprofile(None)
        return calls

    def holding(self) -> Holding:
        """What is held now, with the rubbish taken out."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        widgets = sum(len(screen.query("*")) for screen in self._app.screen_stack)
        buckets = max(len(track) for track in self.scene.history.memory.values())
        return Holding(sys.getallocatedblocks(), pages * 4, widgets, len(self.scene.records), buckets)


def _retold(record: Record, seq: int, now_s: float) -> Record:
    """`record` once more, now."""
    entry = replace(record.entry, at_s=now_s)
    if isinstance(entry, Switch):
        entry = replace(entry, id=f"switch-{seq}")
    return Record(seq, entry)


@asynccontextmanager
async def day() -> AsyncIterator[Day]:
    """The console as it opens in the morning."""
    busy, clock = await busy_engine(models=8), Clock()
    engine = Broadcast(busy.state)

    async def connect() -> EngineAPI:
        return engine

    app = CitadelApp(connect, Look(UNICODE, "citadel"), read_only=False, now=clock, monotonic=clock)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await Console(pilot, app).sees("live")
        yield Day(app, pilot, engine, await busy.records(), clock)
