"""What lines are written on: how many cells wide, in which characters, and which colour each model has there."""

from __future__ import annotations

from msgspec import Struct

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.model_colours import ModelColours
from citadel_tui.viewmodel.spans import Line, filled


class Paper(Struct, frozen=True):
    """The place that a page, a table or a row of the dashboard gets."""

    width: int
    """Cells."""
    glyphs: Glyphs
    colours: ModelColours = ModelColours()

    def text(self, raw: str) -> str:
        """`raw`, from wherever it came, fit to be shown here."""
        return self.glyphs.text(raw)

    def filled(self, line: Line) -> Line:
        """The line in exactly as many cells as there are."""
        return filled(line, self.width, self.glyphs.ellipsis)
