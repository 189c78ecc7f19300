"""A small list to pick one way of a verb from: on which device."""

from __future__ import annotations

from citadel_tui.screens.picking import Picking
from citadel_tui.verbs import Choice
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.memory_map import occupancy
from citadel_tui.viewmodel.spans import Line, Span, left
from engine.api import Snapshot
from engine.core.commands import Command, Load, Move, singles_of
from engine.core.sizes import format_size


class Picker(Picking[Command]):
    """Ends with the command picked."""

    def __init__(self, title: str, choices: tuple[Choice, ...], snapshot: Snapshot, glyphs: Glyphs) -> None:
        rows = {choice.command: _line(choice, snapshot) for choice in choices}
        super().__init__(title, rows, glyphs, "dialog -narrow")


def _line(choice: Choice, snapshot: Snapshot) -> Line:
    first = singles_of(choice.command)[0]
    count = f", {choice.count} models" if choice.count > 1 else ""
    device = first.device if isinstance(first, Load | Move) else None
    if device is None or device not in snapshot.state.devices:
        return (Span("  "), Span(f"{choice.label}{count}"))
    parts = occupancy(snapshot, device)
    free = max(parts.budget_bytes - parts.charged_bytes, 0)
    room = f"{format_size(free)} free of {format_size(parts.budget_bytes)}"
    return (Span("  "), Span(left(choice.label, 7)), Span(room, "dim"), Span(count))
