"""What a benchmark has found, the earlier runs to hold it against, and the two side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from citadel_tui.screens.dialog import PICTURE, Dialog
from citadel_tui.viewmodel.bench_page import compared_lines, result_lines
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import section, sentences
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Span
from citadel_tui.widgets.choices import Option
from citadel_tui.widgets.page import Page
from citadel_tui.widgets.rows import RowList
from engine.bench.compare import Compared
from engine.bench.records import Omission, Series


class BenchResults(Dialog[bool]):
    """Ends with True when the run is to be held against an earlier one."""

    def __init__(self, results: Sequence[Series | Omission], said: Sequence[str], glyphs: Glyphs) -> None:
        options: tuple[Option[bool | None], ...] = (
            Option("Close", None),
            Option("Compare with an earlier run", True, "c"),
        )
        super().__init__(
            "Benchmark",
            lambda width: (*result_lines(results, width, glyphs), *section("To know", sentences(said, width, glyphs))),
            options if any(isinstance(result, Series) for result in results) else options[:1],
            glyphs,
        )


class EarlierRuns(ModalScreen[Path | None]):
    """Ends with the run that was picked."""

    AUTO_FOCUS = "RowList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", show=False),
        PICTURE,
        Binding("enter", "take", show=False),
    ]

    def __init__(self, runs: Sequence[tuple[Path, str]], glyphs: Glyphs) -> None:
        super().__init__()
        self._runs = runs
        self._glyphs = glyphs
        self._list: RowList[Path] = RowList(glyphs)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog" + (" -ascii" if self._glyphs.plain else "")):
            yield Page(lambda width: [(Span("Compare with which run?", "title"),)], classes="title")
            yield self._list
            yield Page(lambda width: [(Span("enter picks, esc goes back", "dim"),)], classes="choices")

    def on_mount(self) -> None:
        rows = {path: (Span("  "), Span(path.stem), Span(f"  {text}", "dim")) for path, text in self._runs}
        self._list.show_rows((), rows)

    def show_scene(self, scene: Scene) -> None:
        """Stays as it was opened."""

    def on_row_list_opened(self) -> None:
        self.action_take()

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_take(self) -> None:
        self.dismiss(self._list.cursor)


class BenchCompared(Dialog[None]):
    """An earlier run and this one."""

    def __init__(self, earlier: str, compared: Compared, glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        title = f"Since the run of {earlier}"
        super().__init__(title, lambda width: compared_lines(compared, width, glyphs), options, glyphs)
