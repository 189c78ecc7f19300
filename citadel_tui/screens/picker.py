"""A small list to pick one thing from, in a dialog of its own; and the one that picks a way of a verb: on which device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from citadel_tui.screens.modal import Modal
from citadel_tui.verbs import WayChosen
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.memory_map import occupancy
from citadel_tui.viewmodel.spans import Line, Span, left
from citadel_tui.widgets.page import Page
from citadel_tui.widgets.rows import RowList
from engine.api import Snapshot
from engine.core.commands import Command, Load, Move, singles_of
from engine.core.names import DeviceId
from engine.core.sizes import format_room

_T = TypeVar("_T")


class Picking(Modal[_T]):
    """Ends with what was picked of `rows`, the first one chosen when it opens."""

    AUTO_FOCUS = "RowList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", show=False),
        Binding("enter", "take", show=False),
    ]

    def __init__(self, title: str, rows: Mapping[_T, Line], glyphs: Glyphs, width: str = "") -> None:
        super().__init__(glyphs)
        self._title = title
        self._rows = rows
        self._width = width
        self._list: RowList[_T] = RowList(glyphs)

    def compose(self) -> ComposeResult:
        with Vertical(classes=f"{self.look} {self._width}"):
            yield Page(lambda _: [(Span(self._title, "title"),)], self._glyphs, classes="title")
            yield self._list
            yield Page(lambda _: [(Span("enter picks, esc goes back", "dim"),)], self._glyphs, classes="choices")

    def on_mount(self) -> None:
        self._list.show_rows((), dict(self._rows))

    def on_row_list_opened(self) -> None:
        self.action_take()

    def action_take(self) -> None:
        self.dismiss(self._list.cursor)


class Picker(Picking[Command]):
    """Ends with the command picked."""

    def __init__(self, title: str, choices: tuple[WayChosen, ...], snapshot: Snapshot, glyphs: Glyphs) -> None:
        width = max(7, *(len(choice.label) + 1 for choice in choices if _device(choice) is not None), 0)
        rows = {choice.command: _line(choice, snapshot, width) for choice in choices}
        super().__init__(title, rows, glyphs, "-narrow")


class DevicePicker(Picking[DeviceId]):
    """Ends with the device picked."""

    def __init__(self, title: str, devices: Sequence[DeviceId], snapshot: Snapshot, glyphs: Glyphs) -> None:
        width = max(map(len, devices)) + 1
        super().__init__(title, {name: _room(name, width, snapshot) for name in devices}, glyphs, "-narrow")


def _device(choice: WayChosen) -> DeviceId | None:
    """Whose room is told."""
    first = singles_of(choice.command)[0]
    return first.device if isinstance(first, Load | Move) else None


def _line(choice: WayChosen, snapshot: Snapshot, width: int) -> Line:
    count = f", {choice.count} models" if choice.count > 1 else ""
    device = _device(choice)
    if device is None or device not in snapshot.state.devices:
        return (Span("  "), Span(f"{choice.label}{count}"))
    return (*_room(device, width, snapshot, choice.label), Span(count))


def _room(device: DeviceId, width: int, snapshot: Snapshot, label: str = "") -> Line:
    parts = occupancy(snapshot, device)
    free = max(parts.budget_bytes - parts.charged_bytes, 0)
    room = f"{format_room(free)} free of a budget of {format_room(parts.budget_bytes)}"
    return (Span("  "), Span(left(label or device, width)), Span(room, "dim"))
