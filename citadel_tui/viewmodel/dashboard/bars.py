"""The rows of memory bars: one for each device, one for the RAM tier, with figures that the bars agree with.

A device without figures has words in the bar's place, never an empty bar; one whose figures are old has them greyed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from citadel_tui.actions import DEVICE_IDS
from citadel_tui.viewmodel.bar import bar
from citadel_tui.viewmodel.bar_figures import WIDE, device_figures, no_figures, tier_figures
from citadel_tui.viewmodel.folding import shown_devices, together
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.memory_map import Occupancy, occupancy, tier_occupancy
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, filled, greyed, left, right, width_of, wrapped
from citadel_tui.viewmodel.trouble import has_figures, health_role, health_text
from engine.api import Snapshot
from engine.core.planning.ram_tier import tier_slabs
from engine.core.state import DeviceState, State

_BUSY_FROM: Final = 80
"""From here on a row has room for how busy the device is."""
_LABEL: Final = 6
_TITLE: Final = 28
_REASON_LINES: Final = 2


class _Row(NamedTuple):
    label: str
    head: str
    parts: Occupancy | None
    """What the bar is made of; None where the device has no figures."""
    figures: tuple[str, ...]
    health: str = ""
    """Empty when all is well."""
    reason: str = ""
    role: Role = "text"


def bar_rows(snapshot: Snapshot, width: int, most: int, now_s: float, glyphs: Glyphs) -> tuple[Line, ...]:
    """At most `most` rows, each exactly `width` cells wide, their bars of one length.

    Devices that there is no room for are one row together. A device in trouble has up to two rows more, where they fit.
    """
    devices = tuple(snapshot.state.devices.values())
    shown = shown_devices(devices, most - 1)
    rows = [_device_row(known, snapshot, width, now_s, glyphs) for known in devices if known.spec.id in shown]
    rows += _folded_row([known for known in devices if known.spec.id not in shown], snapshot, width, glyphs)
    rows.append(_tier_row(snapshot.state, width))
    head = max(len(row.head) for row in rows)
    columns = [max(map(len, column)) for column in zip(*(row.figures for row in rows), strict=True)]
    label = max(_LABEL, *(len(row.label) + 2 for row in rows))
    room = max(width - label - head - sum(size + 1 for size in columns if size) - 1, 0)
    lines: list[Line] = []
    spare = most - len(rows)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        lines.append(_line(row, label, head, room, columns, glyphs))
        # A broken driver gives all its cards the same reason, which stands once, under the last of them.
        if following is None or not _is_said_by(following, row):
            below = _below(row, label, room, width, glyphs)[: max(spare, 0)]
            lines.extend(below)
            spare -= len(below)
    return tuple(filled(line, width, glyphs.ellipsis) for line in lines)


def _device_row(known: DeviceState, snapshot: Snapshot, width: int, now_s: float, glyphs: Glyphs) -> _Row:
    reading, parts = known.reading, None
    figures = no_figures(glyphs)
    if has_figures(reading):
        parts = occupancy(snapshot, known.spec.id)
        figures = device_figures(parts, width, glyphs)
    row = _Row(known.spec.id, _head(known, width, glyphs), parts, figures)
    if reading.health == "ok":
        return row
    words = health_text(reading, now_s, glyphs), glyphs.text(reading.reason), health_role(reading)
    return _Row(*row[:4], *words)


def _folded_row(hidden: Sequence[DeviceState], snapshot: Snapshot, width: int, glyphs: Glyphs) -> list[_Row]:
    """One row for all of `hidden`; those that tell nothing are counted and add nothing. No row for none."""
    if not hidden:
        return []
    telling = [occupancy(snapshot, known.spec.id) for known in hidden if has_figures(known.reading)]
    ill = sum(known.reading.health != "ok" for known in hidden)
    which = f"{hidden[0].spec.id} to {hidden[-1].spec.id} " if width >= WIDE else ""
    head = which + (f"{glyphs.no} {ill} not ok " if ill else "")
    if not telling:
        return [_Row(f"+{len(hidden)}", head, None, no_figures(glyphs), f"{glyphs.no} none tells anything", role="bad")]
    parts = together(telling)
    return [_Row(f"+{len(hidden)}", head, parts, device_figures(parts, width, glyphs))]


def _tier_row(state: State, width: int) -> _Row:
    kept = f"{len(tier_slabs(state))}/{state.ram.max_models} kept"
    parts = tier_occupancy(state)
    return _Row("ram", f"RAM tier, {kept}" if width >= WIDE else "", parts, tier_figures(parts, kept, width))


def _head(known: DeviceState, width: int, glyphs: Glyphs) -> str:
    """The device's title, temperature and how busy it is, as far as it tells and there is room; that it is stale instead."""
    reading = known.reading
    degrees, percent = reading.temperature_c, reading.utilization_percent
    sensors = [
        "" if degrees is None else glyphs.text(f"{degrees}°C"),
        "" if percent is None or width < _BUSY_FROM else f"{percent:>3}%",
    ]
    if has_figures(reading) and reading.health != "ok":
        sensors = [f"{glyphs.no} {reading.health}"]
    title = cut(glyphs.text(known.spec.title), _TITLE, glyphs.ellipsis) if width >= WIDE else ""
    return "".join(f"{part} " for part in (title, *sensors) if part)


def _line(row: _Row, label: int, head: int, room: int, columns: list[int], glyphs: Glyphs) -> Line:
    figures = "".join(" " + right(text, size) for text, size in zip(row.figures, columns, strict=True) if size)
    body = _body(row, room, glyphs)
    told: Role = "dim" if row.health else "text"
    name = Span(left(f" {row.label}", label), "strong")
    return (name, Span(left(row.head, head), "dim"), *body, Span(figures + " ", told))


def _body(row: _Row, room: int, glyphs: Glyphs) -> Line:
    """The bar, or words in its place."""
    if row.parts is not None:
        drawn = bar(row.parts, room, glyphs)
        return greyed(drawn) if row.health else drawn
    words = (Span(_sentence(row), row.role),)
    fits = width_of(words) <= room
    return filled(words if fits else (Span(row.health, row.role),), room, glyphs.ellipsis)


def _is_said_by(following: _Row, row: _Row) -> bool:
    """Whether the next row's words are this one's, too. Only a driver that hangs makes cards stale, and then all of them."""
    if row.parts is not None and following.parts is not None:
        return bool(row.health and following.health)
    return row.parts is following.parts and row.reason == following.reason


def _below(row: _Row, label: int, room: int, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """What the row itself has no room to say of its trouble, in two lines; cut short, it names the key of the device's page."""
    words = _sentence(row) if row.parts is not None else row.reason
    if not row.health or not words or (row.parts is None and width_of((Span(_sentence(row)),)) <= room):
        return ()
    inner = width - label - 1
    pieces = wrapped(words, inner)
    if len(pieces) > _REASON_LINES:
        more = glyphs.ellipsis + _key_of_page(row.label)
        pieces = [
            *pieces[: _REASON_LINES - 1],
            cut(pieces[_REASON_LINES - 1], inner - width_of((Span(more),)), "") + more,
        ]
    return tuple((Span(" " * label), Span(piece, row.role)) for piece in pieces)


def _key_of_page(device: str) -> str:
    return f" (key {device[-1]} shows all)" if device in DEVICE_IDS else ""


def _sentence(row: _Row) -> str:
    return f"{row.health}: {row.reason}" if row.reason else row.health
