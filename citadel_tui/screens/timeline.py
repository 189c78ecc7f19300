"""The timeline's page: the lanes over the whole screen, and below them the edge that was picked."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from citadel_tui.screens.dialog import Dialog
from citadel_tui.screens.modal import Modal
from citadel_tui.timeline.chronicle import Edge
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.viewmodel.time_columns import View
from citadel_tui.viewmodel.timeline import (
    EDGE_ROWS,
    devices_of,
    edge_lines,
    edges_of,
    label_width,
    legend_lines,
    moment_of,
)
from citadel_tui.widgets.scene_view import SceneView
from citadel_tui.widgets.timeline import Lanes
from engine.core.records import Record

_KEYS: Final = (
    ("arrows", "pick"),
    ("enter", "why"),
    ("+ -", "zoom"),
    ("pgup pgdn", "scroll"),
    ("home end", "ends"),
    ("esc", "back"),
)


class TimelinePage(Modal[None]):
    """Follows the present until it is scrolled away."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", show=False),
        Binding("left", "pick(-1)", show=False),
        Binding("right", "pick(1)", show=False),
        Binding("enter", "open", show=False),
        Binding("plus,equals_sign", "zoom(1)", show=False),
        Binding("minus,underscore", "zoom(-1)", show=False),
        Binding("pageup", "scroll(-1)", show=False),
        Binding("pagedown", "scroll(1)", show=False),
        Binding("home", "oldest", show=False),
        Binding("end", "present", show=False),
        Binding("up,k", "rows(-1)", show=False),
        Binding("down,j", "rows(1)", show=False),
        Binding("y,ctrl+y", "copy", show=False, id="copy"),
    ]

    class RecordWanted(Message):
        """The page of an edge is to open."""

        def __init__(self, record: Record) -> None:
            super().__init__()
            self.record = record

    def __init__(self, scene: Scene, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._scene = scene
        self._lanes = Lanes(glyphs)
        self._edge = _PickedEdge(glyphs, self)
        self._foot = _Foot(glyphs)
        self.picked: Edge | None = None

    def compose(self) -> ComposeResult:
        yield from (self._lanes, self._edge, self._foot)

    @property
    def view(self) -> View:
        """What is looked at."""
        return self._lanes.view

    def on_mount(self) -> None:
        self.show_scene(self._scene)

    def show_scene(self, scene: Scene) -> None:
        self._scene = scene
        self._lanes.show_scene(scene)
        self._edge.show_scene(scene)
        self._foot.show_scene(scene)

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────

    def action_pick(self, step: int) -> None:
        """The next edge, or the one before; where none is picked, the last in sight or the first after that."""
        edges = edges_of(moment_of(self._scene))
        if not edges:
            return
        if self.picked in edges:
            at = edges.index(self.picked) + step
        else:
            seen_until_s = self.view.columns(self._scene.now_s, self._count).stop * self.view.column_s
            at = sum(edge.at_s < seen_until_s for edge in edges) - (step < 0)
        self.picked = edges[min(max(at, 0), len(edges) - 1)]
        self._look(self.view.showing(self.picked.at_s, self._scene.now_s, self._count))

    def action_open(self) -> None:
        if self.picked is not None and self.picked.record is not None:
            self.post_message(self.RecordWanted(self.picked.record))

    def action_zoom(self, steps: int) -> None:
        view = self.view.zoomed(steps, self._scene.now_s, self._count)
        self._look(view.showing(self.picked.at_s, self._scene.now_s, self._count) if self.picked else view)

    def action_scroll(self, halves: int) -> None:
        since_s, now_s = self._scene.past.since_s, self._scene.now_s
        moved = self.view.moved(halves * (self._count // 2), now_s)
        oldest = View(moved.column_s, int((since_s or now_s) // moved.column_s)).clipped(now_s)
        self._look(oldest if moved.last is not None and oldest.last is not None and moved.last < oldest.last else moved)

    def action_oldest(self) -> None:
        since_s = self._scene.past.since_s or self._scene.now_s
        last = int(since_s // self.view.column_s) + self._count - 1
        self._look(View(self.view.column_s, last).clipped(self._scene.now_s))

    def action_present(self) -> None:
        """Follow it, with nothing picked."""
        self.picked = None
        self._look(View(self.view.column_s))

    def action_rows(self, rows: int) -> None:
        self._lanes.scroll_to(y=self._lanes.scroll_offset.y + rows, animate=False)

    def action_copy(self) -> None:
        self.post_message(Dialog.CopyWanted(self._lanes.plain))

    def _look(self, view: View) -> None:
        self._lanes.view = view
        self.show_scene(self._scene)

    @property
    def _count(self) -> int:
        """How many columns there are."""
        devices = devices_of(self._scene.past, self._scene.snapshot)
        return max(self._lanes.size.width - label_width(devices, self._lanes.size.width), 1)


class _PickedEdge(SceneView):
    """What the edge was that was picked, below its column."""

    def __init__(self, glyphs: Glyphs, page: TimelinePage) -> None:
        super().__init__(glyphs)
        self._page = page

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        devices = devices_of(scene.past, scene.snapshot)
        picked = self._page.picked
        told = edge_lines(picked, moment_of(scene), devices, self._page.view, paper) if picked else ()
        return (*told, *(paper.filled(()),) * (EDGE_ROWS - len(told)))


class _Foot(SceneView):
    """What the marks mean, and the keys."""

    def lines_for(self, scene: Scene, paper: Paper) -> tuple[Line, ...]:
        keys = tuple(span for key, word in _KEYS for span in (Span(f" {key}", "key"), Span(f" {word} ")))
        return (*legend_lines(paper), paper.filled(keys))
