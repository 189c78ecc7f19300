"""The building blocks of pages: headings, facts with a label, and sentences that wrap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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


def share_cells(sizes: Sequence[int], cells: int) -> list[int]:
    """Cells for each size by largest remainder; every size over zero gets one while there are enough."""
    total = sum(sizes)
    if total <= 0 or cells <= 0:
        return [0] * len(sizes)
    given = [size * cells // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (-(sizes[i] * cells % total), i))
    for index in by_remainder[: cells - sum(given)]:
        given[index] += 1
    return _with_small_ones_seen(sizes, given)


def _with_small_ones_seen(sizes: Sequence[int], given: list[int]) -> list[int]:
    for index, size in enumerate(sizes):
        if size <= 0 or given[index]:
            continue
        richest = max(range(len(given)), key=given.__getitem__)
        if given[richest] < 2:
            break
        given[richest] -= 1
        given[index] = 1
    return given
