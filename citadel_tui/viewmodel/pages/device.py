"""One device in full: what it is and how it is, its budget line by line, what is in use of it, and who else is there."""

from __future__ import annotations

from typing import Final

from citadel_tui.viewmodel.budget_lines import budget_lines, use_lines
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.over_time import memory_lines
from citadel_tui.viewmodel.prose import fact, section, sentences
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Role, Span, left, right
from citadel_tui.viewmodel.trouble import has_figures, health_role, health_text
from engine.core.devices import DeviceSpec, Neighbour, Reading
from engine.core.names import DeviceId
from engine.core.sizes import format_size, mib
from engine.core.state import DeviceState

_LABEL: Final = 11
_PID: Final = 8
_SIZE: Final = 7


def device_lines(scene: Scene, device: DeviceId, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """The page of `device`; one line when the engine has no such device."""
    known = scene.snapshot.state.devices.get(device) if scene.snapshot else None
    if scene.snapshot is None or known is None:
        return fact("device", f"the engine has no {device}", width, _LABEL, "bad")
    return (
        *_facts(known, scene.now_s, width, glyphs),
        *section("Budget, in MiB", budget_lines(scene.snapshot, device, width, glyphs)),
        *section("In use, in MiB", use_lines(scene.snapshot, device, width, glyphs)),
        *memory_lines(scene, device, width, glyphs),
        *section("Other programs on the card", _neighbours(known, width, glyphs)),
    )


def _facts(known: DeviceState, now_s: float, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    facts: dict[str, tuple[str, Role]] = {
        "what it is": (f"{known.spec.title}, {_backing(known.spec)}", "text"),
        "health": (_health(known, now_s, glyphs), health_role(known.reading)),
        "sensors": (_sensors(known.reading) if known.spec.on_card else "", "text"),
        "worker": (f"process {known.worker_pid}" if known.worker_pid else "none is up", "text"),
        "copies": (_copies(known), "text"),
    }
    return tuple(
        line
        for name, (value, role) in facts.items()
        if value
        for line in fact(name, glyphs.text(value), width, _LABEL, role)
    )


def _backing(spec: DeviceSpec) -> str:
    match spec.backing:
        case "ram":
            return "a slice of the host's memory"
        case "host":
            return "the host's own memory"
        case card:
            return f"on the card {card}"


def _health(known: DeviceState, now_s: float, glyphs: Glyphs) -> str:
    reading = known.reading
    old = "; the figures below are the last that it gave" if reading.health == "stale" and has_figures(reading) else ""
    why = f": {reading.reason}" if reading.reason else ""
    return f"{health_text(reading, now_s, glyphs)}{old}{why}"


def _sensors(reading: Reading) -> str:
    told: list[str] = []
    if reading.temperature_c is not None:
        told.append(f"{reading.temperature_c} °C")
    if reading.utilization_percent is not None:
        told.append(f"{reading.utilization_percent} % busy")
    return ", ".join(told) or "not known"


def _copies(known: DeviceState) -> str:
    if known.copy_bytes_per_s is None:
        return "not measured yet"
    return f"{format_size(int(known.copy_bytes_per_s))}/s measured, the fastest so far"


def _neighbours(known: DeviceState, width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    """Largest first. The card's whole list, also for a slice of it."""
    if not known.spec.on_card or not has_figures(known.reading):
        return ()
    if not known.reading.neighbours:
        return sentences(("the driver shows none; what a container hides, it can't show",), width, glyphs, "dim")
    by_size = sorted(known.reading.neighbours, key=lambda n: (-(n.used_bytes or 0), n.pid))
    return tuple(_neighbour(neighbour, glyphs) for neighbour in by_size)


def _neighbour(neighbour: Neighbour, glyphs: Glyphs) -> Line:
    size = glyphs.nothing if neighbour.used_bytes is None else str(mib(neighbour.used_bytes))
    name = glyphs.text(neighbour.name) or "its name can't be seen"
    return (
        Span(f"   {right(size, _SIZE)}  "),
        Span(f"process {left(str(neighbour.pid), _PID)} "),
        Span(name, "strong"),
    )
