"""Only what changed is painted again."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.widgets.lines import LineView, difference


class Watched(LineView):
    """Remembers which regions it was asked to paint again."""

    def __init__(self) -> None:
        super().__init__()
        self.painted: list[Region] = []

    def refresh(self, *regions: Region, **how: bool) -> Watched:
        self.painted.extend(regions)
        return super().refresh(*regions, **how)


class OneView(App[None]):
    CSS_PATH = "../../citadel_tui/citadel.tcss"

    def compose(self) -> ComposeResult:
        yield Watched()


def row(*texts: str) -> Line:
    return tuple(Span(text) for text in texts)


@pytest.mark.parametrize(
    ("old", "new", "cells"),
    [
        (row("name", " 1 ", "end"), row("name", " 2 ", "end"), (4, 7)),
        (row("name", "1", "end"), row("name", "22", "end"), (4, 80)),
        (row("a"), row("b"), (0, 1)),
    ],
)
def test_the_difference_of_two_lines_is_the_cells_between_what_is_the_same(
    old: Line, new: Line, cells: tuple[int, int]
) -> None:
    assert difference(old, new, 80) == cells


def test_a_change_of_role_alone_is_a_difference() -> None:
    assert difference((Span("ready", "good"),), (Span("ready", "bad"),), 80) == (0, 5)


async def test_equal_lines_are_not_painted_again_and_changed_ones_only_where_they_changed() -> None:
    from citadel_tui.look import THEMES

    app = OneView()
    for theme in THEMES:
        app.register_theme(theme)
    app.theme = "citadel"
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.query_one(Watched)
        view.show([row("one ", "1"), row("two ", "2")])
        await pilot.pause()
        view.painted.clear()
        view.show([row("one ", "1"), row("two ", "2")])
        assert view.painted == []
        view.show([row("one ", "1"), row("two ", "3")])
        assert view.painted == [Region(4, 1, 1, 1)]
