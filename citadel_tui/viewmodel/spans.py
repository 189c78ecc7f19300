"""Lines of text with roles instead of colours: the form in which every screen is worked out, compared and painted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from rich.cells import cell_len, set_cell_size

Role: TypeAlias = Literal[
    "text",
    "dim",
    "strong",
    "title",
    "key",
    "good",
    "warn",
    "bad",
    "banner",
    "rule",
    "head",
    "block-1",
    "block-2",
    "block-3",
    "block-4",
    "block-5",
    "block-6",
    "name-1",
    "name-2",
    "name-3",
    "name-4",
    "name-5",
    "name-6",
    "ghost",
    "leaving",
    "room",
    "mark",
    "outside",
    "graph",
]
"""What a piece of text is to the reader; the style sheet says how that looks."""


class Span(NamedTuple):
    """Text of one role."""

    text: str
    role: Role = "text"


Line: TypeAlias = tuple[Span, ...]


def width_of(line: Iterable[Span]) -> int:
    """Cells that the line takes."""
    return sum(cell_len(span.text) for span in line)


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """`text`, shortened with an ellipsis when it is wider than `width` cells."""
    if cell_len(text) <= width:
        return text
    if width <= len(ellipsis):
        return set_cell_size(text, max(width, 0))
    return set_cell_size(text, width - len(ellipsis)) + ellipsis


def cut_middle(text: str, width: int, ellipsis: str = "…") -> str:
    """`text`, shortened in its middle when it is wider than `width` cells: what tells names apart is often their end."""
    if cell_len(text) <= width:
        return text
    room = width - len(ellipsis)
    if room < 2:
        return cut(text, width, ellipsis)
    begin = set_cell_size(text, room - room // 2)
    end = ""
    for character in reversed(text):
        if cell_len(character + end) > room // 2:
            break
        end = character + end
    # A character of two cells may leave one of them empty.
    return begin + ellipsis + end + " " * (width - cell_len(begin + ellipsis + end))


def left(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in exactly `width` cells, filled on the right."""
    short = cut(text, width, ellipsis)
    return short + " " * (width - cell_len(short))


def named(name: str, width: int, ellipsis: str = "…") -> str:
    """`name` in exactly `width` cells: cut in its middle, or filled on the right."""
    return left(cut_middle(name, width, ellipsis), width)


def right(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in exactly `width` cells, filled on the left."""
    short = cut(text, width, ellipsis)
    return " " * (width - cell_len(short)) + short


def justify(start: Line, end: Line, width: int) -> Line:
    """`start` at the left edge and `end` at the right one; the caller sees to it that they fit."""
    return (*start, Span(" " * max(width - width_of(start) - width_of(end), 0)), *end)


def filled(line: Line, width: int, ellipsis: str = "…") -> Line:
    """The line in exactly `width` cells: cut with an ellipsis, or filled with blanks."""
    spans: list[Span] = []
    room = width
    for span in line:
        size = cell_len(span.text)
        if size > room:
            spans.append(Span(cut(span.text + ellipsis, room, ellipsis), span.role))
            room = 0
            break
        spans.append(span)
        room -= size
    if room:
        spans.append(Span(" " * room))
    return tuple(spans)


def greyed(line: Line) -> Line:
    """The line as it looks when it is no longer true for certain."""
    return tuple(Span(span.text, "dim") for span in line)


def wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` cells, broken between words where that is possible."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
        while cell_len(line) > width > 0:
            head = set_cell_size(line, width)
            lines.append(head)
            line = line[
                max(len(head.rstrip()), 1) :
            ]  # a wide character has no place in one cell, and must not be waited for
    if line or not lines:
        lines.append(line)
    return lines
