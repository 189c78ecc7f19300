"""The rows of memory bars: one for each device, one for the RAM tier, with figures that the bars agree with."""

from __future__ import annotations

from typing import Final, NamedTuple

from citadel_tui.viewmodel.bar import bar
from citadel_tui.viewmodel.figures import age_text, percent_text
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.segments import Occupancy, occupancy, tier_occupancy, tier_slabs
from citadel_tui.viewmodel.spans import Line, Span, cut, filled, left, right
from engine.api import Snapshot
from engine.core.names import DeviceId
from engine.core.sizes import mib
from engine.core.state import DeviceState, State

WIDE: Final = 110
"""From here on a row has room for the device's title and both percentages."""
_LABEL: Final = 6
_TITLE: Final = 28


class _Row(NamedTuple):
    label: str
    head: str
    parts: Occupancy
    trouble: Line
    """Shown in place of the bar when the device's figures can't be trusted."""
    tail: str


def bar_rows(snapshot: Snapshot, width: int, now_s: float, glyphs: Glyphs) -> tuple[Line, ...]:
    """All rows, each exactly `width` cells wide, their bars of one length."""
    rows = [_device_row(snapshot, device, width, now_s, glyphs) for device in snapshot.state.devices]
    rows.append(_tier_row(snapshot.state, width))
    head = max(len(row.head) for row in rows)
    tail = max(len(row.tail) for row in rows)
    inner = max(width - _LABEL - head - tail - 2, 0)
    return tuple(filled(_line(row, head, inner, tail, glyphs), width, glyphs.ellipsis) for row in rows)


def _line(row: _Row, head: int, inner: int, tail: int, glyphs: Glyphs) -> Line:
    body = filled(row.trouble, inner, glyphs.ellipsis) if row.trouble else bar(row.parts, inner, glyphs)
    label = Span(left(f" {row.label}", _LABEL), "strong")
    return (label, Span(left(row.head, head), "dim"), *body, Span(" " + right(row.tail, tail)))


def _device_row(snapshot: Snapshot, device: DeviceId, width: int, now_s: float, glyphs: Glyphs) -> _Row:
    state = snapshot.state.devices[device]
    parts = occupancy(snapshot, device)
    return _Row(device, _head(state, width, glyphs), parts, _trouble(state, now_s, glyphs), _tail(parts, width))


def _tier_row(state: State, width: int) -> _Row:
    kept = f"{len(tier_slabs(state))}/{state.ram.max_models} kept"
    parts = tier_occupancy(state)
    if width < WIDE:
        return _Row("ram", "", parts, (), kept)
    return _Row("ram", f"RAM tier, {kept}", parts, (), _tail(parts, width))


def _head(state: DeviceState, width: int, glyphs: Glyphs) -> str:
    warmth = state.reading.temperature_c
    degrees = "" if warmth is None else glyphs.text(f"{warmth}°C ")
    title = cut(glyphs.text(state.spec.title), _TITLE, glyphs.ellipsis) + " " if width >= WIDE else ""
    return title + degrees


def _tail(parts: Occupancy, width: int) -> str:
    charge = f"{mib(parts.charged_bytes)}/{mib(parts.budget_bytes)} MiB"
    if width < WIDE:
        return charge
    of_budget = percent_text(parts.charged_bytes, parts.budget_bytes)
    of_total = percent_text(parts.charged_bytes, parts.total_bytes)
    return f"{charge} {of_budget:>5} of budget {of_total:>4} of total"


def _trouble(state: DeviceState, now_s: float, glyphs: Glyphs) -> Line:
    reading = state.reading
    if reading.health == "ok":
        return ()
    why = f": {glyphs.text(reading.reason)}" if reading.reason else ""
    age = f", last good figures {age_text(now_s - reading.at_s)} ago" if reading.at_s else ""
    return (Span(f"{glyphs.no} {reading.health}{why}{age}", "bad"),)
