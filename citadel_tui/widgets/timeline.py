"""The timeline on the screen: the lanes, repainted only where a column has changed; as the lower part of a large dashboard, which
follows the present, and as the body of its own page, which can be steered."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.geometry import Size
from textual.message import Message

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line
from citadel_tui.viewmodel.time_columns import View
from citadel_tui.viewmodel.timeline import devices_of, loads_of, moment_of, timeline_lines
from citadel_tui.widgets.scene_view import SceneView


class PastWanted(Message):
    """Somebody looks at the timeline: what is recorded of the past should be read."""


class Lanes(SceneView):
    """Shows a view of the timeline, worked out again only when something in it may have changed."""

    fades: ClassVar[bool] = False
    """The past stays true while the line is down; what is not known is blank."""

    def __init__(self, glyphs: Glyphs, note: str = "") -> None:
        super().__init__(glyphs)
        self.view = View()
        self.most_rows: int | None = None
        """Of the lanes together; None for all."""
        self._note = note
        self._drawn: object = None

    def on_show(self) -> None:
        self.post_message(PastWanted())

    def paint(self) -> None:
        super().paint()
        # Said in so many rows: what is painted while it is being laid out has no height of its own.
        if self.styles.height is None or self.styles.height.value != len(self.lines):
            self.styles.height = len(self.lines)

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        moment = moment_of(scene)
        known_until = int(moment.known_until_s // self.view.column_s)
        now = int(scene.now_s // self.view.column_s)
        loads = tuple((r.model, r.device, r.stage) for r in loads_of(scene.snapshot))
        drawn = (id(scene.past), scene.past.version, now, known_until, loads, self.view, self.most_rows, paper)
        if drawn == self._drawn:
            return self.lines
        self._drawn = drawn
        devices = devices_of(scene.past, scene.snapshot)
        return timeline_lines(moment, devices, self.view, paper, rows=self.most_rows, note=self._note)


_FROM: Final = Size(140, 40)
_SHARE: Final = 6
"""Its lanes take at most this part of the screen's height: a sixth."""


class TimelinePanel(Lanes):
    """Seen on screens that are large enough."""

    def __init__(self, glyphs: Glyphs, key: str) -> None:
        super().__init__(glyphs, f"{key}: zoom, scroll, pick")
        self.display = False

    @property
    def wants(self) -> int:
        """Rows that it would fill."""
        return len(self.lines) if self.display else 0

    def fit(self, screen: Size) -> None:
        """See whether there is room on a screen of this size."""
        roomy = screen.width >= _FROM.width and screen.height >= _FROM.height
        self.display = roomy
        self.most_rows = screen.height // _SHARE
        self.paint()

    def paint(self) -> None:
        if self.display:
            super().paint()
