"""The devices as a table for people, and below it what a cell can't hold: troubles with their age, and other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from citadel_tui.cli.status_report import DeviceReport
from citadel_tui.cli.output import table
from citadel_tui.text import clean
from citadel_tui.words.figures import ago_text, mib_text, percent
from engine.core.devices import Neighbour
from engine.core.sizes import format_size

_BAR_CELLS: Final = 24


class _Column(Struct, frozen=True):
    heading: str
    cell: Callable[[DeviceReport], str]
    right: bool = True
    only_if: Callable[[DeviceReport], object] = lambda _: True
    """The column is shown when this holds of a device."""


_BAR: Final = _Column("", lambda device: _bar(device), right=False)
_COLUMNS: Final = (
    _Column("DEVICE", lambda d: d.id, right=False),
    _Column("HEALTH", lambda d: d.health, right=False),
    _Column("MODELS", lambda d: mib_text(d.models_bytes)),
    _Column("CONTEXT", lambda d: mib_text(d.context_bytes), only_if=lambda d: d.context_bytes),
    _Column("LEAKED", lambda d: mib_text(d.leaked_bytes), only_if=lambda d: d.leaked_bytes),
    _Column("EXTERNAL", lambda d: mib_text(d.external_bytes), only_if=lambda d: d.external_bytes),
    _Column("USED", lambda d: mib_text(d.used_bytes)),
    _Column("BUDGET", lambda d: mib_text(d.budget_bytes)),
    _BAR,
    _Column("TOTAL MiB", lambda d: mib_text(d.total_bytes)),
    _Column("OF BUDGET", lambda d: percent(d.percent_of_budget)),
    _Column("OF TOTAL", lambda d: percent(d.percent_of_total)),
    _Column("TEMP", lambda d: _or_dash(d.temperature_c, " C"), only_if=lambda d: d.temperature_c is not None),
    _Column("BUSY", lambda d: percent(d.utilization_percent), only_if=lambda d: d.utilization_percent is not None),
    _Column("RESIDENTS", lambda d: ", ".join(d.residents) or "-", right=False),
)


def device_table(devices: list[DeviceReport], at_s: float, *, bars: bool) -> str:
    """`at_s`: now, for the ages."""
    columns = [c for c in _COLUMNS if (bars or c is not _BAR) and any(c.only_if(device) for device in devices)]
    rows = [[column.cell(device) for column in columns] for device in devices]
    text = table([c.heading for c in columns], rows, right=[c.heading for c in columns if c.right])
    troubles = [_trouble(device, at_s) for device in devices if device.reason]
    return "\n".join([text, *troubles, *(line for device in devices for line in _neighbours(device))])


def _or_dash(value: int | None, unit: str) -> str:
    return "-" if value is None else f"{value}{unit}"


def _bar(device: DeviceReport) -> str:
    """Our models, what else is used, room in the budget, and what the budget leaves alone; nothing of a silent device."""
    if device.used_bytes is None:
        return ""
    used_bytes = max(device.used_bytes, device.models_bytes)
    ends = [_BAR_CELLS * size // device.total_bytes for size in (device.models_bytes, used_bytes, device.budget_bytes)]
    ours, used = ends[0], ends[1]
    budget = max(ends[2], used)
    return "█" * ours + "▒" * (used - ours) + "·" * (budget - used) + "┊" + " " * (_BAR_CELLS - budget)


def _trouble(device: DeviceReport, at_s: float) -> str:
    age = f" (last read {ago_text(at_s - device.read_at_s)})" if device.read_at_s and device.health != "ok" else ""
    return f"{device.id}: {clean(device.reason)}{age}"


def _neighbours(device: DeviceReport) -> Iterator[str]:
    for neighbour in device.neighbours:
        yield f"{device.id}: process {neighbour.pid} ({_name(neighbour)}) holds {_held(neighbour)}"


def _name(neighbour: Neighbour) -> str:
    return clean(neighbour.name) or "its name can't be seen"


def _held(neighbour: Neighbour) -> str:
    return "memory, nobody says how much" if neighbour.used_bytes is None else format_size(neighbour.used_bytes)
