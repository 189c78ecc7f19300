"""The characters that stand for something on the screen, once for terminals with UTF-8 and once in plain ASCII."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from citadel_tui.text import clean


class Glyphs(Struct, frozen=True):
    """One set of characters; all but `arrow` and `ellipsis` take one cell."""

    plain: bool
    """Whether only ASCII may be shown."""
    start: str
    """Left edge of a memory bar."""
    edge: str
    """Last cell of each resident in a memory bar."""
    weights: str
    workspace: str
    ghost: str
    """A load under way."""
    leaving: str
    leaked: str
    room: str
    """Free memory inside the budget."""
    budget: str
    """Where the budget ends."""
    context: str
    """Memory that a device takes for itself while it is in use."""
    external: str
    """Memory of processes that are not ours."""
    live: str
    lost: str
    pinned: str
    unwatched: str
    """In the timeline: a resident of which nobody knows whether it answered."""
    pointer: str
    synthetic: str
    cursor: str
    swatch: str
    """Before a model's name, in its colour."""
    marked: str
    """At a model that the next verb is for."""
    arrow: str
    out: str
    """Before the models that had to leave."""
    bullet: str
    ellipsis: str
    nothing: str
    rule: str
    above: str
    below: str
    yes: str
    no: str
    bar: str
    """Fills a waterfall's bars."""
    levels: str
    """The cell of a graph, from empty to full."""

    def text(self, raw: str) -> str:
        """`raw`, from wherever it came, fit to be shown on this terminal."""
        safe = clean(raw)
        if not self.plain or safe.isascii():
            return safe
        return safe.translate(_TO_ASCII).encode("ascii", "replace").decode("ascii")


_TO_ASCII: Final = str.maketrans(
    {"→": "->", "…": "...", "·": "-", "–": "-", "—": "-", "−": "-", "×": "x", "÷": "/", "≤": "<=", "≥": ">="}
    | {"“": '"', "”": '"', "‘": "'", "’": "'", "°": " ", "≈": "~", "●": "*"}
)

UNICODE: Final = Glyphs(
    plain=False,
    start="▐",
    edge="▌",
    weights="▓",
    workspace="░",
    ghost="╌",
    leaving="╱",
    leaked="!",
    room="·",
    budget="┊",
    context="▞",
    external="▒",
    live="●",
    lost="○",
    pinned="●",
    unwatched="━",
    pointer="▲",
    synthetic="≈",
    cursor="▸",
    swatch="▐",
    marked="◆",
    arrow="→",
    out="×",
    bullet="·",
    ellipsis="…",
    nothing="–",
    rule="─",
    above="↑",
    below="↓",
    yes="✓",
    no="✗",
    bar="█",
    levels=" ▁▂▃▄▅▆▇█",
)

ASCII: Final = Glyphs(
    plain=True,
    start="[",
    edge="]",
    weights="#",
    workspace="=",
    ghost="-",
    leaving="/",
    leaked="!",
    room=".",
    budget="|",
    context="%",
    external="x",
    live="*",
    lost="o",
    pinned="*",
    unwatched="_",
    pointer="^",
    synthetic="~",
    cursor=">",
    swatch="|",
    marked="+",
    arrow="->",
    out="x",
    bullet="-",
    ellipsis="..",
    nothing="-",
    rule="-",
    above="^",
    below="v",
    yes="ok",
    no="!",
    bar="#",
    levels=" .:#",
)
