"""From the present residency to another: commands in an order in which no device ever holds more than it may.

A moving model needs its room on the target while it still is on its source. Where models wait for each other's room in a
circle, the one that loads fastest is evicted and loaded again when its room is there.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from engine.core.commands import Evict, Load, Move, Single
from engine.core.movable import room_without
from engine.core.proposals import Gain
from engine.core.state import State


def arranged(state: State, gains: Iterable[Gain]) -> tuple[Single, ...]:
    """Commands that carry `gains` out, which together must fit."""
    changes = sorted(gains, key=lambda g: g.model)
    order = _Order(state)
    for gain in changes:
        if gain.target is None:
            order.evict(gain)
    coming = [gain for gain in changes if gain.target is not None]
    while coming:
        chosen = order.next_of(coming)
        if chosen is not None:
            order.bring(chosen)
            coming.remove(chosen)
        else:
            broken = min((g for g in coming if g.source in order.left_bytes), key=lambda g: (g.cost_s, g.model))
            order.evict(broken)
            coming[coming.index(broken)] = replace(broken, source=None)
    return tuple(order.commands)


class _Order:
    """The commands so far, and the room that they leave."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.left_bytes = room_without(state, ())
        self.commands: list[Single] = []

    def evict(self, gain: Gain) -> None:
        self._leave(gain)
        self.commands.append(Evict(gain.model))

    def bring(self, gain: Gain) -> None:
        assert gain.target is not None
        self.left_bytes[gain.target] -= self._size_bytes(gain)
        self._leave(gain)
        self.commands.append(Load(gain.model, gain.target) if gain.source is None else Move(gain.model, gain.target))

    def next_of(self, coming: Iterable[Gain]) -> Gain | None:
        """What fits now: first what frees room elsewhere, then the largest."""
        fitting = [g for g in coming if g.target and self._size_bytes(g) <= self.left_bytes[g.target]]
        return min(
            fitting,
            key=lambda g: (g.source not in self.left_bytes, -self._size_bytes(g), g.model),
            default=None,
        )

    def _leave(self, gain: Gain) -> None:
        here = self._state.find(gain.model, gain.source) if gain.source is not None else None
        if here is not None and here.device in self.left_bytes:
            self.left_bytes[here.device] += here.footprint.total_bytes

    def _size_bytes(self, gain: Gain) -> int:
        return self._state.models[gain.model].footprint.total_bytes
