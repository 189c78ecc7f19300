"""A page of text in a dialog: worked out for the width that it gets, scrolled when it is longer than its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.lines import LineView

MakeLines: TypeAlias = Callable[[Paper], Sequence[Line]]


class Page(LineView):
    """Shows what `make` puts on the paper that it has."""

    def __init__(self, make: MakeLines, glyphs: Glyphs, *, classes: str) -> None:
        super().__init__()
        self.set_classes(classes)
        self._make = make
        self._glyphs = glyphs

    def work_out(self) -> None:
        if self.size.width:
            self.show(self._make(Paper(self.size.width, self._glyphs)))
