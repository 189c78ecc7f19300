"""How much of a card is used by processes that are not ours, said only when it is certain. Pure: two samples in, bytes out."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from engine.core.sizes import MIB
from engine.devices.cards import GpuSample

SETTLED_WITHIN_BYTES: Final = 16 * MIB
"""Samples that differ by less agree. The driver gives memory out in pages of 2 MiB, and a desktop takes and returns a few of
them each second; the smallest model worth moving is several times larger."""


def settled_external(previous: GpuSample, current: GpuSample, our_bytes: int, our_pids: Collection[int]) -> int | None:
    """Bytes in use on the card that are not ours; None while that can't be said, and what was said last still holds.

    Nothing is said unless memory stood still from `previous` to `current`: while a process comes or goes, its bytes are for
    a moment in the card's figure and in no list, and would look like somebody else's. `our_bytes` is what our processes hold
    by their own account, CUDA contexts included. The driver's account of `our_pids` is heard beside it only where it was
    taken between the two readings: an older one has missed what moved since. Of the two the greater counts, because in a
    container the driver may list nobody, or know our processes by other numbers.
    """
    before, now = previous.memory, current.memory
    if before is None or now is None or previous.health != "ok" or current.health != "ok":
        return None
    if abs(now.used_bytes - before.used_bytes) > SETTLED_WITHIN_BYTES:
        return None
    return max(0, now.used_bytes - max(our_bytes, _listed_between(previous, current, our_pids)))


def _listed_between(previous: GpuSample, current: GpuSample, our_pids: Collection[int]) -> int:
    """What the driver said, between the two readings of memory, that our processes hold."""
    if previous.at_s is None or previous.activity_at_s is None or current.at_s is None:
        return 0
    if not previous.at_s <= previous.activity_at_s <= current.at_s:
        return 0
    return sum(p.used_bytes or 0 for p in previous.activity.processes or () if p.pid in our_pids)
