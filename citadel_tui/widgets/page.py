"""A page of text in a dialog: worked out for the width that it gets, scrolled when it is longer than its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.lines import LineView

MakeLines: TypeAlias = Callable[[int], Sequence[Line]]


class Page(LineView):
    """Shows what `make` returns for its width."""

    def __init__(self, make: MakeLines, *, classes: str = "") -> None:
        super().__init__()
        self.set_classes(classes)
        self._make = make

    def paint(self) -> None:
        """Work the lines out again."""
        if self.size.width:
            self.show(self._make(self.size.width))

    def on_resize(self) -> None:
        self.paint()
