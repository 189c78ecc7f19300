"""Who holds memory on a card: the driver's lists put together, with names from the host's process table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine.devices.cards import GpuProcess


def named_processes(listed: Iterable[tuple[int, int | None]]) -> tuple[GpuProcess, ...]:
    """One entry a process. One that computes and renders is listed twice, each time with all that it holds."""
    held: dict[int, int | None] = {}
    for pid, used_bytes in listed:
        known_bytes = held.get(pid)
        held[pid] = used_bytes if known_bytes is None else max(known_bytes, used_bytes or 0)
    return tuple(GpuProcess(pid, _name(pid), used_bytes) for pid, used_bytes in held.items())


def _name(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return None
