"""What is seen of devices beside the table: their memory bars and the RAM tier's, other programs on the cards, and the graphs of
memory and switches over time, where there is room for them or where the operator wants them."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace
from textual import events
from textual.geometry import Size
from textual.message import Message

from citadel_tui.settings.settings import ConsoleSettings, Graphs
from citadel_tui.viewmodel.dashboard.device_rows import device_rows, next_window
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.history import TIER
from citadel_tui.viewmodel.over_time import panel_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.programs import programs_panel, programs_wants
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.scene_view import SceneView

_ALL: Final = 1_000_000


class DeviceBars(SceneView):
    """One row a device, as long as they fit; a key shows those that don't, as many at once as there is room for."""

    class Opened(Message):
        """A device's row, or that of the RAM tier, was double-clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._wanted = 0
        self._first: int | None = None
        """The GPU that the window begins with, when they are unfolded."""

    @property
    def wants(self) -> int:
        """The rows that all devices would fill, with the reasons of those in trouble."""
        return max(self._wanted, len(self.lines))

    @property
    def is_unfolded(self) -> bool:
        return self._first is not None

    def turn(self) -> bool:
        """Unfold the devices, go on to the next of them, or fold them again after the last. False when all are shown."""
        if self.scene is None or self.scene.snapshot is None or len(self.lines) >= self._wanted:
            return False
        devices = tuple(self.scene.snapshot.state.devices.values())
        self._first = 0 if self._first is None else next_window(devices, self.size.height, self._first)
        self.refresh(layout=True)
        self.paint()
        return True

    def fold(self) -> None:
        """As few rows as before."""
        self._first = None
        self.refresh(layout=True)
        self.paint()

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        whole = device_rows(scene, paper, _ALL)
        if len(whole) != self._wanted:
            self._wanted = len(whole)
            self.refresh(layout=True)
        if len(whole) <= self.size.height or not self.size.height:
            return whole
        return device_rows(scene, paper, self.size.height, self._first)

    def on_click(self, event: events.Click) -> None:
        row = self.index_at(event.y)
        name = self.lines[row][0].text.strip() if row < len(self.lines) else ""
        known = self.scene.snapshot.state.devices if self.scene and self.scene.snapshot else {}
        if event.chain == 2 and (name in known or name == TIER):
            self.post_message(self.Opened(name))


_PROGRAMS_FROM: Final = 160
_PROGRAMS_MOST: Final = 8


class OtherPrograms(SceneView):
    """What other programs hold on the cards, where the screen is wide enough to say it without a key."""

    @property
    def wants(self) -> int:
        """The rows that they would fill."""
        if self.scene is None or self.size.width < _PROGRAMS_FROM:
            return 0
        return min(programs_wants(self.scene), _PROGRAMS_MOST)

    def show_scene(self, scene: Scene) -> None:
        before = self.wants
        super().show_scene(scene)
        if self.wants != before:
            self.refresh(layout=True)

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        return programs_panel(scene, paper, self.size.height)


_FROM_WIDTH: Final = 120
_FROM_HEIGHT: Final = 34
_ROWS: Final = ((48, 6), (34, 3), (0, 2))
"""From how many rows of the screen on a graph has how many."""
_LEAST_ROWS: Final = 2
_HEAD_ROWS: Final = 2
"""The rule and the titles."""


class OverTime(SceneView):
    """Shown or hidden as a whole."""

    def __init__(self, glyphs: Glyphs, wanted: Graphs) -> None:
        super().__init__(glyphs)
        self._wanted = wanted
        self._screen = Size(0, 0)
        self._rows = 0
        self.display = False

    def as_left(self, settings: ConsoleSettings) -> ConsoleSettings:
        """`settings` with what the operator has chosen here."""
        return replace(settings, graphs=self._wanted)

    @property
    def wants(self) -> tuple[int, int]:
        """The fewest rows that are of use, and as many as there should be on this screen."""
        return (_LEAST_ROWS + _HEAD_ROWS, self._rows + _HEAD_ROWS) if self.display else (0, 0)

    def toggle(self) -> None:
        """Hide what is shown, show what is hidden."""
        self._wanted = "off" if self.display else "on"
        self.fit(self._screen)

    def fit(self, screen: Size) -> None:
        """See whether they are wanted, and whether there is room on a screen of this size."""
        self._screen = screen
        self._rows = next(rows for height, rows in _ROWS if screen.height >= height)
        roomy = screen.width >= _FROM_WIDTH and screen.height >= _FROM_HEIGHT
        self.display = self._wanted == "on" or (self._wanted == "auto" and roomy)
        self.paint()

    def work_out(self) -> None:
        if self.display:
            super().work_out()

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        return panel_lines(scene, paper, self.size.height - _HEAD_ROWS) if self.size.height else ()
