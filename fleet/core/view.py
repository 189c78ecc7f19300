"""What a fleet knows of its boxes, as an index by model: who has a copy, who has the slab in RAM, who may hold it.

One box's news changes what that box said before and nothing else, so that keeping the view costs as much as a box has models,
and choosing nothing that grows with the fleet. Only boxes that may be sent requests are in the index: those that fell silent
leave it with all that they have, and come back with it. The copies on a box that the operator drains answer until there are
others, and nothing is loaded there. Seconds are those of the fleet's steady clock.
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
    is_ready: bool = True
    """Whether it may be sent requests: its standing is ready."""
    is_drained: bool = False
    """Whether nothing may be loaded there any more."""

    @property
    def is_open(self) -> bool:
        """Whether models may be loaded there."""
        return self.is_ready and not self.is_drained


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
    is_ready: bool = True
    """Whether it had, by its box's last word."""
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


class _Known(Struct):
    """What a box told last."""

    places: dict[tuple[ModelName, DeviceId], Place] = field(default_factory=dict)
    slabs: frozenset[ModelName] = frozenset()


class FleetView:
    """The index. `epoch` must differ from that of any earlier view, such as the millisecond in which the service began."""

    def __init__(self, rules: Rules = NO_RULES, epoch: int = 0) -> None:
        self.rules = rules
        self._epoch = epoch
        self._members: dict[BoxName, Member] = {}
        self._ring = Ring({})
        self._known: dict[BoxName, _Known] = {}
        self._open: list[BoxName] = []
        self._drained: frozenset[BoxName] = frozenset()
        self._copies: dict[ModelName, list[Place]] = {}
        self._slabs: dict[ModelName, list[BoxName]] = {}
        self._changes: dict[ModelName, int] = {}

    # ── what is told ──

    def join(self, members: Mapping[BoxName, Member]) -> None:
        """The fleet has these boxes from now on. What was known of one that has left is forgotten."""
        before, self._members = self._members, dict(members)
        for box in before.keys() | members.keys():
            was_ready = box in before and before[box].is_ready
            is_ready = box in members and members[box].is_ready
            known = self._known.setdefault(box, _Known())
            if was_ready and not is_ready:
                self._hide(box, known)
            elif is_ready and not was_ready:
                self._show(box, known)
            if box not in members:
                del self._known[box]
        self._open = [box for box, member in members.items() if member.is_open]
        self._drained = frozenset(box for box, member in members.items() if member.is_ready and member.is_drained)
        weights = {box: member.gpu_bytes for box, member in members.items()}
        if weights != {box: member.gpu_bytes for box, member in before.items()}:
            self._ring = Ring(weights)

    def heard(self, box: BoxName, digest: Digest, at_s: float) -> None:
        """`box` had this at that moment. A box that the fleet doesn't have is not listened to."""
        if box not in self._members:
            return
        is_ready, known = self._members[box].is_ready, self._known[box]
        missing = {key for key, place in known.places.items() if place.since_s <= at_s}
        for copy in digest.copies:
            key = (copy.model, copy.device)
            missing.discard(key)
            place = known.places.get(key)
            if place is None:
                place = known.places[key] = Place(box, copy.model, copy.device, since_s=at_s)
                if is_ready:
                    self._add(place)
            _update(place, copy, at_s)
        for key in missing:
            place = known.places.pop(key)
            if is_ready:
                self._drop(place)
        if is_ready and digest.slabs != known.slabs:
            self._forget_slabs(box, known.slabs - digest.slabs)
            self._note_slabs(box, digest.slabs - known.slabs)
        known.slabs = digest.slabs

    def sent(self, box: BoxName, model: ModelName, device: DeviceId, now_s: float) -> None:
        """A request went there: until the box tells of it itself, it counts as waiting."""
        place = self._known[box].places.get((model, device)) if box in self._known else None
        if place is not None:
            place.sent.append((now_s, place.service_s))
            place.free_s = max(place.free_s, now_s) + place.service_s

    def begun(self, box: BoxName, copy: Copy, now_s: float) -> None:
        """The box was told to load the model: requests that come before it says so itself join that load."""
        if box in self._known and (copy.model, copy.device) not in self._known[box].places:
            place = Place(box, copy.model, copy.device, since_s=now_s)
            _update(place, copy, now_s)
            self._known[box].places[copy.model, copy.device] = place
            if self._members[box].is_ready:
                self._add(place)

    def ended(self, model: ModelName) -> None:
        """A command for the model came to its end, well or not: the next one is another."""
        self._changes[model] = self._changes.get(model, 0) + 1

    # ── what is asked ──

    def epoch(self, model: ModelName) -> int:
        """A number that changes with each copy of the model that comes or goes, and with each command for it that ends."""
        return self._epoch + self._changes.get(model, 0)

    def copies(self, model: ModelName) -> Sequence[Place]:
        """Its copies on boxes that are ready, but for those where the operator does not want it any more."""
        places = self._copies.get(model, ())
        rule = self.rules.models.get(model)
        if rule is None or rule.only is None:
            return places
        return [place for place in places if place.box in rule.only]

    def with_slab(self, model: ModelName) -> Sequence[BoxName]:
        """Boxes that are ready and have its weights in RAM, the newest last."""
        return self._slabs.get(model, ())

    @property
    def open_boxes(self) -> Sequence[BoxName]:
        """Where models may be loaded."""
        return self._open

    @property
    def drained_boxes(self) -> frozenset[BoxName]:
        """Those that are ready and whose copies answer only until there are others."""
        return self._drained

    def may_hold(self, box: BoxName, model: ModelName) -> bool:
        """Whether the model may be loaded there: the box is open, its catalog has it, and the operator lets it."""
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

    def _show(self, box: BoxName, known: _Known) -> None:
        for place in known.places.values():
            self._add(place)
        self._note_slabs(box, known.slabs)

    def _hide(self, box: BoxName, known: _Known) -> None:
        for place in known.places.values():
            self._drop(place)
        self._forget_slabs(box, known.slabs)

    def _add(self, place: Place) -> None:
        self._copies.setdefault(place.model, []).append(place)
        self.ended(place.model)

    def _drop(self, place: Place) -> None:
        places = self._copies[place.model]
        places[:] = [other for other in places if other is not place]
        self.ended(place.model)

    def _note_slabs(self, box: BoxName, models: frozenset[ModelName]) -> None:
        for model in models:
            self._slabs.setdefault(model, []).append(box)

    def _forget_slabs(self, box: BoxName, models: frozenset[ModelName]) -> None:
        for model in models:
            self._slabs[model].remove(box)


def _update(place: Place, copy: Copy, at_s: float) -> None:
    """What `copy` was at that moment, and behind it what has been sent since."""
    place.service_s, place.load_s = copy.service_s, copy.load_s
    place.free_s, place.ready_s = at_s + copy.wait_s, at_s + copy.loading_s
    place.is_ready = copy.loading_s <= 0.0
    if place.sent:
        place.sent = [one for one in place.sent if one[0] > at_s]
        for sent_s, service_s in place.sent:
            place.free_s = max(place.free_s, sent_s) + service_s
