"""How the console looks on this terminal: which characters it can show, and which colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from textual.theme import Theme

from citadel_tui.settings.settings import Colours
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE, Glyphs

DARK: Final = Theme(
    name="citadel",
    primary="#5b9bd5",
    secondary="#3fa796",
    warning="#e6b450",
    error="#f07178",
    success="#8ccf7e",
    accent="#7fd1b9",
    foreground="#d5dbe3",
    background="#10151b",
    surface="#161d26",
    panel="#1c2530",
    variables={
        "line-dim": "#8492a2",
        "line-dim-style": "none",
        "line-rule": "#3a4856",
        "line-room": "#56687a",
        "line-outside": "#9aa4af",
        "line-cursor": "#263545",
        "line-cursor-style": "none",
        "line-banner": "#332b16",
        "block-1": "#3dacf2",
        "block-1-under": "#235475",
        "block-2": "#c4722a",
        "block-2-under": "#5c3c21",
        "block-3": "#3fdcaa",
        "block-3-under": "#246957",
        "block-4": "#b673a0",
        "block-4-under": "#563c53",
        "block-5": "#3a66c4",
        "block-5-under": "#223762",
        "block-6": "#e3c93a",
        "block-6-under": "#696128",
        "block-name": "#ffffff",
    },
)
_LIGHT: Final = Theme(
    name="citadel-light",
    dark=False,
    primary="#2b6cb0",
    secondary="#1f7a6d",
    warning="#8a5a00",
    error="#b3261e",
    success="#2e6b1f",
    accent="#0f6b5c",
    foreground="#1c242c",
    background="#fbfbf8",
    surface="#f1f2ee",
    panel="#e6e8e2",
    variables={
        "line-dim": "#5b6670",
        "line-dim-style": "none",
        "line-rule": "#b4bcc4",
        "line-room": "#8d99a5",
        "line-outside": "#6d7781",
        "line-cursor": "#d7e3f0",
        "line-cursor-style": "none",
        "line-banner": "#f6e7c1",
        "block-1": "#1c5f70",
        "block-1-under": "#adc4c8",
        "block-2": "#a0522d",
        "block-2-under": "#dbc0b1",
        "block-3": "#348e7a",
        "block-3-under": "#b5d5cc",
        "block-4": "#c2479f",
        "block-4-under": "#e7bcd9",
        "block-5": "#4a3fe0",
        "block-5-under": "#bdb9f0",
        "block-6": "#9b8b24",
        "block-6-under": "#d9d4ae",
        "block-name": "#0c1420",
    },
)
_ANSI: Final = Theme(
    name="citadel-ansi",
    ansi=True,
    primary="ansi_blue",
    secondary="ansi_cyan",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    accent="ansi_cyan",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "border-blurred": "ansi_black",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_white",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_blue",
        "input-selection-foreground": "ansi_white",
        "screen-selection-background": "ansi_blue",
        "screen-selection-foreground": "ansi_white",
        "line-dim": "ansi_default",
        "line-dim-style": "dim",
        "line-rule": "ansi_default",
        "line-room": "ansi_default",
        "line-outside": "ansi_default",
        "line-cursor": "ansi_default",
        "line-cursor-style": "reverse",
        "line-banner": "ansi_default",
        "block-1": "ansi_cyan",
        "block-1-under": "ansi_default",
        "block-2": "ansi_yellow",
        "block-2-under": "ansi_default",
        "block-3": "ansi_bright_blue",
        "block-3-under": "ansi_default",
        "block-4": "ansi_magenta",
        "block-4-under": "ansi_default",
        "block-5": "ansi_blue",
        "block-5-under": "ansi_default",
        "block-6": "ansi_default",
        "block-6-under": "ansi_default",
        "block-name": "ansi_default",
    },
)
THEMES: Final = (DARK, _LIGHT, _ANSI)
_PLAIN_TERMS: Final = ("linux", "dumb", "vt100", "vt220")
"""Whose fonts and colours are few, whatever else the environment says."""


class Look(Struct, frozen=True):
    """Characters and colours."""

    glyphs: Glyphs
    theme: str


_THEME_OF: Final[Mapping[Colours, str]] = {"dark": DARK.name, "light": _LIGHT.name, "terminal": _ANSI.name}


def next_theme(theme: str) -> str:
    """The name of the theme after the one of this name, around and around."""
    names = [known.name for known in THEMES]
    return names[(names.index(theme) + 1) % len(names)]


def colours_of(theme: str) -> Colours:
    """What the settings call the theme of this name."""
    return next(colours for colours, name in _THEME_OF.items() if name == theme)


def look_for(environment: Mapping[str, str], encoding: str, colours: Colours = "auto") -> Look:
    """The look for a terminal with this environment, written to in `encoding`, in the colours that its operator chose."""
    term = environment.get("TERM", "")
    unicode = encoding.replace("-", "").lower() == "utf8" and term not in _PLAIN_TERMS
    wants_ascii = environment.get("CITADEL_ASCII", "") not in ("", "0")
    truecolor = environment.get("COLORTERM", "").lower() in ("truecolor", "24bit")
    sixteen = not truecolor or term in _PLAIN_TERMS or "NO_COLOR" in environment
    fitting: Colours = "terminal" if sixteen else "dark"
    theme = _THEME_OF[fitting if colours == "auto" else colours]
    return Look(UNICODE if unicode and not wants_ascii else ASCII, theme)
