"""Keys as people write them and as Textual calls them, and which of them can be given to an action."""

from __future__ import annotations

import re
from typing import Final

_SIGNS: Final = {
    "/": "slash",
    "\\": "backslash",
    "?": "question_mark",
    "!": "exclamation_mark",
    ":": "colon",
    ";": "semicolon",
    ",": "comma",
    ".": "full_stop",
    "-": "minus",
    "+": "plus",
    "=": "equals_sign",
    "*": "asterisk",
    "_": "underscore",
    "'": "apostrophe",
    '"': "quotation_mark",
    "#": "number_sign",
    "%": "percent_sign",
    "&": "ampersand",
    "@": "at",
    "$": "dollar_sign",
    "<": "less_than_sign",
    ">": "greater_than_sign",
    "(": "left_parenthesis",
    ")": "right_parenthesis",
    "[": "left_square_bracket",
    "]": "right_square_bracket",
    "{": "left_curly_bracket",
    "}": "right_curly_bracket",
    "|": "vertical_line",
    "~": "tilde",
    "^": "circumflex_accent",
    "`": "grave_accent",
    "esc": "escape",
}
_WRITTEN: Final = {name: sign for sign, name in _SIGNS.items()}
_OTHERS: Final = re.compile(
    r"[A-Za-z]|f([1-9]|1[0-2])|ctrl\+[abdefgknortuvwxy]|space|insert|delete|backspace|enter|tab"
)
"""Not among them: ctrl+c, ctrl+l, ctrl+q and ctrl+z, which are the console's own; ctrl+s and ctrl+p, which terminals and docker
take; ctrl+h, ctrl+i, ctrl+j and ctrl+m, which arrive as other keys."""
KEYS_ALLOWED: Final = "a letter, a sign such as ; or /, space, insert, delete, backspace, f1 to f12, ctrl+letter"
TAKEN: Final = ("j", "k", "home", "end", "enter", "tab", "escape", "ctrl+p", "ctrl+y", *"0123456789")
"""Keys that move about, and those of the actions whose keys are fixed."""


def key_id(written: str) -> str | None:
    """What Textual calls the key, or None when there is no such key, or none that arrives everywhere."""
    if written in _SIGNS:
        return _SIGNS[written]
    return written if _OTHERS.fullmatch(written) else None


def key_text(key: str) -> str:
    """The key as a person writes it."""
    return _WRITTEN.get(key, key)
