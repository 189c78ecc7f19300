"""Emptying a device: to the room that other GPUs have, as far as it reaches, the rest back to the RAM tier or the disk.

Nobody else is moved or dropped for it: what does not fit elsewhere leaves, the least valuable first.
"""

from __future__ import annotations

from engine.core.commands import Batch
from engine.core.forecast.costs import loss_s
from engine.core.names import DeviceId, ModelName
from engine.core.planning.planner import plan
from engine.core.plans import Blocker, BlockerWhy, Refusal
from engine.core.proposals import Drain, Gain, Pack, Proposal
from engine.core.proposing.moves import arranged, gain_of_leaving, held_s, room_without, transfer
from engine.core.proposing.multiple_knapsack import Item, assign
from engine.core.state import Resident, Situation, State
from engine.core.texts import in_brief


def drained(situation: Situation, wish: Drain) -> Proposal | Refusal:
    """The batch that takes everything off the device. A refusal names what is pinned, leased or loading there."""
    return _emptied(situation, wish, wish.device)


def packed(situation: Situation, wish: Pack) -> Proposal | Refusal:
    """The batch that frees a GPU: the one that is named, or the healthy one whose emptying costs least."""
    if wish.device is not None:
        return _emptied(situation, wish, wish.device)
    answers = [_emptied(situation, wish, device) for device in room_without(situation.state, ())]
    possible = [answer for answer in answers if isinstance(answer, Proposal)]
    if possible:
        return min(possible, key=lambda p: sum(gain.cost_s - gain.gain_s for gain in p.gains))
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    return Refusal(
        Batch("free a GPU", ()),
        "; ".join(refusal.reason for refusal in refusals) or "there is no healthy GPU",
        blockers=tuple(blocker for refusal in refusals for blocker in refusal.blockers),
        advice=tuple(advice for refusal in refusals for advice in refusal.advice),
    )


def _emptied(situation: Situation, wish: Drain | Pack, device: DeviceId) -> Proposal | Refusal:
    state = situation.state
    title = f"drain {device}" if isinstance(wish, Drain) else f"free {device}"
    if device not in state.devices:
        known = ", ".join(state.devices)
        return Refusal(Batch(title, ()), f"there is no device {in_brief(device)}", advice=(f"the devices are {known}",))
    staying = [r for r in state.on(device) if r.stage not in ("draining", "leaving")]
    gains = _gains(state, staying, device)
    unplaced = {gain.model for gain in gains if gain.target is None}
    if blockers := _blockers(state, staying, unplaced):
        return _refusal(title, device, blockers)
    batch = Batch(title, arranged(state, gains))
    found = plan(state, batch, situation.policy, situation.now_s)
    return found if isinstance(found, Refusal) else Proposal(wish, batch, found, gains, (_summary(device, gains),))


def _gains(state: State, residents: list[Resident], device: DeviceId) -> tuple[Gain, ...]:
    """Where each of `residents` goes: what is pinned first, then by value."""
    rooms = {other: left for other, left in room_without(state, ()).items() if other != device}
    values = {r.model: held_s(state, r.model, device) for r in residents}
    # added to what is pinned, so that no set of others, however wanted, is worth more than one model that must not be dropped
    above_all = sum(values.values())
    items = [
        Item(
            name=r.model,
            size_bytes=state.models[r.model].footprint.total_bytes,
            value=values[r.model] + (above_all if state.is_pinned(r) else 0.0),
        )
        for r in residents
        if not state.models[r.model].trouble and not state.beside(r.model, device)
    ]
    placements = assign(items, rooms).placements
    return tuple(_gain(state, r, placements.get(r.model)) for r in residents)


def _gain(state: State, resident: Resident, target: DeviceId | None) -> Gain:
    if target is not None:
        return transfer(state, resident, target, f"{target} has room for it")
    lost_s = loss_s(state, resident)
    if others := state.beside(resident.model, resident.device):
        words = (
            f"it stays on {' and '.join(r.device for r in others)}; requests are expected to wait {lost_s:.2f} s more"
        )
        return gain_of_leaving(state, resident, words)
    return gain_of_leaving(
        state, resident, f"no GPU has room for it; losing it is expected to cost {lost_s:.2f} s of reloading"
    )


def _blockers(state: State, residents: list[Resident], unplaced: set[ModelName]) -> tuple[Blocker, ...]:
    found = ((r, _why_blocked(state, r, unplaced)) for r in residents)
    return tuple(Blocker(r.model, r.device, r.footprint.total_bytes, why) for r, why in found if why)


def _why_blocked(state: State, resident: Resident, unplaced: set[ModelName]) -> BlockerWhy | None:
    if resident.stage in ("pending", "loading"):
        return "loading"
    pin = state.models[resident.model].pin
    gone = resident.model in unplaced and not state.beside(resident.model, resident.device)
    if pin is not None and state.is_pinned(resident) and (pin.device is not None or gone):
        return "pinned"
    return "leased" if resident.leases else None


def _refusal(title: str, device: DeviceId, blockers: tuple[Blocker, ...]) -> Refusal:
    in_the_way = ", ".join(f"{b.model} is {b.why}" for b in blockers)
    advice = tuple(f"unpin {b.model}" if b.why == "pinned" else f"wait: {b.model} is {b.why}" for b in blockers)
    return Refusal(Batch(title, ()), f"{device} can't be emptied: {in_the_way}", blockers=blockers, advice=advice)


def _summary(device: DeviceId, gains: tuple[Gain, ...]) -> str:
    if not gains:
        return f"{device} is empty already"
    leaving = [gain for gain in gains if gain.target is None]
    if not leaving:
        return f"other GPUs have room for all that {device} holds"
    lost_s = -sum(gain.gain_s for gain in leaving)
    return f"{len(leaving)} of {len(gains)} models find no room on other GPUs; losing them is expected to cost {lost_s:.2f} s"
