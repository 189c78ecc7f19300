"""The dashboard: bars, graphs, table and log, and what each key does here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message as TextualMessage
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from citadel_tui.actions import ACTIONS, BY_ID, DEVICE_IDS, Action, Registry
from citadel_tui.flow import StatusMessage
from citadel_tui.settings.settings import ConsoleSettings
from citadel_tui.verbs import Models
from citadel_tui.viewmodel.dashboard.row_budget import Part, Wants, shared_rows
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.widgets.bars import DeviceBars, OtherPrograms, OverTime
from citadel_tui.widgets.lines import LINE_CLASSES, LineView
from citadel_tui.widgets.lists import ModelTable, SwitchLog
from citadel_tui.widgets.rows import RowList
from citadel_tui.widgets.strips import AlertLine, FooterKeys, HeaderLine, StatusLine, Welcome
from citadel_tui.widgets.timeline import TimelinePanel
from citadel_tui.widgets.too_small import TooSmall
from citadel_tui.words.alerts import Alert
from engine.core.names import DeviceId
from engine.core.records import Record

KEYS_BESIDE: Final = {"palette": "ctrl+p", "copy": "ctrl+y"}
"""Keys beside the registry's: docker swallows ctrl+p, so that it can't be the only one; in a question y means yes."""
_OTHERS: Final = ("other", "device")
"""Actions that are bound in another way: tab by Textual itself, a device's by its digit."""


def keys_of(action: Action) -> str:
    """All keys of the action, as Textual takes them."""
    return ",".join(filter(None, (action.key, KEYS_BESIDE.get(action.id, ""))))


class SharedRows(Layout):
    """One view beneath the other: those with lists share the rows that are left by those which say only what they must."""

    name = "shared-rows"

    def __init__(self, wants: Callable[[], Wants], parts: Mapping[Part, LineView]) -> None:
        super().__init__()
        self._wants: Final = wants
        self._parts: Final = parts

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        fixed = {child: self._must(child) for child in children if child not in self._parts.values()}
        given = shared_rows(size.height - sum(fixed.values()), self._wants(), size.height // 2)
        rows = fixed | {view: given[part] for part, view in self._parts.items()}
        placed: ArrangeResult = []
        top = 0
        for child in children:
            region = Region(0, top, size.width, rows[child])
            placed.append(WidgetPlacement(region, NULL_OFFSET, NULL_SPACING, child))
            top += rows[child]
        return placed

    def _must(self, child: Widget) -> int:
        return max(len(child.lines), 1) if isinstance(child, LineView) else 1


class Dashboard(Screen[None]):
    """Shows the scene; hands to the app what it can't do itself."""

    AUTO_FOCUS = "ModelTable"
    COMPONENT_CLASSES: ClassVar[set[str]] = LINE_CLASSES
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(keys_of(a), f"act({a.id!r})", a.word, id=a.id) for a in ACTIONS if a.id not in _OTHERS),
        *(Binding(device[-1], f"device({device!r})", BY_ID["device"].word) for device in DEVICE_IDS),
    ]

    class Asked(TextualMessage):
        """Something is to be done that is not the dashboard's own."""

        def __init__(self, action: Action, models: Models, record: Record | None = None) -> None:
            super().__init__()
            self.action = action
            self.models = models
            self.record = record
            """The log line under the cursor, when the log has the keys."""

    class DeviceWanted(TextualMessage):
        """The page of a device, or of the RAM tier, is to open."""

        def __init__(self, device: DeviceId) -> None:
            super().__init__()
            self.device = device

    def __init__(self, glyphs: Glyphs, actions: Registry, settings: ConsoleSettings, *, first: bool = False) -> None:
        super().__init__()
        self._welcome = Welcome(glyphs, actions, wanted=first)
        self._header = HeaderLine(glyphs)
        self._bars = DeviceBars(glyphs)
        self._programs = OtherPrograms(glyphs)
        self._graphs = OverTime(glyphs, settings.graphs)
        self._table = ModelTable(glyphs, settings.sorting, settings.wanted)
        self._log = SwitchLog(glyphs)
        self._timeline = TimelinePanel(glyphs, next(a.key_text for a in actions if a.id == "timeline"))
        self._find = Input(
            id="find",
            placeholder="parts of names, state:ready on:gpu0 pin:",
            restrict=r"[A-Za-z0-9._:/ -]*",
            compact=True,
        )
        self._alerts = AlertLine(glyphs, next(a.key_text for a in actions if a.id == "alerts"))
        self._status = StatusLine(glyphs)
        self._footer = FooterKeys(glyphs, actions)
        self._too_small = TooSmall(glyphs)
        self._offer: StatusMessage | None = None
        self._resumed = asyncio.Event()
        self._shared = SharedRows(
            self._wants,
            {
                "devices": self._bars,
                "programs": self._programs,
                "models": self._table,
                "log": self._log,
                "lower": self._graphs,
                "timeline": self._timeline,
            },
        )

    def compose(self) -> ComposeResult:
        self._find.cursor_blink = False
        yield from (self._header, self._bars, self._programs, self._table, self._log, self._graphs, self._timeline)
        yield from (self._welcome, self._find, self._status, self._alerts, self._footer, self._too_small)

    @property
    def layout(self) -> Layout:
        return self._shared

    def _wants(self) -> Wants:
        """What the views with lists would fill now."""
        lower_least, lower = self._graphs.wants
        return Wants(
            devices=self._bars.wants,
            models=len(self._table.lines),
            log=len(self._log.lines),
            programs=self._programs.wants,
            lower=lower,
            lower_least=lower_least,
            timeline=self._timeline.wants,
            unfolded=self._bars.is_unfolded,
        )

    @property
    def models(self) -> Models:
        """The models that keys act on."""
        return self._table.selection

    @property
    def offers(self) -> bool:
        """Whether escape does what was offered, as the line still says."""
        return self._offer is not None and self._status.message is self._offer

    @property
    def welcomed(self) -> bool:
        """Whether somebody was told how to begin."""
        return self._welcome.was_shown

    def read_alerts(self) -> tuple[Alert, ...]:
        """All alerts there are; they count as seen from now on."""
        self._alerts.see()
        return self._alerts.alerts

    def as_left(self, settings: ConsoleSettings) -> ConsoleSettings:
        """`settings` with what the operator has changed here."""
        return self._graphs.as_left(self._table.as_left(settings))

    def show_scene(self, scene: Scene) -> None:
        views = (
            self._header,
            self._bars,
            self._programs,
            self._graphs,
            self._table,
            self._log,
            self._timeline,
            self._welcome,
            self._status,
            self._footer,
            self._alerts,
        )
        for view in views:
            view.show_scene(scene)

    def show_clock(self, scene: Scene) -> None:
        """Show the time alone; whatever else there is was shown within the last second."""
        self._header.show_scene(scene)

    def say(self, message: StatusMessage) -> None:
        """Show a line until it has been seen."""
        self._status.say(message)

    def offer(self, message: StatusMessage) -> None:
        """Show what escape will do now; any other key lets it be."""
        self._offer = message
        self._status.say(message)

    async def until_on_top(self) -> None:
        """Until nothing lies over the dashboard."""
        while self.app.screen is not self:
            await self._resumed.wait()
            self._resumed.clear()

    def on_screen_resume(self) -> None:
        self._resumed.set()

    @property
    def said(self) -> StatusMessage | None:
        """What is being said."""
        return self._status.message

    def asking(self, what: str) -> AbstractContextManager[None]:
        """Inside, the operator sees that the engine was asked for `what`."""
        return self._status.asking(what)

    def on_mount(self) -> None:
        self._find.value = self._table.wanted

    def on_resize(self, event: events.Resize) -> None:
        self._graphs.fit(event.size)
        self._timeline.fit(event.size)

    # ── what widgets tell ────────────────────────────────────────────────────────────────────────

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        if message.control is self._table:
            self._status.select(self._table.cursor)
            self._footer.select(self.models)

    def on_row_list_opened(self) -> None:
        self.action_act("details")

    def on_footer_keys_clicked(self, message: FooterKeys.Clicked) -> None:
        self.action_act("palette" if message.action.id == "device" else message.action.id)

    def on_device_bars_opened(self, message: DeviceBars.Opened) -> None:
        self.post_message(self.DeviceWanted(message.name))

    def on_input_changed(self, message: Input.Changed) -> None:
        self._table.find(message.value)

    def on_input_submitted(self) -> None:
        self._close_find()

    # ── what keys do ─────────────────────────────────────────────────────────────────────────────

    def action_act(self, id: str) -> None:
        """Do what the key of the action `id` stands for; what is not the dashboard's own goes to the app."""
        self._welcome.end()
        if id != "back":
            self._status.say(None)  # what was said of an earlier key is no answer to this one
        match id:
            case "find":
                self.add_class("-finding")
                self._find.focus()
            case "sort":
                self._table.sort_next()
            case "order":
                self._table.turn_order()
            case "mark":
                self._table.toggle_mark()
            case "graphs":
                self._graphs.toggle()
            case "devices":
                if not self._bars.turn():
                    self.say(StatusMessage("every device has a row of its own", "dim"))
            case "other":
                (self._table if self._log.has_focus else self._log).focus()
            case "back":
                self._back()
            case "details":
                self.post_message(self.Asked(BY_ID[id], self._table.under_cursor, self._record))
            case "copy" | "command":
                self.post_message(self.Asked(BY_ID[id], self.models, self._record))
            case _:
                self.post_message(self.Asked(BY_ID[id], self.models))

    def action_device(self, device: DeviceId) -> None:
        self._welcome.end()
        self._status.say(None)
        self.post_message(self.DeviceWanted(device))

    @property
    def _record(self) -> Record | None:
        """The log line under the cursor, when the log has the keys."""
        return self._log.record if self._log.has_focus else None

    def _close_find(self) -> None:
        self._table.focus()
        self.remove_class("-finding")

    def _back(self) -> None:
        """Out of the innermost thing that is open; with nothing open, the load under way is to be taken back."""
        if self._find.has_focus:
            self._find.value = ""
            self._close_find()
        elif self._status.message is not None and not self.offers:
            self._status.say(None)
        elif self._table.wanted:
            self._find.value = ""
        elif self._table.marked:
            self._table.unmark()
        elif self._bars.is_unfolded:
            self._bars.fold()
        else:
            self.post_message(self.Asked(BY_ID["back"], self._table.under_cursor))
