"""A benchmark's screens, in the order in which they come: the choice, who has to leave, the run, what it found, and an earlier
run to hold it against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from citadel_tui.screens.dialog import Dialog
from citadel_tui.screens.modal import Modal
from citadel_tui.screens.picker import Picking
from citadel_tui.text import clean
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.bench import (
    BenchItem,
    BenchPlan,
    choice_rows,
    compared_lines,
    progress_lines,
    result_lines,
    told_line,
)
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import section, sentences
from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.widgets.choices import ChoiceBar, Option
from citadel_tui.widgets.page import Page
from citadel_tui.widgets.rows import RowList
from citadel_tui.words.bench import leaving_text
from engine.bench.compare import Compared
from engine.bench.measure import Progress
from engine.bench.records import Omission, Series
from engine.core.state import Resident

_AROUND_THE_LIST: Final = 8
"""Rows of the border, the title, and what stands below."""
_KEYS: Final = "space ticks, a all, enter measures, esc goes back"
_PAINT_EVERY_S: Final = 0.25
"""Switches may take some hundredths of a second; a slow line need not carry each."""


class BenchChoice(Modal[BenchPlan]):
    """Ends with the choice."""

    AUTO_FOCUS = "RowList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", show=False),
        Binding("space", "tick", show=False),
        Binding("a", "tick_group", show=False),
        Binding("left", "repeat(-1)", show=False),
        Binding("right", "repeat(1)", show=False),
        Binding("enter", "take", show=False),
    ]

    def __init__(self, choice: BenchPlan, glyphs: Glyphs) -> None:
        super().__init__(glyphs)
        self._choice = choice
        self._list: RowList[BenchItem] = RowList(glyphs)
        self._told = Page(self._told_lines, glyphs, classes="choices")

    def compose(self) -> ComposeResult:
        with Vertical(classes=self.look):
            yield Page(lambda _: [(Span("Benchmark: how long switches take", "title"),)], self._glyphs, classes="title")
            yield self._list
            yield self._told

    def on_mount(self) -> None:
        self._paint()
        first = next((item for item in self._choice.items if item in self._choice.ticked), None)
        if first is not None:
            self._list.put_cursor(first)

    def on_resize(self, event: events.Resize) -> None:
        self._list.styles.max_height = max(event.size.height - _AROUND_THE_LIST, 3)
        self.call_after_refresh(self._paint)

    def on_row_list_opened(self) -> None:
        self.action_tick()

    def action_tick(self) -> None:
        item = self._list.cursor
        if item is not None and item.group != "repeats":
            self._become(self._choice.turned(item))

    def action_tick_group(self) -> None:
        item = self._list.cursor
        if item is not None and item.group != "repeats":
            self._become(self._choice.with_group(item.group))

    def action_repeat(self, steps: int) -> None:
        self._become(self._choice.with_repeats(steps))

    def action_take(self) -> None:
        if not self._choice.missing:
            self.dismiss(self._choice)

    def _become(self, choice: BenchPlan) -> None:
        self._choice = choice
        self._paint()

    def _paint(self) -> None:
        self._list.show_rows((), choice_rows(self._choice, Paper(self._list.size.width, self._glyphs)))
        self._told.paint()

    def _told_lines(self, paper: Paper) -> list[Line]:
        return [told_line(self._choice), (Span(_KEYS, "dim"),)]


class BenchConsent(Dialog[bool]):
    """Ends with True when they may leave."""

    def __init__(self, leaving: Sequence[Resident], glyphs: Glyphs) -> None:
        options: tuple[Option[bool | None], ...] = (Option("Cancel", None), Option("Measure", True, "y"))
        title = "These models leave their devices meanwhile, and are put back"
        super().__init__(title, lambda paper: _lines(leaving, paper), options, glyphs)


def _lines(leaving: Sequence[Resident], paper: Paper) -> tuple[Line, ...]:
    return sentences((leaving_text(resident, clean) for resident in leaving), paper)


class BenchRun(Dialog[None]):
    """Follows a benchmark, as its watcher. Stays until the benchmark has ended, also when it is stopped."""

    def __init__(self, count: int, stop: Callable[[], object], glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Stop, and put everything back", None),)
        super().__init__("Benchmark", self._lines, options, glyphs)
        self._count = count
        self._stop = stop
        self._now: Progress | None = None
        self._ending = ""
        self.sample_s: float | None = None
        self.results: list[Series | Omission] = []
        self.troubles: list[str] = []

    def on_mount(self) -> None:
        self.set_interval(_PAINT_EVERY_S, self._paint)

    def action_leave(self) -> None:
        self._stop()

    def on_choice_bar_taken(self, message: ChoiceBar.Taken) -> None:
        message.prevent_default()  # Textual would go on to the dialog's own handler, which closes it.
        self.action_leave()

    # ── what the benchmark's end is told by ──────────────────────────────────────────────────────

    @property
    def ending(self) -> bool:
        """Whether everything is being put back."""
        return bool(self._ending)

    def stopping(self) -> None:
        self._ending = "stopping, and putting everything back"
        self._paint()

    def broke(self, error: BaseException) -> None:
        self.troubles.append(str(error) or type(error).__name__)

    # ── engine.bench.run.Watcher ───────────────────────────────────────────────────────────────

    def quietened(self, sample_s: float) -> None:
        self.sample_s = sample_s

    def progress(self, now: Progress) -> None:
        self._now = now

    def measured(self, found: Series | Omission) -> None:
        self.results.append(found)

    def putting_back(self) -> None:
        self._ending = self._ending or "putting everything back"

    def not_put_back(self, what: str) -> None:
        self.troubles.append(f"not put back: {what}")

    def _paint(self) -> None:
        rows = len(self.page.lines)
        self.page.paint()
        if len(self.page.lines) != rows:
            self.call_after_refresh(self.tell_of_more)

    def _lines(self, paper: Paper) -> tuple[Line, ...]:
        progress = progress_lines(self._now, len(self.results), self._count, paper)
        under_way: tuple[Line, ...] = ((Span(self._ending, "warn"),),) if self._ending else progress
        results = result_lines(self.results, paper)
        return (*under_way, (), *results) if results else under_way


class BenchResults(Dialog[bool]):
    """Ends with True when the run is to be held against an earlier one."""

    def __init__(self, results: Sequence[Series | Omission], said: Sequence[str], glyphs: Glyphs) -> None:
        options: tuple[Option[bool | None], ...] = (
            Option("Close", None),
            Option("Compare with an earlier run", True, "c"),
        )
        super().__init__(
            "Benchmark",
            lambda paper: (
                *result_lines(results, paper),
                *section("To know", sentences(said, paper)),
            ),
            options if any(isinstance(result, Series) for result in results) else options[:1],
            glyphs,
        )


class EarlierRuns(Picking[Path]):
    """Ends with the run that was picked."""

    def __init__(self, runs: Sequence[tuple[Path, str]], glyphs: Glyphs) -> None:
        rows = {path: (Span("  "), Span(path.stem), Span(f"  {text}", "dim")) for path, text in runs}
        super().__init__("Compare with which run?", rows, glyphs)


class BenchCompared(Dialog[None]):
    """An earlier run and this one."""

    def __init__(self, earlier: str, compared: Compared, glyphs: Glyphs) -> None:
        options: tuple[Option[None], ...] = (Option("Close", None),)
        title = f"Since the run of {earlier}"
        super().__init__(title, lambda paper: compared_lines(compared, paper), options, glyphs)
