"""What boxes propose, as one proposal in the fleet's names, which the same boxes carry out when it is submitted: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from engine.core.commands import MOST_COMMANDS, Batch, Evict, Single
from engine.core.names import BoxName, on_box, within_box
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Drain, Pack, Proposal, Rebalance, Undo, Wish
from fleet.answers import merged_plan
from fleet.naming import on
from fleet.routing import Known, Unrouted, box_meant, takes_back


def wishes_of(wish: Wish, known: Known) -> dict[BoxName, Wish]:
    """Who is asked to answer it, and what, as the box calls its devices. Raises Unrouted where nobody could."""
    match wish:
        case Drain(device=str(device)) | Pack(device=str(device)):
            return {box_meant(device, known): replace(wish, device=within_box(device))}
        case Undo():
            changed = {box: known.states[box].changes for box in known.ready if known.states[box].changes}
            away = [box for box, state in known.states.items() if box not in known.ready and state.changes]
            if not changed and away:
                raise Unrouted(
                    f"what may be taken back is on {away[0]}, which does not answer", "try again when it is back"
                )
            if not changed:
                raise Unrouted("there is nothing to take back")
            newest = max(changed, key=lambda box: changed[box][-1].at_s)  # says why nothing is left to take back, if so
            return dict.fromkeys(takes_back(known) or (newest,), wish)
        case Rebalance() | Pack():
            return {box: wish for box in known.ready if box not in known.drained}


def proposed(wish: Wish, said: Mapping[BoxName, Proposal | Refusal], known: Known) -> Proposal | Refusal:
    """What they propose together; of several devices that could be packed free, the one that is soonest. A box that has nothing
    to propose leaves the others theirs, but for a change that they made together; if none has anything, the first says why."""
    offers = {box: _offer(box, one, known) for box, one in said.items() if isinstance(one, Proposal)}
    refused = [on(box, one) for box, one in said.items() if isinstance(one, Refusal)]
    if not offers or (isinstance(wish, Undo) and refused):
        return refused[0] if refused else Refusal(Batch("", ()), "no box answers")
    left = tuple(_left(wish, next(iter(offers.values())).command, known))
    if isinstance(wish, Pack) or len(offers) == 1:
        best = min(offers.values(), key=lambda one: one.plan.predicted.p50_s)
        return replace(best, wish=wish, reasons=(*best.reasons, *left))
    commands = tuple(one for offer in offers.values() for one in offer.command.commands)
    first = next(iter(offers.values())).command
    batch = Batch(first.title, commands, first.undoes)
    if len(commands) > MOST_COMMANDS:
        return Refusal(batch, f"the boxes propose {len(commands)} commands, and a batch has {MOST_COMMANDS} at most")
    plan = merged_plan(batch, {box: one.plan for box, one in said.items() if isinstance(one, Proposal)})
    assert isinstance(plan, Plan)
    gains = tuple(gain for offer in offers.values() for gain in offer.gains)
    reasons = tuple(f"{box}: {reason}" for box, offer in offers.items() for reason in offer.reasons)
    return Proposal(wish, batch, plan, gains, (*reasons, *left))


def _left(wish: Wish, batch: Batch, known: Known) -> Iterator[str]:
    """What stays as it is on boxes that can't be asked, in words."""
    for box, state in known.states.items():
        match wish:
            case Undo():
                if box not in known.ready and any(change.id == batch.undoes for change in state.changes):
                    yield f"what {box} did of it stays, since {box} does not answer; undo again when it is back"
            case Rebalance() | Pack(device=None) if box not in known.ready:
                yield f"{box} is left out: it does not answer"
            case Rebalance() | Pack(device=None) if box in known.drained:
                yield f"{box} is left out: it takes nothing new"


def _offer(box: BoxName, made: Proposal, known: Known) -> Proposal:
    """What `box` proposes, so that it concerns no other box: an eviction that names no device would take copies there, too."""
    offer = on(box, made)
    if offer.command.undoes is not None:  # goes to its change's box as a whole
        return offer
    commands = tuple(one for single in offer.command.commands for one in _of_box_alone(box, single, known))
    return replace(offer, command=replace(offer.command, commands=commands))


def _of_box_alone(box: BoxName, single: Single, known: Known) -> tuple[Single, ...]:
    elsewhere = any(state.places(single.model) for other, state in known.states.items() if other != box)
    if not isinstance(single, Evict) or single.device is not None or not elsewhere:
        return (single,)
    return tuple(Evict(single.model, on_box(box, device)) for device in known.states[box].places(single.model))
