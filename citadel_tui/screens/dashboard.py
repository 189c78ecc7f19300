"""The dashboard: bars, table and log, and what each key does here."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message as TextualMessage
from textual.screen import Screen
from textual.widgets import Input

from citadel_tui.actions import ACTIONS, BY_ID, Action
from citadel_tui.flow import Message
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.table import MOVING_WIDTH
from citadel_tui.widgets.bars import DeviceBars
from citadel_tui.widgets.footer import FooterKeys
from citadel_tui.widgets.header import HeaderLine
from citadel_tui.widgets.log import SwitchLog
from citadel_tui.widgets.rows import RowList
from citadel_tui.widgets.seam import Seam
from citadel_tui.widgets.status import StatusLine
from citadel_tui.widgets.table import ModelTable
from engine.core.names import DeviceId
from engine.core.records import Record

_KEYS: Final = {"palette": "colon,ctrl+p"}
"""Keys beside the registry's: docker swallows ctrl+p, so that it can't be the only one."""
_OTHERS: Final = ("other", "device")
"""Actions that are bound in another way: tab by Textual itself, a device's by its digit."""


class Dashboard(Screen[None]):
    """Shows the scene; hands verbs to the app."""

    AUTO_FOCUS = "ModelTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(_KEYS.get(a.id, a.key), f"act({a.id!r})", a.verb, id=a.id) for a in ACTIONS if a.id not in _OTHERS),
        *(Binding(digit, f"device('gpu{digit}')", BY_ID["device"].verb) for digit in "0123456789"),
    ]

    class Asked(TextualMessage):
        """A key was pressed whose action is not the dashboard's own."""

        def __init__(self, action: Action, model: str | None, record: Record | None) -> None:
            super().__init__()
            self.action = action
            self.model = model
            self.record = record
            """The log line under the cursor, when the log has the keys."""

    class DeviceWanted(TextualMessage):
        """The digit of a GPU was pressed."""

        def __init__(self, device: DeviceId) -> None:
            super().__init__()
            self.device = device

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._header = HeaderLine(glyphs)
        self._bars = DeviceBars(glyphs)
        self._table = ModelTable(glyphs)
        self._log = SwitchLog(glyphs)
        self._find = Input(id="find", placeholder="part of a model's name", restrict=r"[A-Za-z0-9._-]*", compact=True)
        self._status = StatusLine(glyphs)
        self._footer = FooterKeys(glyphs)

    def compose(self) -> ComposeResult:
        self._find.cursor_blink = False
        yield Seam(MOVING_WIDTH)
        yield from (self._header, self._bars, self._table, self._log, self._find, self._status, self._footer)

    @property
    def model(self) -> str | None:
        """The model that keys act on."""
        return self._table.cursor

    def show_scene(self, scene: Scene) -> None:
        for view in (self._header, self._bars, self._table, self._log, self._status, self._footer):
            view.show_scene(scene)

    def say(self, message: Message) -> None:
        """Show a line until it has been seen."""
        self._status.say(message)

    def on_row_list_moved(self, message: RowList.Moved) -> None:
        if message.control is self._table:
            self._status.select(self.model)
            self._footer.select(self.model)

    def action_act(self, id: str) -> None:
        """Do what the key of the action `id` stands for; what is not the dashboard's own goes to the app."""
        match id:
            case "find":
                self.add_class("-finding")
                self._find.focus()
            case "sort":
                self._table.sort_next()
            case "back":
                self._back()
            case _:
                self.post_message(self.Asked(BY_ID[id], self.model, self._log.record if self._log.has_focus else None))

    def action_device(self, device: DeviceId) -> None:
        self.post_message(self.DeviceWanted(device))

    def on_input_changed(self, message: Input.Changed) -> None:
        self._table.find(message.value)

    def on_input_submitted(self) -> None:
        self._close_find()

    def _close_find(self) -> None:
        self._table.focus()
        self.remove_class("-finding")

    def _back(self) -> None:
        """Out of the innermost thing that is open; with nothing open, the load under way is taken back."""
        if self._find.has_focus:
            self._find.value = ""
            self._close_find()
        elif self._status.message is not None:
            self._status.say(None)
        elif self._table.wanted:
            self._find.value = ""
        else:
            self.post_message(self.Asked(BY_ID["back"], self.model, None))
