"""Which texts are admitted: those that can be written in UTF-8. Bytes of a shell that are none, and halves of a character that
stand alone, are lone surrogates in Python; no line, file or model takes them, so that each door asks here."""

from __future__ import annotations

from typing import Final

_SHOWN: Final = 20


def fault_of_text(text: str) -> str:
    """What is wrong with a text that is not admitted, to be said behind its name; empty for one that is."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = text[max(0, error.start - _SHOWN) : error.start + _SHOWN]
        return f"holds half characters (lone surrogates), which are no UTF-8, at {around!a}; convert it first"
    return ""


def escaped(text: str) -> str:
    """`text` with each character that does something to a terminal, or that nobody sees, as JSON escapes it (`\\u009b`):
    controls, bidirectional and zero-width characters, halves of a character. Within a string of JSON it means the same."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def in_brief(text: str, most: int = 100) -> str:
    """What somebody else wrote, as it is quoted in a sentence: at most so many characters, escaped."""
    return escaped(text if len(text) <= most else f"{text[:most]}…")


def quoted(value: object) -> str:
    """A value that somebody else wrote, as Python writes it, in brief."""
    return in_brief(repr(value))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
