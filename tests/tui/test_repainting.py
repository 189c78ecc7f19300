"""Only what changed is painted again."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.screen import Screen

from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.widgets.lines import LINE_CLASSES, LineView


class Watched(LineView):
    """Remembers which regions it was asked to paint again."""

    def __init__(self) -> None:
        super().__init__()
        self.painted: list[Region] = []

    def refresh(self, *regions: Region, **how: bool) -> Watched:
        self.painted.extend(regions)
        return super().refresh(*regions, **how)


class Bare(Screen[None]):
    COMPONENT_CLASSES: ClassVar[set[str]] = LINE_CLASSES

    def compose(self) -> ComposeResult:
        yield Watched()


class OneView(App[None]):
    CSS_PATH = "../../citadel_tui/citadel.tcss"

    def get_default_screen(self) -> Bare:
        return Bare()


def row(*texts: str) -> Line:
    return tuple(Span(text) for text in texts)


async def test_of_the_lines_only_those_that_changed_are_painted_again() -> None:
    from citadel_tui.theme import THEMES

    app = OneView()
    for theme in THEMES:
        app.register_theme(theme)
    app.theme = "citadel"
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.screen.query_one(Watched)
        view.show([row("one ", "1"), row("two ", "2")])
        await pilot.pause()
        view.painted.clear()
        view.show([row("one ", "1"), row("two ", "2")])
        assert view.painted == []
        view.show([row("one ", "1"), row("two ", "3")])
        assert view.painted == [Region(0, 1, 40, 1)]
        view.show([row("one ", "1"), (Span("two "), Span("3", "bad"))])
        assert view.painted == [Region(0, 1, 40, 1)] * 2
