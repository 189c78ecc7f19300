"""The switch log: newest first, its rule saying what the switches amount to."""

from __future__ import annotations

from typing import ClassVar

from citadel_tui.viewmodel.dashboard.strips import rule_line, summary_line
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.log import Log
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.widgets.rows import RowList
from engine.core.records import Record


class SwitchLog(RowList[int]):
    """One row a record, by sequence number. While its cursor is on the newest it follows what comes."""

    mark_unfocused: ClassVar[bool] = False

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self.scene: Scene | None = None
        self._log = Log(glyphs)
        self._painted: tuple[tuple[Record, ...], int, bool] | None = None

    def show_scene(self, scene: Scene) -> None:
        self.scene = scene
        self.muted = scene.stale
        self.paint()

    @property
    def record(self) -> Record | None:
        """The record under the cursor."""
        records = self.scene.records if self.scene else ()
        return next((r for r in records if r.seq == self.cursor), None)

    def paint(self) -> None:
        width = self.size.width
        if self.scene is None or not width or self._painted == (self.scene.records, width, self.muted):
            return
        self._painted = (self.scene.records, width, self.muted)
        told = summary_line(self.scene.switches(), width, self.glyphs)
        head = rule_line("SWITCHES", told, "", width, self.glyphs)
        follows = self._at == 0 and self.scroll_offset.y == 0
        self.show_rows((head,), self._log.lines(self.scene.records, width))
        if follows:
            self.action_move(-len(self._keys))

    def on_resize(self) -> None:
        self.paint()
