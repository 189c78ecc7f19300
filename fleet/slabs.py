"""Prepared slabs carried from box to box: where a model is to be loaded that is not prepared there, and is on another box that
this one can reach, its slab is fetched, if that is expected to take less than preparing it.

The bytes go between the two engines alone, never through this service or Ray. What can't be fetched is prepared, as ever.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.api import EngineError, JobView
from engine.core.commands import Submission
from engine.core.forecast.costs import load_time, reading, tier_of
from engine.core.names import BoxName, ModelName
from engine.core.plans import LoadStep, Plan
from engine.core.prediction import Prediction, Rates, learn, predict
from engine.core.sizes import format_size
from engine.core.state import ModelState, State
from fleet.boxes import Box
from fleet.core.choose import Bid, bid_of
from fleet.naming import on
from fleet.ray_cluster import SLAB_PORTS

_LINE_GUESS: Final = Rates(guess_bytes_per_s=100e6, overhead_s=0.2)
"""Of a line that nothing came over yet: a little less than gigabit Ethernet has."""
_AFTER_FAILURE_S: Final = 300.0
"""So long nothing more is fetched from a box by one that has failed to: most likely a firewall is between them."""

_log: Final = logging.getLogger(__name__)


class Carriage(Struct, frozen=True):
    """A slab that is worth fetching."""

    model: ModelName
    donor: BoxName
    size_bytes: int
    takes: Prediction
    """Until it is there."""
    instead: Prediction
    """Of preparing it."""


class _Bringing(Struct, frozen=True, eq=False):
    """A slab on its way, and for whom."""

    submission: Submission
    """As the box calls its devices."""
    box: BoxName
    carriage: Carriage
    began_s: float
    """On the steady clock."""


class Slabs:
    """Of all boxes of a fleet."""

    def __init__(self, boxes: Mapping[BoxName, Box], monotonic: Callable[[], float], wake: Callable[[], None]) -> None:
        """`wake` is called when something is under way that was not, or is no more."""
        self._boxes: Final = boxes
        self._wake: Final = wake
        self._under_way: Final[list[_Bringing]] = []
        self._monotonic: Final = monotonic
        self._rates: Final[dict[tuple[BoxName, BoxName], Rates]] = {}
        """From a box to another."""
        self._failed_s: Final[dict[tuple[BoxName, BoxName], float]] = {}
        """When it last did, on the steady clock."""

    def worth_fetching(self, model: ModelName, box: BoxName) -> Carriage | None:
        """From where `box` should fetch the model's slab before it loads it; None where it has it, or better prepares it."""
        told = self._boxes[box].snapshot
        known = told.state.models.get(model) if told else None
        if told is None or known is None or known.trouble or tier_of(told.state, model) != "source":
            return None
        offers = [
            Carriage(
                model, donor, size_bytes, predict(self._line(donor, box), size_bytes), _preparing(told.state, model)
            )
            for donor, size_bytes in self._donors(known, box)
        ]
        best = min(offers, key=lambda offer: offer.takes.p50_s, default=None)
        if best is None:
            return None
        after = reading(told.state, model, best.size_bytes)
        return best if (best.takes + after).p50_s < best.instead.p50_s else None

    def bid(self, box: BoxName, plan: Plan) -> Bid:
        """What a box's plan of one load would cost, with its slab fetched first where that is worth it."""
        if (fetched := self._fetched(box, plan)) is None:
            return bid_of(box, plan)
        carriage, load = fetched
        return bid_of(box, _with_load(plan, load), carriage.takes.p50_s)

    def told(self, box: BoxName, plan: Plan) -> Plan:
        """A box's plan as it will be carried out, with what is fetched first in its times and reasons."""
        if (fetched := self._fetched(box, plan)) is None:
            return plan
        carriage, load = fetched
        why = (
            f"the prepared weights of {carriage.model} ({format_size(carriage.size_bytes)}) come from {carriage.donor} in about"
            f" {carriage.takes.p50_s:.1f} s; to prepare them on {box} would take about {carriage.instead.p50_s:.0f} s"
        )
        with_carriage = replace(load, predicted=carriage.takes + load.predicted)
        return replace(_with_load(plan, with_carriage), reasons=(*plan.reasons, why))

    def jobs(self) -> tuple[JobView, ...]:
        """The commands that wait for a slab: their boxes do not know of them yet."""
        return tuple(map(self._job, self._under_way))

    async def bring(self, model: ModelName, box: BoxName, submission: Submission) -> None:
        """Have the slab there before `submission`, if it is worth it; what fails is logged, and left to be prepared. Raises
        EngineUnreachable where `box` is not ready any more."""
        if (carriage := self.worth_fetching(model, box)) is None:
            return
        bringing = _Bringing(submission, box, carriage, self._monotonic())
        self._under_way.append(bringing)
        self._wake()
        try:
            await self._brought(bringing)
        finally:
            self._under_way.remove(bringing)
            self._wake()

    def _job(self, bringing: _Bringing) -> JobView:
        carriage, elapsed_s = bringing.carriage, self._monotonic() - bringing.began_s
        left_s = max(0.0, carriage.takes.p50_s - elapsed_s)
        waits = f"its prepared weights, {format_size(carriage.size_bytes)} that come from {carriage.donor}"
        how_long = f", {left_s:.0f} s more" if left_s >= 1 else ""
        sent = bringing.submission
        job = JobView(sent.id, sent.command, sent.origin, None, "queue", elapsed_s)
        return replace(on(bringing.box, job), waiting_for=waits + how_long)

    async def _brought(self, bringing: _Bringing) -> None:
        carriage, box, model = bringing.carriage, bringing.box, bringing.carriage.model
        line = carriage.donor, box
        try:
            donor = self._boxes[carriage.donor]
            offer = await donor.ask(lambda link: link.offer_slab(model, donor.reached_at, _ports(donor.reached_at)))
            fetched = await self._boxes[box].ask(lambda link: link.fetch_slab(model, offer))
        except EngineError as error:
            self._failed_s[line] = self._monotonic()
            _log.warning("%s prepares %s itself: it was to fetch it from %s, and %s", box, model, carriage.donor, error)
            self._boxes[box].link()
            return
        if fetched.came_bytes:
            self._rates[line] = learn(self._line(*line), fetched.came_bytes, self._monotonic() - bringing.began_s)
        await self._boxes[box].catch_up()

    def _fetched(self, box: BoxName, plan: Plan) -> tuple[Carriage, LoadStep] | None:
        """What is fetched for a plan of one load, and the load that is left then."""
        told, load = self._boxes[box].snapshot, plan.load
        if told is None or load is None or load.tier != "source" or len(plan.loads) > 1:
            return None
        if (carriage := self.worth_fetching(load.model, box)) is None:
            return None
        left = load_time(told.state, load.model, load.device, "disk")
        return carriage, replace(load, tier="disk", predicted=left)

    def _donors(self, wanted: ModelState, box: BoxName) -> list[tuple[BoxName, int]]:
        """The boxes that have the same model prepared and that `box` can reach, and how large its slab is there."""
        found = []
        for name, donor in self._boxes.items():
            if name == box or donor.standing != "ready" or donor.snapshot is None or self._has_failed(name, box):
                continue
            known = donor.snapshot.state.models.get(wanted.spec.name)
            if known is not None and known.prepared and _are_same(known, wanted) and self._can_reach(box, name):
                found.append((name, known.footprint.weights_bytes))
        return found

    def _can_reach(self, box: BoxName, donor: BoxName) -> bool:
        """On one machine each can; from one to another, where both are reached at addresses of a network."""
        here, there = self._boxes[box].reached_at, self._boxes[donor].reached_at
        return bool(here and there) and _is_loopback(here) == _is_loopback(there)

    def _has_failed(self, donor: BoxName, box: BoxName) -> bool:
        failed_s = self._failed_s.get((donor, box))
        return failed_s is not None and self._monotonic() - failed_s < _AFTER_FAILURE_S

    def _line(self, donor: BoxName, box: BoxName) -> Rates:
        return self._rates.get((donor, box), _LINE_GUESS)


def _preparing(state: State, model: ModelName) -> Prediction:
    return predict(state.source, state.models[model].footprint.weights_bytes)


def _are_same(one: ModelState, other: ModelState) -> bool:
    """Whether the slab of one may be the other's; whether it is, the files that it was made of will tell."""
    mine, theirs = one.spec, other.spec
    alike = (mine.task, mine.dtype, mine.sha256) == (theirs.task, theirs.dtype, theirs.sha256)
    return alike and one.synthetic == other.synthetic


def _with_load(plan: Plan, load: LoadStep) -> Plan:
    """The plan with this in the place of its load."""
    return replace(plan, steps=tuple(load if isinstance(step, LoadStep) else step for step in plan.steps))


def _ports(address: str) -> tuple[int, ...]:
    """Between machines those that the fleet's firewalls know."""
    return (0,) if _is_loopback(address) else SLAB_PORTS


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
