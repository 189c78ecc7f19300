"""An edge where the screen's rows may be parted.

Textual writes a changed row from the nearest widget edge at its left. A seam is a widget that lies unseen under the others and
lends its left edge: what changes each second, the clock and the table's figures, is then written without what stands before it.
"""

from __future__ import annotations

from textual.widget import Widget


class Seam(Widget, can_focus=False):
    """Covers the last `width` columns of the screen, under everything else."""

    DEFAULT_CSS = """
    Seam { layer: seams; dock: right; height: 100%; }
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.styles.width = width
