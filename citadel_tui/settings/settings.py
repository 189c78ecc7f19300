"""The console's settings: how the operator left it, and which keys are theirs."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from citadel_tui.viewmodel.table_order import Sorting

Colours: TypeAlias = Literal["auto", "dark", "light", "terminal"]
"""`auto`: dark where the terminal announces truecolor, else the terminal's own sixteen."""
Graphs: TypeAlias = Literal["auto", "on", "off"]
"""`auto`: where there is room for them."""


class ConsoleSettings(Struct, frozen=True):
    """What the file says; a console without a file begins with these."""

    sorting: Sorting = Sorting()
    wanted: str = ""
    """The filter words, as they were typed."""
    colours: Colours = "auto"
    graphs: Graphs = "auto"
    keys: dict[str, str] = {}
    """Other keys than the registry's, by the action's id, as Textual calls them."""


AT_FIRST: Final = ConsoleSettings()
