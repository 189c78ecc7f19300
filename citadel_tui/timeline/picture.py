"""Lines as an SVG picture, in the colours of the dark theme. Kept apart: rich's console, which draws it, takes a while to
import."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.style import Style
from rich.text import Text

from citadel_tui.theme import DARK
from citadel_tui.viewmodel.spans import Line, Role, width_of

_COLOURS: Final[dict[Role, str | None]] = {
    "text": DARK.foreground,
    "strong": DARK.foreground,
    "key": DARK.warning,
    "head": DARK.accent,
    "bad": DARK.error,
    "leaving": DARK.error,
    "ghost": DARK.warning,
}
_BOLD: Final = ("strong", "head", "bad")


def svg_of(lines: Iterable[Line], title: str) -> str:
    """The picture."""
    drawn = tuple(lines)
    width = max(map(width_of, drawn), default=0)
    console = Console(
        width=width,
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    for line in drawn:
        console.print(Text.assemble(*((span.text, style_of(span.role)) for span in line)), no_wrap=True, crop=True)
    return console.export_svg(title=title)


def style_of(role: Role) -> Style:
    """How the style sheet shows it on a dark terminal."""
    variables = DARK.variables
    if role.startswith("name-"):
        return Style(color=variables["block-name"], bgcolor=variables[f"block-{role[-1]}-under"], bold=True)
    if role.startswith("block-"):
        return Style(color=variables[role], bgcolor=variables[f"{role}-under"])
    colour = _COLOURS.get(role) or variables[f"line-{role}"]
    return Style(color=colour, bold=role in _BOLD)
