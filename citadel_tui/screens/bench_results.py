"""What a benchmark has found, the earlier runs to hold it against, and the two side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from citadel_tui.screens.dialog import Dialog
from citadel_tui.screens.picking import Picking
from citadel_tui.viewmodel.pages.bench import compared_lines, result_lines
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import section, sentences
from citadel_tui.viewmodel.spans import Span
from citadel_tui.widgets.choices import Option
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
        super().__init__(title, lambda width: compared_lines(compared, width, glyphs), options, glyphs)
