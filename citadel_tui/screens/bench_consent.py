"""Who has to leave a device for a benchmark, with the safe answer chosen."""

from __future__ import annotations

from collections.abc import Sequence

from citadel_tui.screens.dialog import Dialog
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.prose import sentences
from citadel_tui.viewmodel.spans import Line
from citadel_tui.widgets.choices import Option
from citadel_tui.words.figures import uses_text
from engine.core.state import Resident


class BenchConsent(Dialog[bool]):
    """Ends with True when they may leave."""

    def __init__(self, leaving: Sequence[Resident], glyphs: Glyphs) -> None:
        options: tuple[Option[bool | None], ...] = (Option("Cancel", None), Option("Measure", True, "y"))
        title = "These models leave their devices meanwhile, and are put back"
        super().__init__(title, lambda width: _lines(leaving, width, glyphs), options, glyphs)


def _lines(leaving: Sequence[Resident], width: int, glyphs: Glyphs) -> tuple[Line, ...]:
    return sentences((_text(resident) for resident in leaving), width, glyphs)


def _text(resident: Resident) -> str:
    return f"{resident.model} leaves {resident.device}{uses_text(resident.leases)}"
