"""Which box a request goes to: one that has its model ready, or the cheapest of a few that are asked what loading it would cost.

The shorter of two random queues is nearly as good as the shortest of all (Mitzenmacher, "The power of two choices in randomized
load balancing", 2001), and what is sent to many at once never herds to one. What a load costs only its box's engine knows
exactly, so nobody guesses it here: each that is asked plans the load, and the plan is its bid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Final, TypeAlias

from msgspec import Struct

from engine.core.names import BoxName, DeviceId, ModelName
from engine.core.plans import Plan
from fleet.core.view import FleetView, Place

MOST_ASKED: Final = 5
"""Boxes that are asked for a bid at once."""
STRANGERS: Final = 2
"""Of these, boxes that have nothing of the model, asked only where its copies are behind."""
BEHIND_SERVICES: Final = 8.0
"""A copy is behind when its queue lasts longer than a load and than so many requests."""
WORTH_WAITS: Final = 3.0
"""One more copy may cost so many times what waiting for those that are behind does: others will use it, too."""


class Ready(Struct, frozen=True):
    """Send it there: the model is ready on that device, or about to be."""

    box: BoxName
    device: DeviceId
    """As the box calls it. Of several copies there, its engine may take another."""
    wait_s: float = 0.0
    """Predicted."""


class Ask(Struct, frozen=True):
    """Ask these for a plan of loading it, side by side, and take the `cheapest`."""

    boxes: tuple[BoxName, ...]
    """The likeliest first, five at most; none where no box that is ready may hold it."""
    order: tuple[BoxName, ...] = ()
    """The operator's order of preference."""
    instead: Ready | None = None
    """The best copy, where all are behind: one more must be worth it."""


Choice: TypeAlias = Ready | Ask


class Bid(Struct, frozen=True):
    """What loading the model would cost one box, in seconds."""

    box: BoxName
    device: DeviceId | None
    """None where it is ready, or being loaded: then there is nothing to do but to send it there."""
    wait_s: float
    """Until it can begin: for what runs on its victims, or on the device."""
    load_s: float
    loss_s: float
    """What its victims' leaving is expected to cost."""
    transfer_s: float = 0.0
    """Until the weights are there, where they have to be fetched first."""
    effects: str = ""
    """Of the plan: what is confirmed when it is submitted."""


def choose(
    view: FleetView, model: ModelName, random: Random, now_s: float, without: frozenset[BoxName] = frozenset()
) -> Choice:
    """Where a request for `model` goes. `now_s`: on the fleet's steady clock. `without`: boxes that have just failed or refused
    it."""
    best: Place | None = None
    for places in _by_preference(view, model, without):
        place = _shorter_of_two(places, random, now_s)
        if not is_behind(place, now_s):
            return _ready(place, now_s)
        if best is None or place.wait_s(now_s) < best.wait_s(now_s):
            best = place
    asked = dict.fromkeys(box for box in view.order(model) if view.may_hold(box, model))
    asked |= dict.fromkeys((*view.with_slab(model)[-1:], *view.homes(model)))
    if best is not None:
        asked |= dict.fromkeys(_strangers(view, random))
    boxes = [box for box in asked if box not in without and view.may_hold(box, model)]
    return Ask(tuple(boxes[:MOST_ASKED]), view.order(model), None if best is None else _ready(best, now_s))


def is_behind(place: Place, now_s: float) -> bool:
    """Whether so much waits there that one more copy may be worth its load. A load that is under way is not waited for longer by
    having another."""
    return place.queue_s(now_s) > max(place.load_s, BEHIND_SERVICES * place.service_s)


def bid_of(box: BoxName, plan: Plan, transfer_s: float = 0.0) -> Bid:
    """The bid that a box's plan of one load is. `transfer_s` counts where the plan loads something."""
    if plan.load is None:
        return Bid(box, None, 0.0, 0.0, 0.0, effects=plan.effects)
    loss_s = sum(victim.loss_s or 0.0 for victim in plan.victims)
    return Bid(box, plan.load.device, plan.drains.p50_s, plan.predicted.p50_s, loss_s, transfer_s, plan.effects)


def price(bid: Bid) -> float:
    """Seconds that taking it costs: the request's own, and those of the requests for what leaves."""
    return bid.wait_s + bid.load_s + bid.loss_s + bid.transfer_s


def cheapest(bids: Iterable[Bid], ask: Ask) -> tuple[Bid, ...]:
    """The bids worth taking, best first: the next is for when the plan of the first has changed. None: send it to `ask.instead`,
    or, without that, refuse it."""
    limit_s = float("inf") if ask.instead is None else WORTH_WAITS * ask.instead.wait_s
    worth = [bid for bid in bids if price(bid) < limit_s]
    rank = {box: number for number, box in enumerate(ask.order)}
    return tuple(sorted(worth, key=lambda bid: (rank.get(bid.box, len(rank)), price(bid), bid.box)))


def submission_id(view: FleetView, model: ModelName) -> str:
    """Under which a load of the model is submitted: the same for all who ask for it before something of it has changed, so that
    a box does it once."""
    return f"fleet:{model}:{view.epoch(model)}"


def _ready(place: Place, now_s: float) -> Ready:
    return Ready(place.box, place.device, place.wait_s(now_s))


def _by_preference(view: FleetView, model: ModelName, without: frozenset[BoxName]) -> Iterable[Sequence[Place]]:
    places = view.copies(model)
    if without:
        places = [place for place in places if place.box not in without]
    if not places:
        return ()
    order = view.order(model)
    if not order:
        return (places,)
    ranked: dict[int, list[Place]] = {}
    for place in places:
        ranked.setdefault(order.index(place.box) if place.box in order else len(order), []).append(place)
    return (ranked[rank] for rank in sorted(ranked))


def _shorter_of_two(places: Sequence[Place], random: Random, now_s: float) -> Place:
    count = len(places)
    if count == 1:
        return places[0]
    first = int(random.random() * count)
    second = int(random.random() * (count - 1))
    one, other = places[first], places[second + (second >= first)]
    return other if other.wait_s(now_s) < one.wait_s(now_s) else one


def _strangers(view: FleetView, random: Random) -> list[BoxName]:
    boxes = view.open_boxes
    return [boxes[int(random.random() * len(boxes))] for _ in range(STRANGERS if boxes else 0)]
