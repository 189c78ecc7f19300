"""What a fleet knows of its boxes, as an index by model: who has a copy, who has the slab in RAM, who may hold it.

One box's news changes what that box said before and nothing else, so that keeping the view costs as much as a box has models,
and choosing nothing that grows with the fleet. Only boxes that may be sent requests are in the index: those that fell silent, or
that the operator drains, leave it with all that they have, and come back with it. Seconds are those of the fleet's steady clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from engine.core.names import BoxName, DeviceId, ModelName
from fleet.core.ring import Ring

HOMES: Final = 3


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """The operator's word on one model."""

    only: tuple[BoxName, ...] | None = None
    """The boxes that may hold it; None: any whose catalog has it."""
    order: tuple[BoxName, ...] | None = None
    """Its own order of preference, in the place of the fleet's."""


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    """The operator's word on the fleet."""

    order: tuple[BoxName, ...] = ()
    """Boxes in order of preference, for copies that are ready and for loads: one is passed over for the next while it is not
    open, refuses, or is behind. Those that are not named come last, all alike. A model that is ready stays where it is."""
    models: dict[ModelName, Rule] = {}


NO_RULES: Final = Rules()


class Member(Struct, frozen=True):
    """What is known of a box for long: a change of it is a change of the fleet."""

    gpu_bytes: int
    models: frozenset[ModelName]
    """Its catalog. Boxes with the same one may share the object."""
    is_open: bool = True
    """Whether it may be sent requests: its standing is ready and it is not drained."""


class Copy(Struct, frozen=True):
    """A model on a device, or on its way there, as its box tells it."""

    model: ModelName
    device: DeviceId
    """As the box itself calls it."""
    wait_s: float = 0.0
    """Until what asks for the model there now is expected to be answered."""
    service_s: float = 0.0
    """What a request takes, lately."""
    load_s: float = 0.0
    """What bringing the model from RAM to a device takes."""
    loading_s: float = 0.0
    """The rest of its load; 0 once it is ready."""


class Digest(Struct, frozen=True):
    """What one box has at one moment."""

    copies: tuple[Copy, ...] = ()
    slabs: frozenset[ModelName] = frozenset()
    """The models whose weights are in its RAM tier."""


class Place(Struct):
    """A copy as the view keeps it: what its box told of it last, and what has been sent there since."""

    box: BoxName
    model: ModelName
    device: DeviceId
    service_s: float = 0.0
    load_s: float = 0.0
    free_s: float = 0.0
    """When its queue is expected to have ended."""
    ready_s: float = 0.0
    """When its load is expected to have ended."""
    since_s: float = 0.0
    """When it came into the view."""
    sent: list[tuple[float, float]] = field(default_factory=list)
    """When requests were sent there that the box's last word does not know of, and what each takes."""

    def queue_s(self, now_s: float) -> float:
        """Seconds until what was asked for before is expected to be answered."""
        return max(0.0, self.free_s - now_s)

    def wait_s(self, now_s: float) -> float:
        """The same, or until it is loaded, whichever is later."""
        return max(0.0, self.free_s - now_s, self.ready_s - now_s)

    def answered_s(self, now_s: float) -> float:
        """Seconds until a request that goes there now is expected to be answered: boxes differ in that, too."""
        return self.wait_s(now_s) + self.service_s


class FleetView:
    """The index. `epoch` must differ from that of any earlier view, such as the millisecond in which the service began."""

    def __init__(self, rules: Rules = NO_RULES, epoch: int = 0) -> None:
        self.rules = rules
        self._epoch = epoch
        self._members: dict[BoxName, Member] = {}
        self._ring = Ring({})
        self._known: dict[BoxName, dict[tuple[ModelName, DeviceId], Place]] = {}
        self._slabs_of: dict[BoxName, frozenset[ModelName]] = {}
        self._copies: dict[ModelName, list[Place]] = {}
        self._slabs: dict[ModelName, list[BoxName]] = {}
        self._open: list[BoxName] = []
        self._changes: dict[ModelName, int] = {}

    # ── what is told ──

    def join(self, members: Mapping[BoxName, Member]) -> None:
        """The fleet has these boxes from now on. What was known of one that has left is forgotten."""
        for box in list(self._known):
            if not (box in members and members[box].is_open):
                self._hide(box)
            if box not in members:
                del self._known[box], self._slabs_of[box]
        weights = {box: member.gpu_bytes for box, member in members.items()}
        if weights != {box: member.gpu_bytes for box, member in self._members.items()}:
            self._ring = Ring(weights)
        shown = set(self._open)
        self._members = dict(members)
        self._open = [box for box, member in members.items() if member.is_open]
        for box in self._open:
            if box not in shown:
                self._show(box)

    def heard(self, box: BoxName, digest: Digest, at_s: float) -> None:
        """`box` had this at that moment. A box that the fleet doesn't have is not listened to."""
        if box not in self._members:
            return
        is_open = self._members[box].is_open
        places = self._known.setdefault(box, {})
        missing = {key for key, place in places.items() if place.since_s <= at_s}
        for copy in digest.copies:
            key = (copy.model, copy.device)
            missing.discard(key)
            place = places.get(key)
            if place is None:
                place = places[key] = Place(box, copy.model, copy.device, since_s=at_s)
                self._add(place, is_open)
            place.service_s, place.load_s = copy.service_s, copy.load_s
            place.free_s, place.ready_s = at_s + copy.wait_s, at_s + copy.loading_s
            if place.sent:
                place.sent = [one for one in place.sent if one[0] > at_s]
                for sent_s, service_s in place.sent:
                    place.free_s = max(place.free_s, sent_s) + service_s
        for key in missing:
            self._drop(places.pop(key), is_open)
        before = self._slabs_of.get(box, frozenset())
        if digest.slabs != before:
            self._slabs_of[box] = digest.slabs
            if is_open:
                self._forget_slabs(box, before - digest.slabs)
                self._note_slabs(box, digest.slabs - before)
        elif box not in self._slabs_of:
            self._slabs_of[box] = before

    def sent(self, box: BoxName, model: ModelName, device: DeviceId, now_s: float) -> None:
        """A request went there: until the box tells of it itself, it counts as waiting."""
        place = self._known.get(box, {}).get((model, device))
        if place is not None:
            place.sent.append((now_s, place.service_s))
            place.free_s = max(place.free_s, now_s) + place.service_s

    def begun(self, box: BoxName, copy: Copy, now_s: float) -> None:
        """The box was told to load the model: requests that come before it says so itself join that load."""
        places = self._known.setdefault(box, {})
        if (copy.model, copy.device) not in places:
            place = Place(box, copy.model, copy.device, copy.service_s, copy.load_s, 0.0, now_s + copy.loading_s, now_s)
            places[copy.model, copy.device] = place
            self._add(place, box in self._members and self._members[box].is_open)

    def ended(self, model: ModelName) -> None:
        """A command for the model came to its end, well or not: the next one is another."""
        self._changes[model] = self._changes.get(model, 0) + 1

    # ── what is asked ──

    def epoch(self, model: ModelName) -> int:
        """A number that changes with each copy of the model that comes or goes, and with each command for it that ends."""
        return self._epoch + self._changes.get(model, 0)

    def copies(self, model: ModelName) -> Sequence[Place]:
        """Its copies on boxes that may be sent requests."""
        return self._copies.get(model, ())

    def with_slab(self, model: ModelName) -> Sequence[BoxName]:
        """Open boxes that have its weights in RAM, the newest last."""
        return self._slabs.get(model, ())

    @property
    def open_boxes(self) -> Sequence[BoxName]:
        return self._open

    def may_hold(self, box: BoxName, model: ModelName) -> bool:
        """Whether the box is open, its catalog has the model, and the operator lets it hold it."""
        member = self._members.get(box)
        if member is None or not member.is_open or model not in member.models:
            return False
        rule = self.rules.models.get(model)
        return rule is None or rule.only is None or box in rule.only

    def homes(self, model: ModelName, without: frozenset[BoxName] = frozenset()) -> tuple[BoxName, ...]:
        """The three boxes nearest to it that may hold it now: where a home is away, the next takes its place."""
        return self._ring.homes(model, HOMES, lambda box: box not in without and self.may_hold(box, model))

    def order(self, model: ModelName) -> tuple[BoxName, ...]:
        """The operator's order of preference for it."""
        rule = self.rules.models.get(model)
        return self.rules.order if rule is None or rule.order is None else rule.order

    # ── the index ──

    def _show(self, box: BoxName) -> None:
        for place in self._known.setdefault(box, {}).values():
            self._add(place, is_open=True)
        self._note_slabs(box, self._slabs_of.setdefault(box, frozenset()))

    def _hide(self, box: BoxName) -> None:
        if self._members[box].is_open:
            for place in self._known[box].values():
                self._drop(place, is_open=True)
            self._forget_slabs(box, self._slabs_of[box])

    def _add(self, place: Place, is_open: bool) -> None:
        if is_open:
            self._copies.setdefault(place.model, []).append(place)
            self.ended(place.model)

    def _drop(self, place: Place, is_open: bool) -> None:
        if is_open:
            places = self._copies[place.model]
            places[:] = [other for other in places if other is not place]
            self.ended(place.model)

    def _note_slabs(self, box: BoxName, models: frozenset[ModelName]) -> None:
        for model in models:
            self._slabs.setdefault(model, []).append(box)

    def _forget_slabs(self, box: BoxName, models: frozenset[ModelName]) -> None:
        for model in models:
            self._slabs[model].remove(box)
