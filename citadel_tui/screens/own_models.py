"""What is asked of the operator for a model of one's own: where it comes from; and how it comes from the hub."""

from __future__ import annotations

import time
from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from citadel_tui.screens.dialog import Dialog
from citadel_tui.screens.modal import Modal
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line, Span, wrapped
from citadel_tui.widgets.choices import Option
from citadel_tui.widgets.page import Page
from citadel_tui.words.pulling import PullProgress
from engine.api import EngineError
from engine.core.pulling import NotPulled, Pulled, PullNews, PullOrder
from engine.pull import Pulling


class AskLine(Modal[str]):
    """Ends with the line that was typed."""

    AUTO_FOCUS = "Input"

    def __init__(self, title: str, hint: str, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._title: Final = title
        self._hint: Final = hint
        self._typed: Final = Input(compact=True)

    def compose(self) -> ComposeResult:
        with Vertical(classes=f"{self.look} -narrow"):
            yield Page(lambda _: [(Span(self._title, "title"),)], self._glyphs, classes="title")
            self._typed.cursor_blink = False
            yield self._typed
            yield Page(self._hint_lines, self._glyphs, classes="choices")

    def on_input_submitted(self) -> None:
        self.dismiss(self._typed.value.strip() or None)

    def _hint_lines(self, paper: Paper) -> list[Line]:
        return [(Span(piece, "dim"),) for piece in wrapped(paper.text(self._hint), paper.width)]


class PullScreen(Dialog[Pulled | NotPulled]):
    """Fetches while it is open, and ends with what became of it; None when the operator gave up."""

    def __init__(self, order: PullOrder, glyphs: Glyphs) -> None:
        options = (Option[Pulled | NotPulled | None]("Give up", None),)
        super().__init__(f"Fetching {order.repository}", self._lines, options, glyphs)
        self._order: Final = order
        self._progress: Final = PullProgress(order.repository)
        self._said = "asking the hub"
        self._fetching: Pulling | None = None

    def on_mount(self) -> None:
        self._fetching = fetching = Pulling(self._order)
        self.run_worker(lambda: self._follow(fetching), name="fetching", thread=True, exit_on_error=False)

    def on_unmount(self) -> None:
        if self._fetching is not None:
            self._fetching.leave()  # else its thread would keep the console from ending

    def _follow(self, fetching: Pulling) -> None:
        """In a thread of its own."""
        with fetching:
            try:
                for item in fetching:
                    self.app.call_from_thread(self._hear, item)
            except EngineError as error:
                self.app.call_from_thread(self._hear, NotPulled(str(error)))

    def _hear(self, item: PullNews) -> None:
        if not self.is_attached:
            return
        if isinstance(item, Pulled | NotPulled):
            self.dismiss(item)
        elif line := self._progress.hear(item, time.monotonic()):
            self._said = line
            self.page.paint()

    def _lines(self, paper: Paper) -> list[Line]:
        filled = round(self._progress.share() * paper.width)
        bar = paper.text("#" * filled + "." * (paper.width - filled))
        said = [(Span(piece),) for piece in wrapped(paper.text(self._said), paper.width)]
        return [*said, (Span(bar, "dim"),), (Span("What has come is kept when you give up.", "dim"),)]
