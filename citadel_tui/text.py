"""Text from outside (names, reasons, what a model wrote), made safe to put on a terminal."""

from __future__ import annotations

from typing import Final

REPLACEMENT: Final = "�"


def clean(text: str) -> str:
    """`text` as one line of printable characters.

    White space becomes spaces. Whatever a terminal might act on, or an eye not see, becomes a visible replacement: C0, C1 and
    DEL, bidirectional controls, zero-width characters, lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def shortened(text: str, most: int) -> str:
    """`text` clean, and no longer than `most` characters."""
    return clean(text) if len(text) <= most else clean(text[: most - 1]) + "…"


def clean_lines(text: str) -> str:
    """`text` with its line breaks kept and each line clean."""
    return "\n".join(clean(line) for line in text.split("\n"))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() and character not in _SEPARATORS else REPLACEMENT


_SEPARATORS: Final = "\x1c\x1d\x1e\x1f\x85"
"""Controls that count as white space for Python and not for a terminal."""
