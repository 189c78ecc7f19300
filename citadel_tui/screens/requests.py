"""The page of requests under way: asked for once a second while it is open, and where one of them can be cancelled."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from citadel_tui.link import Link
from citadel_tui.screens.dialog import Dialog
from citadel_tui.screens.modal import Modal
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.requests import request_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import sentences
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.widgets.choices import Option
from citadel_tui.widgets.page import Page
from citadel_tui.widgets.rows import RowList
from citadel_tui.words.labels import Label
from citadel_tui.words.requests import request_text
from engine.api import EngineError, Hello
from engine.core.insight.request_figures import RequestsUnderWay, RequestUnderWay

ASKED_S: Final = 1.0
"""Seconds between two questions."""
_KEYS: Final = "x cancels a request, after asking; esc closes"
_KEYS_OF_A_WATCHER: Final = "esc closes; this console is read-only"


class RequestsPage(Modal[None]):
    """Follows the requests, and ends with nothing."""

    AUTO_FOCUS = "RowList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", show=False),
        Binding("x,delete,enter", "cancel_request", show=False),
    ]

    def __init__(self, link: Link, label: Label, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._link: Final = link
        self._label: Final = label
        self._list: Final = RowList[int](glyphs)
        self._said: Final = Page(self._said_lines, glyphs, classes="choices")
        self._scene = link.scene()
        self._listed: RequestsUnderWay | None = None
        self._of: Hello | None = None
        """Whose requests these are: another engine counts its own from 1 on."""
        self._trouble = ""
        self._answer = ""
        """What became of the last cancelling."""
        self._is_asking = False

    def compose(self) -> ComposeResult:
        with Vertical(classes=f"{self.look} -tall"):
            yield Page(lambda _: [(Span("Requests under way", "title"),)], self._glyphs, classes="title")
            yield self._list
            yield self._said

    def on_mount(self) -> None:
        self._ask()
        self.set_interval(ASKED_S, self._ask)

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    def show_scene(self, scene: Scene) -> None:
        """Colours, names and the line to the engine; the rows come with the next answer."""
        self._scene = scene

    def on_row_list_opened(self) -> None:
        self.action_cancel_request()

    def action_cancel_request(self) -> None:
        """Ask whether the request under the cursor is to be given up."""
        wanted = (
            next((r for r in self._listed.requests if r.number == self._list.cursor), None) if self._listed else None
        )
        if wanted is not None and not (self._scene.read_only or self._is_asking):
            self._is_asking = True
            self.run_worker(self._cancel(wanted, self._of), name="cancelling a request", exit_on_error=False)

    def _ask(self) -> None:
        # Of this screen: it is cancelled with it. Exclusive, so that an engine that is slow to answer isn't asked twice at once.
        self.run_worker(self._hear(), name="requests", group="requests", exclusive=True, exit_on_error=False)

    async def _hear(self) -> None:
        try:
            self._listed, self._of = await self._link.engine.requests(), self._link.hello
            self._trouble = ""
        except EngineError as error:
            self._trouble = str(error)
        self._paint()

    async def _cancel(self, request: RequestUnderWay, of: Hello | None) -> None:
        is_meant = await self.app.push_screen_wait(CancelRequest(request, self._label, self._glyphs))
        self._is_asking = False
        if not is_meant:
            return
        try:
            if self._link.hello != of:
                raise EngineError("the engine that had this request has ended, and the request with it")
            was = await self._link.engine.cancel_request(request.number)
            self._answer = f"cancelled: {request_text(was, self._label)}"
        except EngineError as error:
            self._answer = str(error)
        self._said.paint()
        self._ask()

    def _paint(self) -> None:
        if not self._list.size.width:
            return
        paper = Paper(self._list.size.width, self._glyphs, self._scene.colours)
        head, rows = request_lines(self._listed, self._trouble, self._scene, paper)
        self._list.muted = bool(self._trouble)
        self._list.show_rows(head, rows)

    def _said_lines(self, paper: Paper) -> tuple[Line, ...]:
        keys = _KEYS_OF_A_WATCHER if self._scene.read_only else _KEYS
        return sentences((self._answer, keys) if self._answer else (keys,), paper, "dim")


class CancelRequest(Dialog[bool]):
    """Ends with True when the request is to be given up."""

    def __init__(self, request: RequestUnderWay, label: Label, glyphs: Glyphs) -> None:
        words = (
            request_text(request, label),
            "It is given up wherever it is, and whoever waits for it is told that you cancelled it.",
        )
        options: tuple[Option[bool | None], ...] = (Option("Leave it", None), Option("Cancel it", True, "y"))
        super().__init__(f"Cancel request {request.number}?", lambda paper: sentences(words, paper), options, glyphs)
