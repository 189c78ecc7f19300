"""Thrash: models that push each other off their devices again and again, because together they are larger than those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from engine.core import ledger
from engine.core.names import DeviceId, ModelName
from engine.core.records import Switch
from engine.core.sizes import format_room, format_size
from engine.core.state import State

WINDOW_S: Final = 120.0
DISPLACEMENTS: Final = 4
"""So many within the window: two models twice each. Fewer are what any change of demand brings."""


class Displacement(Struct, frozen=True):
    """A model that came, and one that left for it."""

    device: DeviceId
    mover: ModelName
    victim: ModelName
    at_s: float
    """When it was asked for, seconds since the epoch."""


class Alarm(Struct, frozen=True):
    """Models that displace each other."""

    models: tuple[ModelName, ...]
    devices: tuple[DeviceId, ...]
    times: int
    span_s: float
    """From the first time until now."""
    together_bytes: int
    room_bytes: int
    """What the devices have for them: their budgets, less what others hold there."""

    @property
    def condition(self) -> str:
        """What lasts while they do."""
        return f"thrash of {_listed(self.models)}"

    @property
    def past(self) -> str:
        """What there is to say when they no longer do."""
        return f"{_listed(self.models)} displaced each other, and have not for {WINDOW_S / 60:.0f} min"

    @property
    def text(self) -> str:
        """The alarm with its cause, for a person."""
        span = f"{self.span_s / 60:.0f} min" if self.span_s >= 90 else f"{self.span_s:.0f} s"
        happened = f"{_listed(self.models)} have displaced each other {self.times} times in {span}"
        need = f"together they need {format_size(self.together_bytes)} of {format_room(self.room_bytes)}"
        return f"{happened} on {_listed(self.devices)}: {need}; run one on the CPU, or pin the one that matters"


def displacements(switch: Switch) -> list[Displacement]:
    """Whom the switch took off a device for whom. What a person asked for is no thrash, however often."""
    if switch.outcome != "done" or switch.origin in ("operator", "trial"):
        return []
    return [
        Displacement(load.device, load.model, victim.model, switch.at_s)
        for load in switch.plan.loads
        for victim in switch.plan.victims
        if victim.device == load.device
    ]


def recent(seen: Iterable[Displacement], now_s: float) -> list[Displacement]:
    """Those of the last two minutes, and none of before the clock was set back."""
    return [one for one in seen if 0 <= now_s - one.at_s <= WINDOW_S]


def find_thrash(state: State, seen: Sequence[Displacement], now_s: float) -> tuple[Alarm, ...]:
    """The groups of models that come back after they were displaced, only to displace each other, too often.

    `seen`: in order of time. Two models that take turns, and a ring of more over several devices, are the same trouble.
    """
    left: set[ModelName] = set()
    back: set[ModelName] = set()
    for one in (seen := recent(seen, now_s)):
        if one.mover in left:
            back.add(one.mover)
        left.add(one.victim)
    among = [one for one in seen if one.mover in back and one.victim in back]
    groups = _connected(among)
    return tuple(_alarm(state, group, now_s) for group in groups if len(group) >= DISPLACEMENTS)


def _connected(among: Iterable[Displacement]) -> list[list[Displacement]]:
    """`among`, apart where no model connects them, each in order of time."""
    groups: list[list[Displacement]] = []
    for one in among:
        touching = [group for group in groups if any({one.mover, one.victim} & {o.mover, o.victim} for o in group)]
        apart = [group for group in groups if group not in touching]
        groups = [*apart, [*(o for group in touching for o in group), one]]
    return [sorted(group, key=lambda one: one.at_s) for group in groups]


def _alarm(state: State, group: Sequence[Displacement], now_s: float) -> Alarm:
    names = {name for one in group for name in (one.mover, one.victim)}
    models = tuple(name for name in state.models if name in names)
    devices = tuple(device for device in state.devices if any(one.device == device for one in group))
    others = [r for device in devices for r in state.on(device) if r.model not in names]
    return Alarm(
        models=models,
        devices=devices,
        times=len(group),
        span_s=now_s - group[0].at_s,
        together_bytes=sum(state.models[name].footprint.total_bytes for name in models),
        room_bytes=sum(ledger.budget(state, device) for device in devices)
        - sum(other.footprint.total_bytes for other in others),
    )


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
