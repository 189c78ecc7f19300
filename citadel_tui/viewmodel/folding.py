"""Which devices have a row of their own when there is no room for all, and what the others amount to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from citadel_tui.viewmodel.memory_map import Kind, Occupancy, Segment
from engine.core.names import DeviceId
from engine.core.state import DeviceState

_ORDER: tuple[Kind, ...] = ("held", "ghost", "leaving", "leaked", "room")


def shown_devices(devices: Sequence[DeviceState], most: int) -> frozenset[DeviceId]:
    """At most `most` of the devices: those in trouble first, then as they come; all when they fit."""
    if len(devices) <= most:
        return frozenset(known.spec.id for known in devices)
    by_need = sorted(devices, key=lambda known: known.reading.health == "ok")
    # One row less: it is the one that stands for all the others.
    return frozenset(known.spec.id for known in by_need[: max(most - 1, 0)])


def together(parts: Sequence[Occupancy]) -> Occupancy:
    """Several devices' memory as one."""
    return Occupancy(
        inside=_merged((s for p in parts for s in p.inside), _ORDER),
        outside=_merged((s for p in parts for s in p.outside), ("spare", "context", "external")),
        charged_bytes=sum(p.charged_bytes for p in parts),
        budget_bytes=sum(p.budget_bytes for p in parts),
        total_bytes=sum(p.total_bytes for p in parts),
        leaked_bytes=sum(p.leaked_bytes for p in parts),
        context_bytes=sum(p.context_bytes for p in parts),
        external_bytes=sum(p.external_bytes for p in parts),
        unused_bytes=sum(p.unused_bytes for p in parts),
    )


def _merged(segments: Iterable[Segment], kinds: Sequence[Kind]) -> tuple[Segment, ...]:
    """One segment of each kind that there is."""
    found = tuple(segments)
    merged = []
    for kind in kinds:
        same = [s for s in found if s.kind == kind]
        if same:
            sizes = sum(s.size_bytes for s in same), sum(s.weights_bytes for s in same)
            merged.append(Segment(kind, sizes[0], weights_bytes=sizes[1]))
    return tuple(merged)
