"""One device in full: what it is and how it is, its budget line by line, what is in use of it, and who else is there."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.memory_map import occupancy, sum_of
from citadel_tui.viewmodel.over_time import memory_lines, sensor_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.programs import program_lines, programs
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, right
from citadel_tui.viewmodel.trouble import has_figures, health_role, health_text
from citadel_tui.words.boxes import standing_words
from engine.api import Snapshot
from engine.core.devices import DeviceSpec, Reading
from engine.core.names import DeviceId, box_of
from engine.core.sizes import format_size, mib, room_mib
from engine.core.state import DeviceState, Resident

_BUDGET_SIZE: Final = 7
_BEFORE_WORDS: Final = 12
_LABEL: Final = 11


def device_lines(scene: Scene, device: DeviceId, paper: Paper) -> tuple[Line, ...]:
    """The page of `device`; one line when the engine has no such device."""
    known = scene.snapshot.state.devices.get(device) if scene.snapshot else None
    if scene.snapshot is None or known is None:
        return fact("device", f"the engine has no {device}", paper.width, _LABEL, "bad")
    return (
        *_facts(replace(known, reading=scene.reading(device)), scene, paper),
        *section("Budget, in MiB", budget_lines(scene.snapshot, device, paper)),
        *section("In use, in MiB", use_lines(scene.snapshot, device, paper)),
        *memory_lines(scene, device, paper),
        *sensor_lines(scene, device, paper),
        *section("Other programs on the card", _neighbours(known, scene.now_s, paper)),
    )


def _facts(known: DeviceState, scene: Scene, paper: Paper) -> tuple[Line, ...]:
    facts: dict[str, tuple[str, Role]] = {
        "box": _box(known.spec.id, scene),
        "what it is": (f"{known.spec.title}, {_backing(known.spec)}", "text"),
        "card": (_card(known.spec), "text"),
        "health": (_health(known, scene, paper.glyphs), health_role(known.reading)),
        "sensors": (_sensors(known.reading) if known.spec.on_card else "", "text"),
        "driver": (known.reading.driver, "text"),
        "worker": (f"process {known.worker_pid}" if known.worker_pid else "none is up", "text"),
        "copies": (_copies(known), "text"),
    }
    return tuple(
        line
        for name, (value, role) in facts.items()
        if value
        for line in fact(name, paper.text(value), paper.width, _LABEL, role)
    )


def _box(device: DeviceId, scene: Scene) -> tuple[str, Role]:
    """Whose it is in a fleet, and how that stands; empty where there is only one."""
    name = box_of(device)
    view = scene.snapshot.boxes.get(name) if scene.snapshot else None
    if view is None:
        return name, "text"
    host = f", {view.host}" if view.host not in ("", name) else ""
    words = standing_words(view, scene.now_s)
    return f"{name}{host}" + (f": {words}" if words else ""), "text" if view.standing == "ready" else "bad"


def _backing(spec: DeviceSpec) -> str:
    match spec.backing:
        case "ram":
            return "a slice of the host's memory"
        case "host":
            return "the host's own memory"
        case card:
            return f"on the card {card}"


def _card(spec: DeviceSpec) -> str:
    """What it is known by, whatever its number; empty in host RAM."""
    return ", ".join(filter(None, (spec.uuid, spec.bus_id and f"PCI bus {spec.bus_id}")))


def _health(known: DeviceState, scene: Scene, glyphs: Glyphs) -> str:
    reading = known.reading
    old = "; the figures below are the last that it gave" if reading.health == "stale" and has_figures(reading) else ""
    why = f": {reading.reason}" if reading.reason else ""
    return f"{health_text(reading, scene.now_s, scene.age_s(known.spec.id), glyphs)}{old}{why}"


def _sensors(reading: Reading) -> str:
    """Those that the card has, in words."""
    limit = "" if reading.power_limit_w is None else f" of at most {reading.power_limit_w:.0f}"
    clocks = reading.clocks_mhz
    told = (
        "" if reading.temperature_c is None else f"{reading.temperature_c} °C",
        "" if reading.utilization_percent is None else f"{reading.utilization_percent} % busy",
        "" if reading.power_w is None else f"{reading.power_w:.0f}{limit} W",
        "" if clocks is None else f"clocks {clocks[0]} MHz, of its memory {clocks[1]} MHz",
        "" if reading.fan_percent is None else f"fan at {reading.fan_percent} %",
        "" if reading.performance_state is None else f"P-state {reading.performance_state}",
    )
    return ", ".join(filter(None, told)) or "not known"


def _copies(known: DeviceState) -> str:
    if known.copy_bytes_per_s is None:
        return "not measured yet"
    return f"{format_size(int(known.copy_bytes_per_s))}/s measured, the fastest so far"


def _neighbours(known: DeviceState, now_s: float, paper: Paper) -> tuple[Line, ...]:
    """Largest first. The card's whole list, also for a slice of it."""
    if not known.spec.on_card or not has_figures(known.reading):
        return ()
    if not known.reading.neighbours:
        return sentences(("the driver shows none; what a container hides, it can't show",), paper, "dim")
    return program_lines(programs((known,)), now_s, paper, with_device=False)


# ── sums that can be checked by hand ──────────────────────────────────────────────────────────────


class _Row(NamedTuple):
    sign: str
    size_mib: int | None
    words: str
    role: Role = "text"


def budget_lines(snapshot: Snapshot, device: DeviceId, paper: Paper) -> tuple[Line, ...]:
    """total - others - context = left; the budget, which the fraction limits too; budget - charged = free."""
    known = has_figures(snapshot.state.devices[device].reading)
    rows = [*_budget(snapshot, device), *_charges(snapshot, device)] if known else _unknown(snapshot, device)
    return tuple(_line(row, paper) for row in rows)


def use_lines(snapshot: Snapshot, device: DeviceId, paper: Paper) -> tuple[Line, ...]:
    """charged - unused + context + others = what the device reports; nothing where it reports nothing."""
    if not has_figures(snapshot.state.devices[device].reading):
        return ()
    sums = sum_of(occupancy(snapshot, device))
    rows = (
        _Row("", sums.charged, "charged for models"),
        _Row("-", sums.unused, f"{paper.glyphs.workspace} not in use: workspace, yet to come, rounding"),
        _Row("+", sums.context, f"{paper.glyphs.context} the worker's own"),
        _Row("+", sums.external, f"{paper.glyphs.external} held by others"),
        _Row("=", sums.used, "in use, as the device reports", "strong"),
    )
    return tuple(_line(row, paper) for row in rows)


def _budget(snapshot: Snapshot, device: DeviceId) -> list[_Row]:
    known = snapshot.state.devices[device]
    total, fraction = known.spec.total_bytes, known.spec.fraction
    external, context = known.reading.external_bytes or 0, known.context_bytes
    return [
        _Row("", room_mib(total), "total"),
        *_less(total, [(external, "held by others"), (context, "the worker's CUDA context")]),
        _Row("=", room_mib(max(total - external - context, 0)), "left for models", "strong"),
        _Row("", room_mib(int(total * fraction)), f"{fraction:.0%} of the total may be filled"),
        _Row("=", room_mib(snapshot.budgets.get(device, 0)), "budget, the smaller of the two", "strong"),
    ]


def _charges(snapshot: Snapshot, device: DeviceId) -> list[_Row]:
    budget = snapshot.budgets.get(device, 0)
    residents = snapshot.state.on(device)
    charges = [(r.footprint.total_bytes, _named(r)) for r in residents if r.stage != "pending"]
    charges.append((snapshot.state.devices[device].leaked_bytes, "leaked when a model left"))
    free = budget - sum(size for size, _ in charges)
    waiting = [_Row("", _size(r), f"{_named(r)}: waits for room", "warn") for r in residents if r.stage == "pending"]
    over = _Row("=", room_mib(free), "over the budget: nothing is loaded here before that has left", "warn")
    left = _Row("=", room_mib(free), "free", "strong") if free >= 0 else over
    return [*_less(budget, charges), left, *waiting]


def _unknown(snapshot: Snapshot, device: DeviceId) -> list[_Row]:
    """Of a device that tells nothing: what it had, and who is on it."""
    return [
        _Row("", room_mib(snapshot.state.devices[device].spec.total_bytes), "total"),
        _Row("-", None, "held by others: not known"),
        _Row("=", None, "budget: not known either", "strong"),
        *(_Row("", _size(r), f"{_named(r)} when last heard of") for r in snapshot.state.on(device)),
    ]


def _less(start: int, taken: list[tuple[int, str]]) -> list[_Row]:
    """A row for each size that is taken away from `start`, and one for what rounding them took too much."""
    rows = [_Row("-", mib(size), words) for size, words in taken if size]
    left = room_mib(start - sum(size for size, _ in taken))
    rounding = left - room_mib(start) + sum(mib(size) for size, _ in taken)
    return [*rows, _Row("+", rounding, "what rounding to whole MiB took", "dim")] if rounding else rows


def _line(row: _Row, paper: Paper) -> Line:
    figure = paper.glyphs.nothing if row.size_mib is None else str(row.size_mib)
    words = cut(paper.text(row.words), paper.width - _BEFORE_WORDS, paper.glyphs.ellipsis)
    return (Span(f" {row.sign:1} ", "dim"), Span(right(figure, _BUDGET_SIZE), row.role), Span(f"  {words}", row.role))


def _size(resident: Resident) -> int:
    return mib(resident.footprint.total_bytes)


def _named(resident: Resident) -> str:
    return f"{resident.model}, {resident.stage}"
