"""Rebalancing: the residency that serves the present demand with the fewest seconds of reloading, less those of getting there.

Models that were asked for and are nowhere compete with the residents for the GPUs' room. Staying is free, coming and moving
cost a load; so of equal placements the one that changes least wins, and what doesn't pay back is not part of the optimum.
Models that fell back to the CPU answer there, and nobody knows how much slower: they push nobody out and move nobody, they
come back into the room that is left, if the requests expected for them are worth the load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from msgspec.structs import replace

from engine.core.commands import Batch
from engine.core.forecast.costs import load_step
from engine.core.names import CPU, DeviceId, ModelName
from engine.core.planning.planner import plan
from engine.core.plans import Refusal
from engine.core.policy import Balancing
from engine.core.prediction import predict
from engine.core.proposals import Gain, Proposal, Rebalance
from engine.core.proposing.moves import (
    Exchange,
    arranged,
    arrival,
    exchanges,
    gain_of_leaving,
    held_s,
    movable,
    room_without,
    transfer,
)
from engine.core.proposing.multiple_knapsack import Assignment, Item, assign
from engine.core.sizes import GIB
from engine.core.state import Situation, State


def balanced(
    state: State,
    items: Iterable[Item],
    placements: Mapping[ModelName, DeviceId],
    rooms: Mapping[DeviceId, int],
    balancing: Balancing,
) -> dict[ModelName, DeviceId]:
    """`placements` of the same items, each that has no home on the device that is preferred among those where it fits."""
    ordered = sorted(items, key=lambda i: (-i.value, i.name))
    settled = dict(placements)
    left = dict(rooms)
    for item in ordered:
        if item.name in settled:
            left[settled[item.name]] -= item.size_bytes
    # `assign` says which items fit together and finds rooms for them; to it, one room is as good as another. Those that arrive
    # are taken out again one by one, the most wanted first, and may choose among the rooms that have space at that moment,
    # their own among them: so nobody is left without one.
    for item in ordered:
        if item.name in settled and item.home is None:
            left[settled.pop(item.name)] += item.size_bytes
            fitting = {device: free for device, free in left.items() if free >= item.size_bytes}
            preferred = state.models[item.name].spec.preferred_device
            ranks = _ranks(fitting, settled, balancing)
            settled[item.name] = min(fitting, key=lambda d: (d != preferred, ranks[d]))
            left[settled[item.name]] -= item.size_bytes
    return settled


def _ranks(
    fitting: Mapping[DeviceId, int], settled: Mapping[ModelName, DeviceId], balancing: Balancing
) -> dict[DeviceId, int]:
    match balancing:
        case "spread":
            there = list(settled.values())
            return {device: there.count(device) for device in fitting}
        case "most_free":
            return {device: -free for device, free in fitting.items()}
        case "pack":
            return dict(fitting)


def rebalanced(situation: Situation, wish: Rebalance) -> Proposal | Refusal:
    """The batch that pays back most; one without commands, and the reason, when nothing does.

    Pinned and leased models, and those on their way, stay as they are.
    """
    state, policy = situation.state, situation.policy
    stage = _Stage(state)
    best = assign(stage.items, stage.rooms)
    placements = {**best.placements, **stage.returning(best.placements)}
    placements = balanced(state, (*stage.items, *stage.on_cpu), placements, stage.rooms, policy.balancing)
    paying = [exchange for exchange in exchanges(stage.gains(placements)) if exchange.pays]
    gains = tuple(gain for exchange in paying for gain in exchange.gains)
    batch = Batch("rebalance", arranged(state, gains))
    found = plan(state, batch, policy, situation.now_s)
    if isinstance(found, Refusal):
        return found
    reasons = _worth(paying, best) if paying else (_nothing_pays(stage),)
    return Proposal(wish, batch, found, gains, reasons)


class _Stage:
    """What may be placed, where it is now, and the room for it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._homes = {r.model: r for r in movable(state)}
        self.rooms = room_without(state, self._homes.values())

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """Residents of the GPUs, and models that were asked for and are nowhere."""
        residents = [r for r in self._homes.values() if r.device in self.rooms]
        placed = {r.model for r in self._state.residents}
        return (
            *(self._item(r.model, r.device, r.footprint.total_bytes) for r in residents),
            *(self._arriving(model) for model in self._state.models if model not in placed and self._wanted(model)),
        )

    @cached_property
    def on_cpu(self) -> tuple[Item, ...]:
        """Models that fell back to the CPU and were asked for."""
        fallen = (r.model for r in self._homes.values() if r.device == CPU)
        return tuple(self._arriving(model) for model in fallen if self._wanted(model))

    def returning(self, placements: Mapping[ModelName, DeviceId]) -> dict[ModelName, DeviceId]:
        """The models that come back from the CPU into the room that `placements` leave."""
        left = dict(self.rooms)
        for item in self.items:
            if item.name in placements:
                left[placements[item.name]] -= item.size_bytes
        return assign(self.on_cpu, left).placements

    def gains(self, placements: Mapping[ModelName, DeviceId]) -> list[Gain]:
        """What changes when the items stand as in `placements`."""
        found = []
        for item in (*self.items, *self.on_cpu):
            target = placements.get(item.name)
            if target != item.home:
                found.append(self._gain(item, target))
        return found

    def _gain(self, item: Item, target: DeviceId | None) -> Gain:
        if item.home is None:
            assert target is not None
            source = self._homes[item.name].device if item.name in self._homes else None
            return arrival(self._state, item.name, source, target)
        why = f"makes room on {item.home}"
        if target is None:
            return gain_of_leaving(self._state, self._homes[item.name], why)
        return transfer(self._state, self._homes[item.name], target, why)

    def _wanted(self, model: ModelName) -> bool:
        known = self._state.models[model]
        return known.demand.requests > 0 and known.pin is None and not known.trouble

    def _arriving(self, model: ModelName) -> Item:
        return self._item(model, None, self._state.models[model].footprint.total_bytes)

    def _item(self, model: ModelName, home: DeviceId | None, size_bytes: int) -> Item:
        if (device := home or self._quickest) is None:
            return Item(model, size_bytes, 0.0)
        load_s = load_step(self._state, model, device).predicted.p50_s
        return Item(model, size_bytes, held_s(self._state, model, device), home, load_s)

    @cached_property
    def _quickest(self) -> DeviceId | None:
        """The GPU that takes bytes fastest: what a model that is nowhere is reckoned to load on."""
        return min(self.rooms, key=lambda d: predict(self._state.devices[d].rates, GIB).p50_s, default=None)


def _worth(paying: Iterable[Exchange], best: Assignment) -> tuple[str, ...]:
    gain_s, cost_s = sum(e.gain_s for e in paying), sum(e.cost_s for e in paying)
    optimum = "no placement pays back more" if best.proven else f"no placement is worth over {best.gap:.2%} more"
    return (f"saves {gain_s:.2f} s of expected reloading for {cost_s:.2f} s of loading", optimum)


def _nothing_pays(stage: _Stage) -> str:
    """Why nothing is proposed, with the figures of the exchange that comes nearest: part of the best placement were it free."""
    free_of_cost = assign([replace(item, moving_cost=0.0) for item in stage.items], stage.rooms)
    nearest = max(exchanges(stage.gains(free_of_cost.placements)), key=lambda e: e.gain_s - e.cost_s, default=None)
    if nearest is None:
        return "every model is where it serves the present demand best"
    return f"nothing pays back: the best exchange would gain {nearest.gain_s:.2f} s and cost {nearest.cost_s:.2f} s"
