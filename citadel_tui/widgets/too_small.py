"""What a screen that is too small shows in place of everything: that it is, and what is left to do."""

from __future__ import annotations

from typing import Final

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Span, wrapped
from citadel_tui.widgets.lines import LineView

LEAST_COLUMNS: Final = 60
LEAST_ROWS: Final = 12


class TooSmall(LineView):
    """Lies over all of its screen while that is smaller; the style sheet says when."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self._glyphs = glyphs

    def work_out(self) -> None:
        width, height = self.size
        text = (
            f"{width} × {height} is too small for this: it takes {LEAST_COLUMNS} × {LEAST_ROWS}. "
            "Keys do nothing meanwhile; ctrl+c leaves."
        )
        self.show([(Span(piece, "warn"),) for piece in wrapped(self._glyphs.text(text), max(width, 1))])
