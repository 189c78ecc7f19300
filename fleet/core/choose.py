"""Which box a request goes to: one that has its model ready, or the cheapest of a few that are asked what loading it would cost.

The shorter of two random queues is nearly as good as the shortest of all (Mitzenmacher, "The power of two choices in randomized
load balancing", 2001), and many who choose so never herd. What a load costs only its box's engine knows exactly, so nobody
guesses it here: each that is asked plans the load, and the plan is its bid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from random import Random
from typing import Final, TypeAlias

from msgspec import Struct

from engine.core.names import BoxName, DeviceId, ModelName
from engine.core.plans import Plan
from fleet.core.view import FleetView, Place

MOST_ASKED: Final = 5
"""Boxes that are asked for a bid."""
STRANGERS: Final = 2
"""Of these, boxes that have nothing of the model, asked only where its copies are behind."""
BEHIND_SERVICES: Final = 8.0
"""A copy is behind when its queue lasts longer than a load and than so many requests."""
WORTH_WAITS: Final = 3.0
"""One more copy may cost so many times what waiting for those that are behind does: later requests use it, too."""
ENOUGH_LOADS: Final = 6.0
"""A bid of the box that has the weights in RAM is taken unseen by others if it is at most so many of its loads: without them, the
reading from disk alone takes about as long."""


class Ready(Struct, frozen=True):
    """Send it there: the model is ready on that device, or about to be."""

    box: BoxName
    device: DeviceId
    """As the box calls it. Of several copies there, its engine may take another."""
    wait_s: float = 0.0
    """Predicted."""


class Ask(Struct, frozen=True):
    """Ask boxes for a plan of loading it, and take the `cheapest`."""

    rounds: tuple[tuple[BoxName, ...], ...]
    """Those of a round side by side, and the next round only if no bid of the one before is `enough`. At most five boxes in all;
    none where no open box may hold it."""
    order: tuple[BoxName, ...] = ()
    """The operator's order of preference."""
    instead: Ready | None = None
    """The best copy, where all are behind: a further one, which the plan must leave it beside, has to be worth it."""


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
    it. Total: where nobody may hold it, an `Ask` without rounds."""
    best: Place | None = None
    for places in _by_preference(view, model, without):
        place = _better_of_two(places, random, now_s)
        if not is_behind(place, now_s):
            return _ready(place, now_s)
        if best is None or place.answered_s(now_s) < best.answered_s(now_s):
            best = place
    return Ask(
        _rounds(view, model, without, _strangers(view, random) if best is not None else ()),
        view.order(model),
        None if best is None else _ready(best, now_s),
    )


def is_behind(place: Place, now_s: float) -> bool:
    """Whether so much waits there that one more copy may be worth its load. A load that is under way would end no sooner for
    another."""
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


def enough(bid: Bid) -> bool:
    """Whether the bid of a first round is so low that others, who lack the weights in RAM, need not be asked."""
    return price(bid) <= ENOUGH_LOADS * bid.load_s or bid.device is None


def cheapest(bids: Iterable[Bid], ask: Ask) -> tuple[Bid, ...]:
    """The bids worth taking, best first: the next is for when the plan of the first has changed. None: send it to `ask.instead`,
    or, without that, refuse it."""
    limit_s = inf if ask.instead is None else WORTH_WAITS * ask.instead.wait_s
    rank = {box: number for number, box in enumerate(ask.order)}
    worth = [bid for bid in bids if price(bid) < limit_s]
    return tuple(sorted(worth, key=lambda bid: (rank.get(bid.box, len(rank)), price(bid), bid.box)))


def submission_id(view: FleetView, model: ModelName) -> str:
    """Under which a load of the model is submitted: the same for all who ask for it before anything of it has changed, so that
    their box does it once."""
    return f"fleet:{model}:{view.epoch(model)}"


def _ready(place: Place, now_s: float) -> Ready:
    return Ready(place.box, place.device, place.wait_s(now_s))


def _by_preference(view: FleetView, model: ModelName, without: frozenset[BoxName]) -> Iterable[Sequence[Place]]:
    """Its copies, those on boxes that the operator prefers alike together, the most preferred first."""
    places = view.copies(model)
    if without:
        places = [place for place in places if place.box not in without]
    if view.drained_boxes:
        places = _undrained(places, view.drained_boxes)
    order = view.order(model)
    if not order:
        return (places,) if places else ()
    ranked: dict[int, list[Place]] = {}
    for place in places:
        ranked.setdefault(order.index(place.box) if place.box in order else len(order), []).append(place)
    return [ranked[rank] for rank in sorted(ranked)]


def _undrained(places: Sequence[Place], drained: frozenset[BoxName]) -> Sequence[Place]:
    """The copies on boxes that are not drained; while none of these is ready, those that are ready on drained ones."""
    staying = [place for place in places if place.box not in drained]
    if any(place.is_ready for place in staying):
        return staying
    return [place for place in places if place.box in drained and place.is_ready] or places


def _better_of_two(places: Sequence[Place], random: Random, now_s: float) -> Place:
    if len(places) == 1:
        return places[0]
    first = int(random.random() * len(places))
    second = int(random.random() * (len(places) - 1))
    one, other = places[first], places[second + (second >= first)]
    return other if other.answered_s(now_s) < one.answered_s(now_s) else one


def _rounds(
    view: FleetView, model: ModelName, without: frozenset[BoxName], strangers: Sequence[BoxName]
) -> tuple[tuple[BoxName, ...], ...]:
    order = view.order(model)
    with_slab = [box for box in view.with_slab(model) if box not in without and view.may_hold(box, model)][-1:]
    likely = dict.fromkeys((*order, *with_slab, *view.homes(model, without), *strangers))
    boxes = tuple(box for box in likely if box not in without and view.may_hold(box, model))[:MOST_ASKED]
    if with_slab and not order and len(boxes) > 1:
        return boxes[:1], boxes[1:]
    return (boxes,) if boxes else ()


def _strangers(view: FleetView, random: Random) -> list[BoxName]:
    boxes = view.open_boxes
    return [boxes[int(random.random() * len(boxes))] for _ in range(STRANGERS if boxes else 0)]
