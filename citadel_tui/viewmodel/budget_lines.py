"""A device's memory as sums that can be checked by hand: how its budget comes about and where it went; what is in use.

Each line's figure is the difference between two rounded totals, so that the shown figures add up to the MiB.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.memory_map import occupancy, sum_of
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, right
from citadel_tui.viewmodel.trouble import has_figures
from engine.api import Snapshot
from engine.core.names import DeviceId
from engine.core.sizes import mib
from engine.core.state import Resident

_SIZE: Final = 7
_BEFORE_WORDS: Final = 12


class _Row(NamedTuple):
    sign: str
    size_mib: int | None
    words: str
    role: Role = "text"


def budget_lines(snapshot: Snapshot, device: DeviceId, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """total - others - context = left; the budget, which the fraction limits too; budget - charged = free."""
    known = has_figures(snapshot.state.devices[device].reading)
    rows = [*_budget(snapshot, device), *_charges(snapshot, device)] if known else _unknown(snapshot, device)
    return tuple(_line(row, width, glyphs) for row in rows)


def use_lines(snapshot: Snapshot, device: DeviceId, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """charged - unused + context + others = what the device reports; nothing where it reports nothing."""
    if not has_figures(snapshot.state.devices[device].reading):
        return ()
    sums = sum_of(occupancy(snapshot, device))
    rows = (
        _Row("", sums.charged, "charged for models"),
        _Row("-", sums.unused, f"{glyphs.workspace} not in use: workspace, or yet to come"),
        _Row("+", sums.context, f"{glyphs.context} the worker's own"),
        _Row("+", sums.external, f"{glyphs.external} held by others"),
        _Row("=", sums.used, "in use, as the device reports", "strong"),
    )
    return tuple(_line(row, width, glyphs) for row in rows)


def _budget(snapshot: Snapshot, device: DeviceId) -> list[_Row]:
    known = snapshot.state.devices[device]
    total, fraction = known.spec.total_bytes, known.spec.fraction
    external, context = known.reading.external_bytes or 0, known.context_bytes
    return [
        _Row("", mib(total), "total"),
        *_less(total, [(external, "held by others"), (context, "the worker's CUDA context")]),
        _Row("=", mib(max(total - external - context, 0)), "left for models", "strong"),
        _Row("", mib(int(total * fraction)), f"{fraction:.0%} of the total may be filled"),
        _Row("=", mib(snapshot.budgets.get(device, 0)), "budget, the smaller of the two", "strong"),
    ]


def _charges(snapshot: Snapshot, device: DeviceId) -> list[_Row]:
    budget = snapshot.budgets.get(device, 0)
    residents = snapshot.state.on(device)
    charges = [(r.footprint.total_bytes, _named(r)) for r in residents if r.stage != "pending"]
    charges.append((snapshot.state.devices[device].leaked_bytes, "leaked when a model left"))
    free = budget - sum(size for size, _ in charges)
    waiting = [_Row("", _size(r), f"{_named(r)}: waits for room", "warn") for r in residents if r.stage == "pending"]
    return [*_less(budget, charges), _Row("=", mib(free), "free", "strong"), *waiting]


def _unknown(snapshot: Snapshot, device: DeviceId) -> list[_Row]:
    """Of a device that tells nothing: what it had, and who is on it."""
    return [
        _Row("", mib(snapshot.state.devices[device].spec.total_bytes), "total"),
        _Row("-", None, "held by others: not known"),
        _Row("=", None, "budget: not known either", "strong"),
        *(_Row("", _size(r), f"{_named(r)} when last heard of") for r in snapshot.state.on(device)),
    ]


def _less(start: int, taken: list[tuple[int, str]]) -> list[_Row]:
    """A row for each size that is taken away from `start`."""
    rows = []
    for size, words in taken:
        if size:
            rows.append(_Row("-", mib(start) - mib(start - size), words))
        start -= size
    return rows


def _line(row: _Row, width: int, glyphs: Glyphs) -> Line:
    figure = glyphs.nothing if row.size_mib is None else str(row.size_mib)
    words = cut(glyphs.text(row.words), width - _BEFORE_WORDS, glyphs.ellipsis)
    return (Span(f" {row.sign:1} ", "dim"), Span(right(figure, _SIZE), row.role), Span(f"  {words}", row.role))


def _size(resident: Resident) -> int:
    return mib(resident.footprint.total_bytes)


def _named(resident: Resident) -> str:
    return f"{resident.model}, {resident.stage}"
