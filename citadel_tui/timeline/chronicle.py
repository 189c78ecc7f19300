"""Who was where, and when: told record by record and look by look, as stays of models on devices, the edges where something
changed, and the gaps in which no engine ran. Knows nothing of files and screens.

Records come in their order, and their times mostly do. Where a clock was set back, the times after that are right: whatever
claims to be later happened just before. Of the past only so much is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from engine.api import Snapshot
from engine.core.names import DeviceId, ModelName
from engine.core.plans import EvictStep, LoadStep
from engine.core.records import Notice, Record, Residency, Switch
from engine.core.state import answered

if TYPE_CHECKING:
    from engine.recording.memory import Sample  # which is read with files, and those take a while to import

Place: TypeAlias = tuple[DeviceId, ModelName]
StayEnd: TypeAlias = Literal["", "victim", "taken off", "lost", "down", "gone"]
"""How a stay ended: not yet; for another model's sake; as asked; when something broke there; with the engine; or nobody says."""
EdgeKind: TypeAlias = Literal["switch", "failure", "trouble", "start"]

MOST: Final = 2000
"""Stays and edges that are kept, each, where nobody wants more."""
_JITTER_S: Final = 2.0
"""So much earlier than what was told before, a time is still no clock that was set back."""
_TOGETHER_S: Final = 5.0
"""So far apart, a trouble of a device and the end of a stay there are one thing."""
_LOOKS_S: Final = 90.0
"""Between looks that are no further apart it is known who answered: three of the engine's samples."""
_PAUSE_S: Final = 5.0
"""A shorter pause between requests is none; a longer one may be, where a stay is long, so that its uses are few."""
_USES: Final = 500


class Period(NamedTuple):
    """From when to when, seconds since the epoch."""

    from_s: float
    until_s: float


class Stay(Struct, frozen=True):
    """A model on a device, ready to answer."""

    model: ModelName
    device: DeviceId
    ready_s: float
    came_s: float | None = None
    """When its load began; None where that is not known."""
    ended_s: float | None = None
    """None while it is there."""
    end: StayEnd = ""
    size_bytes: int = 0
    uses: tuple[Period, ...] = ()
    """When it ran requests."""


class Failure(Struct, frozen=True):
    """A load that came to nothing."""

    model: ModelName
    device: DeviceId
    came_s: float
    at_s: float
    reason: str


class Edge(Struct, frozen=True):
    """A moment that changed something."""

    at_s: float
    kind: EdgeKind
    devices: tuple[DeviceId, ...]
    """Where; empty for all."""
    record: Record | None = None
    """What the journal says of it; None where an engine started."""


class Chronicle:
    """What has been told so far."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.edges: deque[Edge] = deque(maxlen=most)
        self.failures: deque[Failure] = deque(maxlen=most)
        self.gaps: deque[Period] = deque(maxlen=most)
        """No engine ran, or nothing is known of it."""
        self.looks: deque[Period] = deque(maxlen=most)
        """It is known who answered."""
        self.since_s: float | None = None
        """Nothing is known of what was before."""
        self.until_s = 0.0
        self.last: Record | None = None
        self.version = 0
        """Goes on with each change that can be seen."""
        self._ended: deque[Stay] = deque(maxlen=most)
        self._open: dict[Place, Stay] = {}
        self._loaded: dict[Place, Stay] = {}
        """By a switch that was told of after a look without its model, which may have gone again."""
        self._sampled: set[Place] = set()
        """Of those there, whom a sample alone tells of: they may be on their way."""
        self._recorded_s = self._held_s = float("-inf")
        """When a record, and when anything, last told who is there."""
        self._troubled_s: dict[DeviceId, float] = {}

    @property
    def stays(self) -> list[Stay]:
        """The oldest first, those that last at the end."""
        return [*self._ended, *self._open.values()]

    # ── what is told ─────────────────────────────────────────────────────────────────────────────

    def record(self, record: Record) -> None:
        """The next of the journal's records."""
        self.last = record
        entry = record.entry
        if isinstance(entry, Switch):
            self._switched(record, entry)
        elif isinstance(entry, Residency):
            at_s = self._recorded_s = self._at(entry.at_s)
            self._hold({(device, model): None for model, device in entry.residents}, at_s, lambda _: at_s)
        elif isinstance(entry, Notice) and entry.device is not None and entry.level != "info":
            at_s = self._at(entry.at_s)
            self._troubled(entry.device, at_s)
            self._edge(Edge(at_s, "trouble", (entry.device,), record))

    def sampled(self, sample: Sample) -> None:
        """A line of the recorded monitor. It does not tell residents from loads under way; the records of those do, later."""
        held = {(device.id, model): size for device in sample.devices for model, size in device.models.items()}
        uses = {(device.id, model) for device in sample.devices for model in device.answered}
        at_s = self._at(sample.at_s)
        self._sampled |= held.keys() - self._open.keys()
        self._hold(held, at_s, lambda _: at_s)
        self._look(at_s, held, uses)

    def showed(self, snapshot: Snapshot) -> None:
        """What the engine shows now."""
        at_s = self._at(snapshot.at_s)
        there = {(r.device, r.model): r for r in snapshot.state.residents if r.stage in ("ready", "draining")}
        seen_s = self.looks[-1].until_s if self.looks else float("-inf")
        if at_s >= self._recorded_s:
            for r in snapshot.state.residents:
                if r.stage in ("pending", "loading"):
                    self._never_came((r.device, r.model), r.since_s)
            self._sampled.clear()
            self._hold(there, at_s, lambda place: min(max(there[place].since_s, seen_s), at_s))
        since_s = seen_s if self.looks else at_s
        uses = [place for place, r in there.items() if answered(r, since_s)]
        self._look(at_s, {place: r.footprint.total_bytes for place, r in there.items()}, uses)

    def started(self, at_s: float) -> None:
        """An engine has started: what was resident before ended with the one before it, whose last word came last."""
        ended_s = self.until_s
        at_s = self._at(at_s)
        if self.since_s is not None and ended_s:
            for place in list(self._open):
                self._end(place, min(ended_s, at_s), "down")
            self.gaps.append(Period(min(ended_s, at_s), at_s))
        self._recorded_s = at_s
        self._edge(Edge(at_s, "start", ()))

    # ── switches ─────────────────────────────────────────────────────────────────────────────────

    def _switched(self, record: Record, switch: Switch) -> None:
        end_s = self._at(switch.at_s + switch.total_s)
        begin_s = min(end_s, end_s - switch.moving_s)
        done = switch.outcome == "done"
        for step in switch.plan.steps:
            if isinstance(step, EvictStep):
                self._explain(step, begin_s, end_s if done else None)
            elif isinstance(step, LoadStep) and done:
                self._came(step, begin_s, end_s)
            elif isinstance(step, LoadStep):
                self._never_came((step.device, step.model), begin_s)
                if switch.outcome == "failed":
                    self.failures.append(Failure(step.model, step.device, begin_s, end_s, switch.reason))
        if done:
            self._recorded_s = max(self._recorded_s, end_s)
        where = dict.fromkeys(s.device for s in switch.plan.steps if isinstance(s, EvictStep | LoadStep))
        self._edge(Edge(end_s, "failure" if switch.outcome == "failed" else "switch", tuple(where), record))

    def _explain(self, step: EvictStep, begin_s: float, done_s: float | None) -> None:
        """Why a stay has ended; one that no look has ended ends here, if its switch was done."""
        why: StayEnd = "victim" if step.victim else "taken off"
        place = (step.device, step.model)
        for index in range(len(self._ended) - 1, max(len(self._ended) - _RECENT, 0) - 1, -1):
            stay = self._ended[index]
            if (stay.device, stay.model) == place and (stay.ended_s or 0.0) >= begin_s - _JITTER_S:
                self._ended[index] = replace(stay, end=why)
                return
        if done_s is not None and place in self._open and self._open[place].ready_s <= done_s:
            self._end(place, begin_s, why)

    def _came(self, step: LoadStep, begin_s: float, end_s: float) -> None:
        place = (step.device, step.model)
        self._never_came(place, begin_s)
        if place in self._open and self._open[place].ready_s < begin_s - _JITTER_S:
            # What is loaded anew was lost before.
            self._end(place, begin_s, "gone")
        there = self._open.get(place) or Stay(step.model, step.device, end_s)
        loaded = replace(there, came_s=min(begin_s, there.ready_s), size_bytes=step.size_bytes)
        # A later look that has not shown it says that it has gone again.
        known = self._open if place in self._open or end_s >= self._held_s else self._loaded
        known[place] = loaded

    def _never_came(self, place: Place, begin_s: float) -> None:
        """What a sample alone has told of since its load began was on its way."""
        if place in self._sampled and self._open[place].ready_s >= begin_s - _JITTER_S:
            self._sampled.discard(place)
            del self._open[place]

    # ── who is there ─────────────────────────────────────────────────────────────────────────────

    def _hold(self, there: Mapping[Place, object], at_s: float, since_s: Callable[[Place], float]) -> None:
        """These are there, since when where they are new; all others are gone."""
        self._held_s = at_s
        if there.keys() == self._open.keys():
            return
        for place in [place for place in self._open if place not in there]:
            self._end(place, at_s, "gone")
        for place in there:
            if place not in self._open:
                ready_s = since_s(place)
                loaded = self._loaded.pop(place, None)
                known = loaded is not None and abs(ready_s - loaded.ready_s) <= _TOGETHER_S
                self._open[place] = loaded if loaded and known else Stay(place[1], place[0], ready_s)
                self.version += 1

    def _end(self, place: Place, at_s: float, why: StayEnd) -> None:
        stay = self._open.pop(place)
        self._sampled.discard(place)
        looked_s = self.looks[-1].until_s if self.looks else at_s
        troubled_s = self._troubled_s.get(place[0], float("-inf"))
        if why == "gone" and troubled_s >= max(min(looked_s, at_s - _TOGETHER_S), stay.ready_s):
            at_s, why = min(at_s, troubled_s), "lost"
        if len(self._ended) == self._most:
            self.since_s = max(self.since_s or 0.0, self._ended[0].ended_s or 0.0)
        self._ended.append(replace(stay, ended_s=max(at_s, stay.ready_s), end=why))
        self.version += 1

    def _troubled(self, device: DeviceId, at_s: float) -> None:
        self._troubled_s[device] = at_s
        for index in range(max(len(self._ended) - _RECENT, 0), len(self._ended)):
            stay = self._ended[index]
            if stay.device == device and stay.end == "gone" and at_s - (stay.ended_s or 0.0) <= _TOGETHER_S:
                self._ended[index] = replace(stay, end="lost")

    def _look(self, at_s: float, sizes: Mapping[Place, int], uses: Iterable[Place]) -> None:
        """One more look, from the one before to now."""
        before_s = at_s
        if self.looks and 0 <= at_s - self.looks[-1].until_s <= _LOOKS_S:
            before_s = self.looks[-1].until_s
            self.looks[-1] = Period(self.looks[-1].from_s, at_s)
        else:
            self.looks.append(Period(at_s, at_s))
        for place, size_bytes in sizes.items():
            if (stay := self._open.get(place)) is not None and stay.size_bytes != size_bytes:
                self._open[place] = replace(stay, size_bytes=size_bytes)
                self.version += 1
        for place in uses:
            if place in self._open:
                self._open[place] = self._used(self._open[place], Period(before_s, at_s))

    def _used(self, stay: Stay, use: Period) -> Stay:
        # Nobody used it before it was ready, though a clock that was set back by little may say so.
        use = Period(max(use.from_s, stay.ready_s), max(use.until_s, stay.ready_s))
        last = stay.uses[-1] if stay.uses else None
        if last is not None and use.from_s - last.until_s <= max(_PAUSE_S, (use.until_s - stay.ready_s) / _USES):
            return replace(stay, uses=(*stay.uses[:-1], Period(last.from_s, max(use.until_s, last.until_s))))
        self.version += 1
        return replace(stay, uses=(*stay.uses, use))

    def _edge(self, edge: Edge) -> None:
        self.edges.append(edge)
        self.version += 1

    # ── time ─────────────────────────────────────────────────────────────────────────────────────

    def _at(self, at_s: float) -> float:
        """When something happened that is told now."""
        if at_s < self.until_s - _JITTER_S:
            self._set_back(at_s)
        self.until_s = max(self.until_s, at_s)
        if self.since_s is None:
            self.since_s = at_s
        return at_s

    def _set_back(self, now_s: float) -> None:
        """The clock was set back: what seems to lie ahead has just been."""
        self.since_s = min(self.since_s or now_s, now_s)
        self.until_s = now_s
        self._recorded_s, self._held_s = min(self._recorded_s, now_s), min(self._held_s, now_s)
        self._ended = deque((_no_later(stay, now_s) for stay in self._ended), self._most)
        self._open = {place: _no_later(stay, now_s) for place, stay in self._open.items()}
        self._loaded = {place: _no_later(stay, now_s) for place, stay in self._loaded.items()}
        self.edges = deque((replace(edge, at_s=min(edge.at_s, now_s)) for edge in self.edges), self._most)
        self.failures = deque((_not_after(failed, now_s) for failed in self.failures), self._most)
        self.gaps = deque((_bounded(gap, now_s) for gap in self.gaps), self._most)
        self.looks = deque((_bounded(look, now_s) for look in self.looks), self._most)
        self._troubled_s = {device: min(at_s, now_s) for device, at_s in self._troubled_s.items()}
        self.version += 1


_RECENT: Final = 64
"""Of the stays that have ended, so many of the last are looked through for the one that a record explains."""


def _no_later(stay: Stay, now_s: float) -> Stay:
    return replace(
        stay,
        ready_s=min(stay.ready_s, now_s),
        came_s=None if stay.came_s is None else min(stay.came_s, now_s),
        ended_s=None if stay.ended_s is None else min(stay.ended_s, now_s),
        uses=tuple(_bounded(use, now_s) for use in stay.uses),
    )


def _not_after(failed: Failure, now_s: float) -> Failure:
    return replace(failed, came_s=min(failed.came_s, now_s), at_s=min(failed.at_s, now_s))


def _bounded(period: Period, now_s: float) -> Period:
    return Period(min(period.from_s, now_s), min(period.until_s, now_s))


def take_up(chronicle: Chronicle, records: Sequence[Record], started_s: float) -> None:
    """Records that an engine has at hand, perhaps some of the ones before it among them; it started at `started_s`."""
    before = max((at for at, record in enumerate(records, 1) if time_of(record) < started_s), default=0)
    for record in records[:before]:
        chronicle.record(record)
    # Where the oldest at hand is younger than the engine, those are missing that would tell who was there when it came.
    if before or not records or records[0].seq == 1:
        chronicle.started(started_s)
    for record in records[before:]:
        chronicle.record(record)


def time_of(record: Record) -> float:
    """When it was written."""
    entry = record.entry
    return entry.at_s + entry.total_s if isinstance(entry, Switch) else entry.at_s
