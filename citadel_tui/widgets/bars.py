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
from citadel_tui.viewmodel.dashboard.fleet_rows import Fleet, fleet_rows
from citadel_tui.viewmodel.dashboard.row_layout import Painted, Rows
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.history import TIER
from citadel_tui.viewmodel.over_time import panel_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.programs import Program, programs, programs_panel, programs_wants
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.scene_view import SceneView
from engine.api import Snapshot

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
        self._hides = False
        self._first: int | None = None
        """The GPU that the window begins with, when they are unfolded; in a fleet the row."""
        self._ids: tuple[str, ...] = ()
        """Of what each line tells."""
        self._painted: Painted = {}
        self._fleet: Fleet | None = None
        """Of the newest snapshot."""

    @property
    def wants(self) -> int:
        """The rows that all devices would fill, with the reasons of those in trouble."""
        return self._wanted

    @property
    def is_unfolded(self) -> bool:
        return self._first is not None

    def turn(self) -> bool:
        """Unfold the devices, go on to the next of them, or fold them again after the last. False when all are shown."""
        if self.scene is None or self.scene.snapshot is None or not self._hides:
            return False
        self._unfold(0 if self._first is None else self._next(self.scene.snapshot, self._first))
        return True

    def _next(self, snapshot: Snapshot, first: int) -> int | None:
        if snapshot.boxes:
            return self._fleet_of(snapshot).next_window(self.size.height, first)
        return next_window(tuple(snapshot.state.devices.values()), self.size.height, first)

    def fold(self) -> None:
        """As few rows as before."""
        self._unfold(None)

    def _unfold(self, first: int | None) -> None:
        self._first = first
        self.refresh(layout=True)
        self.paint()

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        snapshot = scene.snapshot
        rows = self._of_fleet(scene, snapshot, paper) if snapshot and snapshot.boxes else self._of_one_box(scene, paper)
        self._ids = rows.ids
        return rows.lines

    def _of_one_box(self, scene: Scene, paper: Paper) -> Rows:
        whole = device_rows(scene, paper, _ALL, None, self._painted)
        self._want(len(whole.lines))
        self._hides = 0 < self.size.height < len(whole.lines)
        return device_rows(scene, paper, self.size.height, self._first, self._painted) if self._hides else whole

    def _of_fleet(self, scene: Scene, snapshot: Snapshot, paper: Paper) -> Rows:
        fleet = self._fleet_of(snapshot)
        self._want(fleet.wants(_ALL if self.is_unfolded else self.app.size.height // 2))
        most = self.size.height or self._wanted
        self._hides = most < fleet.height
        return fleet_rows(scene, fleet, paper, most, self._first, self._painted)

    def _fleet_of(self, snapshot: Snapshot) -> Fleet:
        if self._fleet is None or self._fleet.snapshot is not snapshot:
            self._fleet = Fleet(snapshot)
        return self._fleet

    def _want(self, rows: int) -> None:
        if rows != self._wanted:
            self._wanted = rows
            self.refresh(layout=True)

    def on_click(self, event: events.Click) -> None:
        row = self.index_at(event.y)
        name = self._ids[row] if row < len(self._ids) else ""
        snapshot = self.scene.snapshot if self.scene else None
        if event.chain != 2 or snapshot is None:
            return
        if name in snapshot.boxes:
            self._unfold(self._fleet_of(snapshot).first_of(name) if self._hides else None)
        elif name in snapshot.state.devices or name == TIER:
            self.post_message(self.Opened(name))


_PROGRAMS_FROM: Final = 160
_PROGRAMS_MOST: Final = 8


class OtherPrograms(SceneView):
    """What other programs hold on the cards, where the screen is wide enough to say it without a key."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._found: list[Program] = []
        """In the newest scene."""

    @property
    def wants(self) -> int:
        """The rows that they would fill."""
        return min(programs_wants(self._found), _PROGRAMS_MOST) if self.size.width >= _PROGRAMS_FROM else 0

    def show_scene(self, scene: Scene) -> None:
        before = self.wants
        self._found = programs(scene.snapshot.state.devices.values()) if scene.snapshot else []
        super().show_scene(scene)
        if self.wants != before:
            self.refresh(layout=True)

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        return programs_panel(self._found, scene.now_s, paper, self.size.height)


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
