"""The boxes of a fleet, each followed by a task of its own, and what they come to together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from msgspec import Struct

from engine.api import EngineUnreachable, Snapshot
from engine.clock import Clock
from engine.core.model_names import unknown_model
from engine.core.names import BoxName, ModelName
from engine.core.records import Record
from engine.core.state import ModelState
from fleet.boxes import Box
from fleet.core.view import Rules
from fleet.history import FleetHistory
from fleet.links import OpenLink
from fleet.merge import Merge
from fleet.sight import Sight

_LOOK_S: Final = 0.5
"""Between two looks at who has fallen silent."""
FIRST_ANSWERS_S: Final = 1.5
"""What boxes have for their first answer before anything is decided without them."""
_NO_MORE_S: Final = 0.3
"""In so long none has answered: then the fleet is shown without those that have not."""


class Boxed(Struct, frozen=True):
    """A box as the operator wants it."""

    name: BoxName
    open_link: OpenLink
    drained: bool = False
    address: str = ""
    """One with another address is another box."""


class _Boxes(dict[BoxName, Box]):
    """By their names; whoever waited while one left the fleet is told that it has."""

    def __missing__(self, name: BoxName) -> NoReturn:
        raise EngineUnreachable(f"{name} is no box of the fleet any more")


class Following:
    """All boxes in the operator's order, from `adopt` to `end`."""

    def __init__(self, clock: Clock, rules: Rules = Rules()) -> None:  # noqa: B008 - frozen
        self.boxes: Final = _Boxes()
        self.history: Final = FleetHistory()
        self.sight: Final = Sight(self.boxes, rules, int(clock.now() * 1000), clock.monotonic)
        self.changed = asyncio.Event()
        """Set, and replaced by another, with each change."""
        self._clock: Final = clock
        self._merge: Final = Merge()
        self._dirty: Final[set[BoxName]] = set()
        """Boxes whose news is not merged yet."""
        self._tasks: Final[dict[BoxName, asyncio.Task[None]]] = {}
        self._addresses: Final[dict[BoxName, str]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._meeting: asyncio.Task[None] | None = None
        self._seq = 0
        self._shown: Snapshot | None = None
        self._ended = ""

    # ── which boxes there are ────────────────────────────────────────────────────────────────────

    def adopt(self, boxes: Sequence[Boxed], rules: Rules) -> None:
        """Follow these from now on. Who is no more among them, or elsewhere, is let go with all that was known of it."""
        self.sight.view.rules = rules
        wanted = {one.name: one for one in boxes}
        for name in [
            name for name in self.boxes if name not in wanted or wanted[name].address != self._addresses[name]
        ]:
            self._tasks.pop(name).cancel()
            del self.boxes[name], self._addresses[name]
        kept = dict(self.boxes)
        self.boxes.clear()
        for one in boxes:
            box = self.boxes[one.name] = kept.get(one.name) or Box(one.name, one.open_link, self._clock, self)
            box.drained = one.drained
            self._addresses[one.name] = one.address
            if one.name not in self._tasks:
                self._tasks[one.name] = asyncio.create_task(box.follow(), name=f"following {one.name}")
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="looking who is silent")
            self._meeting = asyncio.create_task(self._meet(), name="the first answers")
        self._merge.reorder(tuple(self.boxes))
        for box in self.boxes.values():
            self.sight.stood(box)
        self.wake()

    async def met(self) -> None:
        """Wait until each box has answered or failed to, a while from the start at most: until then something may be under way,
        or ready, that nobody knows of yet."""
        if self._meeting is not None:
            await asyncio.wait({self._meeting})

    @property
    def has_met(self) -> bool:
        return self._meeting is not None and self._meeting.done()

    async def shown(self) -> None:
        """Wait until the boxes that answer have done so. One that says nothing is not waited for once the others have."""
        met = asyncio.create_task(self.met())
        answered = -1
        while not met.done() and not 0 < answered == self._tried():
            answered = self._tried()
            await _first_of(met, asyncio.ensure_future(self._clock.sleep(_NO_MORE_S)))
        met.cancel()

    def _tried(self) -> int:
        return sum(box.has_tried for box in self.boxes.values())

    async def _meet(self) -> None:
        everybody = asyncio.gather(*(box.tried() for box in self.boxes.values()))
        await _first_of(everybody, asyncio.ensure_future(self._clock.sleep(FIRST_ANSWERS_S)))
        everybody.cancel()
        await asyncio.gather(everybody, return_exceptions=True)

    async def end(self, why: str) -> None:
        """Let all of them go; nothing is answered any more."""
        self._ended = self._ended or why
        tasks = [*self._tasks.values(), *filter(None, [self._looking, self._meeting])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.wake()

    def refuse_if_ended(self) -> None:
        """Raises EngineUnreachable."""
        if self._ended:
            raise EngineUnreachable(self._ended)

    # ── what they come to ────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> Snapshot:
        """The newest of all boxes; waits for none."""
        if self._shown is None or self._shown.seq != self._seq:
            for name in self._dirty & self.boxes.keys():
                box = self.boxes[name]
                if box.snapshot is not None:
                    self._merge.take(
                        name, box.snapshot, box.ahead_s, box.why and f"{name} is {box.standing}: {box.why}"
                    )
            self._dirty.clear()
            views = {name: box.view() for name, box in self.boxes.items()}
            self._shown = self._merge.snapshot(self._seq, self._clock.now(), self._clock.monotonic(), views)
        return self._shown

    @property
    def models(self) -> Mapping[ModelName, ModelState]:
        """All that any box has, each once."""
        return self.snapshot().state.models

    def remarks(self) -> tuple[str, ...]:
        """What the operator's rules say of models that there are not, in words; once all boxes have told of theirs."""
        if any(box.snapshot is None for box in self.boxes.values()):
            return ()
        specs = {model: known.spec for model, known in self.models.items()}
        unknown = [model for model in self.sight.view.rules.models if model not in specs]
        return tuple(f"models in fleet.yaml: {unknown_model(specs, model)}" for model in unknown)

    def wake(self) -> None:
        """Something is otherwise than it was."""
        self._seq += 1
        self.changed.set()
        self.changed = asyncio.Event()

    async def _look(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_S)
            for box in self.boxes.values():
                box.look()
            if any(box.standing != "ready" for box in self.boxes.values()):
                self.wake()  # the age of what is known of it grows

    # ── what comes from them ─────────────────────────────────────────────────────────────────────

    def connected(self, box: Box, kept: Iterable[Record]) -> None:
        self.history.connected(box.name, kept)
        self.wake()

    def updated(self, box: Box) -> None:
        self.sight.heard(box)
        self._dirty.add(box.name)
        self.wake()

    def recorded(self, box: Box, record: Record) -> None:
        self.history.add(box.name, record)
        self.wake()

    def stood(self, box: Box) -> None:
        self.sight.stood(box)
        self._dirty.add(box.name)
        self.wake()

    def twin(self, box: Box) -> BoxName | None:
        heard = (other for other in self.boxes.values() if other is not box and other.standing in ("ready", "silent"))
        return next((other.name for other in heard if _engine(other) == _engine(box)), None)


def _engine(box: Box) -> tuple[str, int, float] | None:
    """What no two engines have in common."""
    return None if box.hello is None else (box.hello.host, box.hello.pid, box.hello.started_at_s)


async def _first_of(awaited: asyncio.Future[Any], patience: asyncio.Future[None]) -> None:
    """Wait for `awaited`, and no longer than `patience`, which ends with this."""
    try:
        await asyncio.wait({awaited, patience}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        patience.cancel()
        await asyncio.gather(patience, return_exceptions=True)
