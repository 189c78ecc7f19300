"""The rows of all devices and of the RAM tier: what each is and how it is, its memory bar, and figures that the bar agrees with.

A device without figures has words in the bar's place, never an empty bar; one whose figures are old has them greyed. GPUs that
there is no room for are one row of words: sums over several would say nothing of any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from citadel_tui.actions import BY_ID
from citadel_tui.viewmodel.dashboard.bars import SHARES_FROM, device_figures, no_figures, tier_figures
from citadel_tui.viewmodel.dashboard.row_layout import Painted, Row, Rows, laid_out
from citadel_tui.viewmodel.graph import graph
from citadel_tui.viewmodel.history import TIER
from citadel_tui.viewmodel.memory_map import occupancy, tier_occupancy
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import cut_middle
from citadel_tui.viewmodel.trouble import has_figures, health_role, health_text
from citadel_tui.words.figures import age_text, count_text
from engine.api import Snapshot
from engine.core.devices import Reading
from engine.core.sizes import room_mib
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
_AGE: Final = 4
"""Cells of a usual age: a row is not laid out anew with each digit."""


def device_rows(
    scene: Scene, paper: Paper, most: int, first: int | None = None, painted: Painted | None = None
) -> Rows:
    """At most `most` lines, each as wide as the paper, their bars of one length.

    GPUs that there is no room for are one row together, or those out of the window that begins at the GPU `first` are. A
    device in trouble has up to two lines more, where they fit. `painted`: lines that were made before.
    """
    if scene.snapshot is None:
        return Rows((), ())
    devices = tuple(
        replace(known, reading=scene.reading(device)) for device, known in scene.snapshot.state.devices.items()
    )
    shown, hidden = shown_devices(devices, most - 1, first)
    rows = [device_row(known, scene, scene.snapshot, paper) for known in shown]
    if hidden:
        gpus = sum(known.spec.kind == "gpu" for known in shown)
        rows.insert(gpus, _folded_row(hidden, scene.snapshot, paper, first))
    rows.append(tier_row(scene, scene.snapshot.state, paper))
    return laid_out(rows, paper, most, {} if painted is None else painted)


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


def _folded_row(hidden: Sequence[DeviceState], snapshot: Snapshot, paper: Paper, first: int | None) -> Row:
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
        f"most room on {roomiest}, {room_mib(max(free[roomiest], 0))} MiB" if roomiest else "",
        ", ".join(known.spec.id for known in hidden),
    )
    words = f" {paper.glyphs.bullet} ".join(filter(None, told))
    return Row("", f"+{len(hidden)}", (), None, (), words, role="bad" if ill else "dim")


# ── one device ────────────────────────────────────────────────────────────────────────────────────


def device_row(known: DeviceState, scene: Scene, snapshot: Snapshot, paper: Paper) -> Row:
    """`known` has the reading that is to be shown."""
    reading, parts = known.reading, None
    figures = no_figures(paper.glyphs)
    if has_figures(reading):
        parts = occupancy(snapshot, known.spec.id)
        figures = device_figures(parts, paper)
    row = Row(known.spec.id, known.spec.id, _head(known, scene, paper), parts, figures)
    if reading.health == "ok":
        return row
    health = health_text(reading, scene.now_s, scene.age_s(known.spec.id), paper.glyphs)
    return Row(*row[:5], health, paper.text(reading.reason), health_role(reading))


def tier_row(scene: Scene, state: State, paper: Paper) -> Row:
    """In a fleet all boxes' tiers: a slab rests in one of them."""
    kept = f"{len(state.tier_slabs)}/{state.ram.max_models} kept"
    title = title_text("RAM tier" if paper.width < SHARES_FROM else f"RAM tier, {kept}", paper)
    past = _past(scene.history.memory.get("ram", ()), state.ram.budget_bytes, paper)
    parts = tier_occupancy(state)
    return Row(TIER, TIER, (title, "", "", "", past), parts, tier_figures(parts, kept, paper.width))


def _head(known: DeviceState, scene: Scene, paper: Paper) -> tuple[str, ...]:
    """The title and what the device's sensors say, as far as it tells and there is room; that it is stale, and since
    when, instead."""
    reading = known.reading
    title = title_text(known.spec.title, paper)
    if has_figures(reading) and reading.health != "ok":
        age_s = scene.age_s(known.spec.id)
        age = "" if age_s is None else f"{age_text(age_s):<{_AGE}}"
        health = "" if age and paper.width < _BUSY_FROM else f"{reading.health} "
        return (title, f"{paper.glyphs.no} {health}{age}")
    busy = scene.history.busy.get(known.spec.id)
    memory = scene.history.memory.get(known.spec.id, ())
    past = _past(memory, known.spec.total_bytes, paper) if busy is None else _past(busy, 100, paper)
    return (title, "", *_sensors(reading, paper), past, *_more_sensors(reading, paper))


def title_text(title: str, paper: Paper) -> str:
    """In as many cells as a screen of that width has for titles."""
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
