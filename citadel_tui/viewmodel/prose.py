"""The building blocks of pages: headings, facts with a label, and sentences that wrap."""

from __future__ import annotations

from collections.abc import Iterable

from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line, Role, Span, left, wrapped


def heading(text: str) -> Line:
    return (Span(text, "head"),)


def fact(label: str, value: str, width: int, label_width: int, role: Role = "text") -> tuple[Line, ...]:
    """A label and what belongs to it, wrapped behind the label."""
    pieces = wrapped(value, max(width - label_width - 1, 1))
    first = (Span(left(label, label_width) + " ", "dim"), Span(pieces[0], role))
    return (first, *((Span(" " * (label_width + 1)), Span(piece, role)) for piece in pieces[1:]))


def sentences(texts: Iterable[str], paper: Paper, role: Role = "text") -> tuple[Line, ...]:
    """Each text as a point of a list, wrapped."""
    return tuple(line for text in texts for line in _point(paper.text(text), paper, role))


def _point(text: str, paper: Paper, role: Role) -> list[Line]:
    pieces = wrapped(text, max(paper.width - 3, 1))
    marks = [f" {paper.glyphs.bullet} "] + ["   "] * (len(pieces) - 1)
    return [(Span(mark, "dim"), Span(piece, role)) for mark, piece in zip(marks, pieces, strict=True)]


def section(title: str, lines: Iterable[Line]) -> tuple[Line, ...]:
    """A blank line, a heading and its lines; nothing when there are no lines."""
    body = tuple(lines)
    return ((), heading(title), *body) if body else ()
