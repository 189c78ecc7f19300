"""Demand played through a rule on simulated boxes, with a box that dies and comes back where that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from benchmarks.fleet_boxes import Boxes, Gpu
from benchmarks.fleet_demand import Demand
from benchmarks.fleet_routers import Chosen, Router
from engine.core.names import BoxName, ModelName

KNOWN_S: Final = 4.0
"""Until a box that died is known to be gone: what was sent there meanwhile waits so long, then goes to another."""


class Outage(Struct, frozen=True):
    """A box that is off for a while. Its GPUs and its RAM come back empty."""

    box: BoxName
    from_s: float
    until_s: float


class Outcome(Struct, frozen=True):
    """What a rule came to, of the requests that counted."""

    ready: float
    """Share of requests that found their model ready."""
    switch_s: float
    """Of copying and reading, a request."""
    mean_wait_s: float
    p99_wait_s: float
    bids: float
    """A request."""
    messages: float
    """Bids, and residents that came or went, a request."""
    refused: float
    """Share of requests for which no room could be made."""
    choosing_s: float
    """The median time of a choice; 0 for other rules than ours."""
    slow_choosing_s: float
    """The 99th percentile."""
    retried: int
    """Requests that were sent to a box that was off."""


class _Counts:
    """What is counted of requests, from the moment on that they count."""

    def __init__(self, boxes: Boxes, router: Router) -> None:
        self.changes, self.asked = boxes.changes, router.asked
        self.waits: list[float] = []
        self.ready = self.refused = self.retried = 0
        self.switch_s = 0.0


def play(
    rule: type[Router], demand: Demand, boxes: int, requests: int, seed: int = 1, outage: Outage | None = None
) -> Outcome:
    """The first half of the requests is not counted. An outage is known to our own rule alone."""
    fleet = Boxes(boxes, demand.sizes_gb, demand.memory_s)
    router = rule(fleet, demand, seed)
    counts = _Counts(fleet, router)
    power = None if outage is None else _Power(outage, fleet, router)
    for number, (now_s, model) in enumerate(demand.requests(requests)):
        if number == requests // 2:
            counts = _Counts(fleet, router)
        late_s = 0.0
        if power is not None:
            power.at(now_s)
        gpu = router.route(model, now_s)
        if power is not None and power.is_off(gpu):
            late_s = power.known(now_s)
            counts.retried += 1
            gpu = router.route(model, now_s)
        _answer(fleet, router, counts, gpu, model, now_s, late_s)
    return _outcome(fleet, router, counts)


class _Power:
    """Has the box die and come back, and the rule know of it."""

    def __init__(self, outage: Outage, boxes: Boxes, router: Router) -> None:
        assert isinstance(router, Chosen)
        self._outage, self._boxes, self._router = outage, boxes, router
        self._box = boxes.boxes[outage.box]
        self._off = self._known = self._over = False

    def at(self, now_s: float) -> None:
        if not self._off and not self._over and now_s >= self._outage.from_s:
            self._off = True
            self._boxes.die(self._box)
        if self._off and not self._known and now_s >= self._outage.from_s + KNOWN_S:
            self.known(now_s)
        if self._off and now_s >= self._outage.until_s:
            self._off, self._over = False, True
            self._router.tell(self._box, True, now_s)

    def is_off(self, gpu: Gpu) -> bool:
        return self._off and gpu.box is self._box

    def known(self, now_s: float) -> float:
        """Whoever was sent there finds it out, at the latest when all do; how much later that is."""
        self._known = True
        self._router.tell(self._box, False, now_s)
        return max(0.0, self._outage.from_s + KNOWN_S - now_s)


def _answer(
    fleet: Boxes, router: Router, counts: _Counts, gpu: Gpu, model: ModelName, now_s: float, late_s: float
) -> None:
    resident = gpu.residents.get(model)
    if resident is None:
        load_s = fleet.load(gpu, model, now_s)
        if load_s is None:
            counts.refused += 1
            return
        counts.switch_s += load_s
    elif resident.ready_s <= now_s and not late_s:
        counts.ready += 1
    counts.waits.append(fleet.serve(gpu, model, now_s) + late_s)
    router.served(gpu, now_s)


def _outcome(fleet: Boxes, router: Router, counts: _Counts) -> Outcome:
    waits = sorted(counts.waits)
    count = len(waits)
    bids = router.asked - counts.asked
    choosing = sorted(router.choosing_s) if isinstance(router, Chosen) else [0.0]
    return Outcome(
        counts.ready / count,
        counts.switch_s / count,
        sum(waits) / count,
        _at(waits, 0.99),
        bids / count,
        (fleet.changes - counts.changes + bids) / count,
        counts.refused / (count + counts.refused),
        _at(choosing, 0.5),
        _at(choosing, 0.99),
        counts.retried,
    )


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
