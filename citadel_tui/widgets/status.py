"""The row above the keys: a message until it has been seen, else what is under way, else what ails the model."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len

from citadel_tui.flow import Message
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span, filled, wrapped
from citadel_tui.viewmodel.dashboard.strips import jobs_line
from citadel_tui.widgets.scene_view import SceneView

_MESSAGE_ROWS: Final = 3


class StatusLine(SceneView):
    """One row, blank when there is nothing to say; a message that is longer has as many as it needs, up to three."""

    fades = False

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._model: str | None = None
        self.message: Message | None = None

    def select(self, model: str | None) -> None:
        """The operator looks at `model` now."""
        self._model = model
        self.paint()

    def say(self, message: Message | None) -> None:
        """Show a message, or take it away."""
        self.message = message
        self.paint()

    def lines_for(self, scene: Scene, width: int) -> tuple[Line, ...]:
        lines = self._message_lines(self.message, width) if self.message else (self._line(scene),)
        return tuple(filled(line, width, self.glyphs.ellipsis) for line in lines)

    def _message_lines(self, message: Message, width: int) -> tuple[Line, ...]:
        text = self.glyphs.text(message.text)
        room = max(width - 1, 1)
        pieces = wrapped(text, room) if cell_len(text) > room else [text]
        if len(pieces) > _MESSAGE_ROWS:
            pieces = [*pieces[: _MESSAGE_ROWS - 1], " ".join(pieces[_MESSAGE_ROWS - 1 :])]
        return tuple((Span(f" {piece}", message.role),) for piece in pieces)

    def _line(self, scene: Scene) -> Line:
        if scene.lost is not None:
            return (Span(f" {self.glyphs.text(scene.lost.why)}; trying again", "bad"),)
        jobs = scene.snapshot.jobs if scene.snapshot else ()
        return jobs_line(jobs, self._model, self.glyphs) or self._trouble(scene)

    def _trouble(self, scene: Scene) -> Line:
        known = scene.snapshot.state.models.get(self._model or "") if scene.snapshot else None
        return (Span(f" {self.glyphs.text(known.trouble)}", "bad"),) if known and known.trouble else ()
