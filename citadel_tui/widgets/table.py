"""The model table: sorted, filtered, its cursor on a model's name."""

from __future__ import annotations

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.models import SORT_KEYS, ModelRow, SortKey, model_rows
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.viewmodel.strips import rule_line
from citadel_tui.viewmodel.table import head_line, layout_for, model_line
from citadel_tui.widgets.rows import RowList


class ModelTable(RowList[str]):
    """One row a model."""

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:
        super().__init__(glyphs, id=id)
        self.scene: Scene | None = None
        self.wanted = ""
        """What the shown names hold."""
        self.sort: SortKey = SORT_KEYS[0]

    def show_scene(self, scene: Scene) -> None:
        self.scene = scene
        self.muted = scene.stale
        self.paint()

    def find(self, wanted: str) -> None:
        """Show only models whose name holds `wanted`."""
        self.wanted = wanted
        self.paint()

    def sort_next(self) -> None:
        """Sort by the next order."""
        self.sort = SORT_KEYS[(SORT_KEYS.index(self.sort) + 1) % len(SORT_KEYS)]
        self.paint()

    def paint(self) -> None:
        width = self.size.width
        if self.scene is None or not width:
            return
        rows = model_rows(self.scene, self.glyphs, self.sort, self.wanted)
        layout = layout_for(width, max((len(row.name) + 2 for row in rows), default=0))
        head = (self._rule(rows, width), head_line(layout, self.sort, self.glyphs))
        self.show_rows(head, {row.name: model_line(row, layout, self.glyphs) for row in rows})

    def on_resize(self) -> None:
        self.paint()
        self.call_after_refresh(self.paint)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.paint()

    def _rule(self, rows: list[ModelRow], width: int) -> Line:
        known = len(self.scene.snapshot.state.models) if self.scene and self.scene.snapshot else 0
        count = f"{len(rows)} of {known}" if self.wanted else str(known)
        middle = [Span(count, "dim")]
        if self.wanted:
            middle.append(Span(f'  with "{self.glyphs.text(self.wanted)}"', "warn"))
        if self.sort != "catalog":
            middle.append(Span(f"  by {self.sort}", "dim"))
        above, below = self.hidden
        if above or below:
            middle.append(Span(f"  {self.glyphs.above}{above} {self.glyphs.below}{below}", "dim"))
        legend = f"{self.glyphs.synthetic} synthetic weights" if any(r.synthetic for r in rows) else ""
        return rule_line("MODELS", tuple(middle), legend, width, self.glyphs)
