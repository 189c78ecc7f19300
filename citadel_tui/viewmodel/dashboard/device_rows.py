"""The rows of all devices and of the RAM tier: what each is and how it is, its memory bar, and figures that the bar agrees with.

A device without figures has words in the bar's place, never an empty bar; one whose figures are old has them greyed. GPUs that
there is no room for are one row of words: sums over several would say nothing of any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from citadel_tui.actions import BY_ID, DEVICE_IDS
from citadel_tui.viewmodel.dashboard.bars import (
    SHARES_FROM,
    bar,
    device_figures,
    names_text,
    no_figures,
    tier_figures,
    unnamed,
)
from citadel_tui.viewmodel.graph import graph
from citadel_tui.viewmodel.memory_map import Occupancy, occupancy, tier_occupancy
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import (
    Line,
    Role,
    Span,
    cut,
    cut_middle,
    filled,
    greyed,
    left,
    right,
    width_of,
    wrapped,
)
from citadel_tui.viewmodel.trouble import has_figures, health_role, health_text
from citadel_tui.words.figures import age_text, count_text
from engine.api import Snapshot
from engine.core.devices import Reading
from engine.core.planning.ram_tier import tier_slabs
from engine.core.sizes import mib
from engine.core.state import DeviceState, State

_BUSY_FROM: Final = 80
"""From this width on a row has room for how busy the device is."""
_GRAPHS: Final = ((200, 20), (150, 12), (100, 8))
"""From which width on its graph has how many cells."""
_TITLES: Final = ((200, 28), (150, 24), (110, 16))
"""The same of its title."""
_POWER_FROM: Final = 120
_SENSORS_FROM: Final = 200
"""From here on for all that a card tells of itself."""
_LABEL: Final = 6
_AGE: Final = 4
"""Cells of a usual age: a row is not laid out anew with each digit."""
_REASON_LINES: Final = 2
_NAMES_SHARE: Final = 2
"""The names beside the bars take at most half of the room."""


class _Row(NamedTuple):
    label: str
    head: tuple[str, ...]
    parts: Occupancy | None
    """What the bar is made of; None where there is no bar."""
    figures: tuple[str, ...]
    health: str = ""
    """Empty when all is well."""
    reason: str = ""
    role: Role = "text"


class _Columns(NamedTuple):
    """Cells of each part of a row, the same in all rows."""

    label: int
    head: tuple[int, ...]
    bar: int
    names: int
    figures: tuple[int, ...]


def device_rows(scene: Scene, paper: Paper, most: int, first: int | None = None) -> tuple[Line, ...]:
    """At most `most` lines, each as wide as the paper, their bars of one length.

    GPUs that there is no room for are one row together, or those out of the window that begins at the GPU `first` are. A
    device in trouble has up to two lines more, where they fit.
    """
    if scene.snapshot is None:
        return ()
    devices = tuple(
        replace(known, reading=scene.reading(device)) for device, known in scene.snapshot.state.devices.items()
    )
    shown, hidden = shown_devices(devices, most - 1, first)
    rows = [_device_row(known, scene, scene.snapshot, paper) for known in shown]
    if hidden:
        gpus = sum(known.spec.kind == "gpu" for known in shown)
        rows.insert(gpus, _folded_row(hidden, scene.snapshot, paper, first))
    rows.append(_tier_row(scene, scene.snapshot.state, paper))
    columns = _columns(rows, paper)
    lines: list[Line] = []
    spare = most - len(rows)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        lines.append(_line(row, columns, paper))
        # A broken driver gives all its cards the same reason, which stands once, under the last of them.
        if following is None or not _is_said_by(following, row):
            below = _below(row, columns, paper)[: max(spare, 0)]
            lines.extend(below)
            spare -= len(below)
    return tuple(paper.filled(line) for line in lines)


# ── which devices ─────────────────────────────────────────────────────────────────────────────────


def shown_devices(
    devices: Sequence[DeviceState], most: int, first: int | None = None
) -> tuple[list[DeviceState], list[DeviceState]]:
    """The devices that have a row of their own, in their order, and the GPUs that share one; together at most `most` rows.

    GPUs in trouble come first, then as they come; with `first`, those from that place on. The CPU is never among those that
    share a row: its memory is the host's.
    """
    if len(devices) <= most:
        return list(devices), []
    gpus = [known for known in devices if known.spec.kind == "gpu"]
    others = len(devices) - len(gpus)
    room = max(most - others - 1, 0)
    if first is None:
        chosen = sorted(gpus, key=lambda known: known.reading.health in ("ok", "starting"))[:room]
    else:
        chosen = gpus[max(min(first, len(gpus) - room), 0) :][:room]  # the last window is as full as the others
    names = {known.spec.id for known in chosen}
    rows = [known for known in devices if known.spec.id in names or known.spec.kind != "gpu"]
    return rows, [known for known in gpus if known.spec.id not in names]


def next_window(devices: Sequence[DeviceState], most: int, first: int) -> int | None:
    """Where the window begins after the one that begins at `first`; None when that was the last."""
    shown, _ = shown_devices(devices, most - 1, first)
    after = first + sum(known.spec.kind == "gpu" for known in shown)
    return after if first < after < sum(known.spec.kind == "gpu" for known in devices) else None


def _folded_row(hidden: Sequence[DeviceState], snapshot: Snapshot, paper: Paper, first: int | None) -> _Row:
    """All of `hidden` in words, the most telling first: what can't be seen must not be overlooked."""
    ill = sum(known.reading.health not in ("ok", "starting") for known in hidden)
    free = {
        known.spec.id: snapshot.budgets.get(known.spec.id, 0) - parts.charged_bytes
        for known in hidden
        if has_figures(known.reading)
        for parts in (occupancy(snapshot, known.spec.id),)
    }
    roomiest = max(free, key=free.__getitem__, default=None)
    models = sum(len(snapshot.state.on(known.spec.id)) for known in hidden)
    key = BY_ID["devices"].key_text
    told = (
        f"{paper.glyphs.no} {ill} not ok" if ill else "",
        f"{key} shows {'more' if first is None else 'the next'}",
        count_text(models, "model", "models") if models else "",
        f"most room on {roomiest}, {mib(max(free[roomiest], 0))} MiB" if roomiest else "",
        ", ".join(known.spec.id for known in hidden),
    )
    words = f" {paper.glyphs.bullet} ".join(filter(None, told))
    return _Row(f"+{len(hidden)}", (), None, (), words, role="bad" if ill else "dim")


# ── one device ────────────────────────────────────────────────────────────────────────────────────


def _device_row(known: DeviceState, scene: Scene, snapshot: Snapshot, paper: Paper) -> _Row:
    reading, parts = known.reading, None
    figures = no_figures(paper.glyphs)
    if has_figures(reading):
        parts = occupancy(snapshot, known.spec.id)
        figures = device_figures(parts, paper)
    row = _Row(known.spec.id, _head(known, scene, paper), parts, figures)
    if reading.health == "ok":
        return row
    health = health_text(reading, scene.now_s, scene.age_s(known.spec.id), paper.glyphs)
    return _Row(*row[:4], health, paper.text(reading.reason), health_role(reading))


def _tier_row(scene: Scene, state: State, paper: Paper) -> _Row:
    kept = f"{len(tier_slabs(state))}/{state.ram.max_models} kept"
    title = _title("RAM tier" if paper.width < SHARES_FROM else f"RAM tier, {kept}", paper)
    past = _past(scene.history.memory.get("ram", ()), state.ram.budget_bytes, paper)
    parts = tier_occupancy(state)
    return _Row("ram", (title, "", "", "", past), parts, tier_figures(parts, kept, paper.width))


def _head(known: DeviceState, scene: Scene, paper: Paper) -> tuple[str, ...]:
    """The title and what the device's sensors say, as far as it tells and there is room; that it is stale, and since
    when, instead."""
    reading = known.reading
    title = _title(known.spec.title, paper)
    if has_figures(reading) and reading.health != "ok":
        age_s = scene.age_s(known.spec.id)
        age = "" if age_s is None else f"{age_text(age_s):<{_AGE}}"
        health = "" if age and paper.width < _BUSY_FROM else f"{reading.health} "
        return (title, f"{paper.glyphs.no} {health}{age}")
    busy = scene.history.busy.get(known.spec.id)
    memory = scene.history.memory.get(known.spec.id, ())
    past = _past(memory, known.spec.total_bytes, paper) if busy is None else _past(busy, 100, paper)
    return (title, "", *_sensors(reading, paper), past, *_more_sensors(reading, paper))


def _title(title: str, paper: Paper) -> str:
    return cut_middle(paper.text(title), _cells(_TITLES, paper), paper.glyphs.ellipsis)


def _cells(by_width: Sequence[tuple[int, int]], paper: Paper) -> int:
    return next((cells for width, cells in by_width if paper.width >= width), 0)


def _sensors(reading: Reading, paper: Paper) -> tuple[str, str]:
    degrees, percent = reading.temperature_c, reading.utilization_percent
    return (
        "" if degrees is None else paper.text(f"{degrees}°C"),
        "" if percent is None or paper.width < _BUSY_FROM else f"{percent:>3}%",
    )


def _more_sensors(reading: Reading, paper: Paper) -> tuple[str, ...]:
    limit = "" if reading.power_limit_w is None else f"/{reading.power_limit_w:.0f}"
    power = "" if reading.power_w is None or paper.width < _POWER_FROM else f"{reading.power_w:>3.0f}{limit} W"
    if paper.width < _SENSORS_FROM:
        return (power,)
    fan, state, clocks = reading.fan_percent, reading.performance_state, reading.clocks_mhz
    return (
        power,
        "" if state is None else f"P{state}",
        "" if fan is None else f"fan {fan}%",
        "" if clocks is None else f"{clocks[0]} MHz",
    )


def _past(track: Sequence[int | None], whole: int, paper: Paper) -> str:
    """The last minutes, a cell for each bucket."""
    cells = _cells(_GRAPHS, paper)
    return graph(track, whole, replace(paper, width=cells), 1)[0] if cells else ""


# ── as lines ──────────────────────────────────────────────────────────────────────────────────────


def _columns(rows: Sequence[_Row], paper: Paper) -> _Columns:
    most_heads, most_figures = max(len(row.head) for row in rows), max(len(row.figures) for row in rows)
    head = tuple(max(width_of((Span(row.head[at]),)) for row in rows if at < len(row.head)) for at in range(most_heads))
    figures = tuple(max(len(row.figures[at]) for row in rows if at < len(row.figures)) for at in range(most_figures))
    label = max(_LABEL, *(len(row.label) + 2 for row in rows))
    room = max(paper.width - label - sum(size + 1 for size in (*head, *figures) if size) - 1, 0)
    names = min(max(_names_wanted(row, room, paper) for row in rows), room // _NAMES_SHARE)
    return _Columns(label, head, room - names, names, figures)


def _names_wanted(row: _Row, room: int, paper: Paper) -> int:
    """Cells for the names that a bar in the rest of the room has no room for."""
    if row.parts is None:
        return 0
    small = unnamed(row.parts, replace(paper, width=room - room // _NAMES_SHARE))
    return width_of((Span(names_text(small, replace(paper, width=paper.width))),)) + 1 if small else 0


def _line(row: _Row, columns: _Columns, paper: Paper) -> Line:
    name = Span(left(f" {row.label}", columns.label), "strong")
    if not row.head:
        return (name, Span(row.health, row.role))
    cells = (*row.head, *("" for _ in columns.head[len(row.head) :]))
    head = "".join(
        (left if at == 0 else right)(cell, size) + " "
        for at, (cell, size) in enumerate(zip(cells, columns.head, strict=True))
        if size
    )
    figures = "".join(" " + right(text, size) for text, size in zip(row.figures, columns.figures, strict=True) if size)
    told: Role = "dim" if row.health else "text"
    return (name, Span(head, "dim"), *_body(row, columns, paper), Span(figures + " ", told))


def _body(row: _Row, columns: _Columns, paper: Paper) -> Line:
    """The bar and the names beside it, or words in their place."""
    room = columns.bar + columns.names
    if row.parts is not None:
        on = replace(paper, width=columns.bar)
        names = names_text(unnamed(row.parts, on), replace(paper, width=max(columns.names - 1, 0)))
        beside = (Span(left(f" {names}", columns.names)),) if columns.names else ()
        drawn = (*bar(row.parts, on), *beside)
        return greyed(drawn) if row.health else drawn
    words = (Span(_sentence(row), row.role),)
    fits = width_of(words) <= room
    return filled(words if fits else (Span(row.health, row.role),), room, paper.glyphs.ellipsis)


def _is_said_by(following: _Row, row: _Row) -> bool:
    """Whether the next row's words are this one's, too. Only a driver that hangs makes cards stale, and then all of them."""
    if row.parts is not None and following.parts is not None:
        return bool(row.health and following.health)
    return row.parts is following.parts and row.reason == following.reason


def _below(row: _Row, columns: _Columns, paper: Paper) -> tuple[Line, ...]:
    """What the row itself has no room to say of its trouble, in two lines; cut short, it names the key of the device's page."""
    room = columns.bar + columns.names
    words = _sentence(row) if row.parts is not None else row.reason
    if not row.health or not words or (row.parts is None and width_of((Span(_sentence(row)),)) <= room):
        return ()
    inner = paper.width - columns.label - 1
    pieces = wrapped(words, inner)
    if len(pieces) > _REASON_LINES:
        more = paper.glyphs.ellipsis + _key_of_page(row.label)
        pieces = [
            *pieces[: _REASON_LINES - 1],
            cut(pieces[_REASON_LINES - 1], inner - width_of((Span(more),)), "") + more,
        ]
    return tuple((Span(" " * columns.label), Span(piece, row.role)) for piece in pieces)


def _key_of_page(device: str) -> str:
    return f" (key {device[-1]} shows all)" if device in DEVICE_IDS else ""


def _sentence(row: _Row) -> str:
    return f"{row.health}: {row.reason}" if row.reason else row.health
