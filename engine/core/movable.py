"""Which residents may be moved or dropped without anybody's word, and how much room devices have without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from engine.core.ledger import budget
from engine.core.names import DeviceId
from engine.core.planning.placement import gpus
from engine.core.state import Resident, State


def movable(state: State) -> tuple[Resident, ...]:
    """Residents that are ready and idle, not pinned, in one place only, and that could be loaded elsewhere as they are; by
    name."""
    places = Counter(r.model for r in state.residents)
    able = (r for r in state.residents if places[r.model] == 1 and _may_move(state, r))
    return tuple(sorted(able, key=lambda r: r.model))


def room_without(state: State, gone: Iterable[Resident]) -> dict[DeviceId, int]:
    """Bytes that are free for models on each healthy GPU when `gone` are not there; below 0 where others took what was ours.

    What is leaving still counts: nobody knows when its bytes will be free.
    """
    absent = set(gone)
    rooms = {d: budget(state, d) - state.devices[d].leaked_bytes for d in gpus(state) if _healthy(state, d)}
    for resident in state.residents:
        if resident.device in rooms and resident not in absent:
            rooms[resident.device] -= resident.footprint.total_bytes
    return rooms


def _may_move(state: State, resident: Resident) -> bool:
    model = state.models[resident.model]
    return (
        resident.stage == "ready"
        and not resident.leases
        and model.pin is None
        and not model.trouble
        and _healthy(state, resident.device)
        and model.footprint.total_bytes <= resident.footprint.total_bytes
    )


def _healthy(state: State, device: DeviceId) -> bool:
    return state.devices[device].reading.health == "ok"
