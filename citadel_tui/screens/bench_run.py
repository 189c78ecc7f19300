"""A benchmark under way: the repeats so far as a histogram, and a table that grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.pages.bench import progress_lines, result_lines
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.spans import Line, Span
from citadel_tui.widgets.choices import ChoiceBar, Option
from engine.bench.measure import Progress
from engine.bench.records import Omission, Series

_PAINT_EVERY_S: Final = 0.25
"""Switches may take some hundredths of a second; a slow line need not carry each."""


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
            self.call_after_refresh(self._tell_of_more)

    def _lines(self, width: int) -> tuple[Line, ...]:
        progress = progress_lines(self._now, len(self.results), self._count, width, self._glyphs)
        under_way: tuple[Line, ...] = ((Span(self._ending, "warn"),),) if self._ending else progress
        results = result_lines(self.results, width, self._glyphs)
        return (*under_way, (), *results) if results else under_way
