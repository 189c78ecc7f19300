"""One memory bar: the parts of a device drawn in exactly as many cells as there are."""

from __future__ import annotations

from typing import Final, assert_never

from rich.cells import cell_len

from citadel_tui.viewmodel.cells import share
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.memory_map import Kind, Occupancy, Segment
from citadel_tui.viewmodel.spans import Line, Role, Span, cut

_BLOCKS: Final[tuple[tuple[Role, Role], tuple[Role, Role]]] = (("block-a", "name-a"), ("block-b", "name-b"))
"""Neighbours differ in colour as well as being parted by an edge."""


def bar(parts: Occupancy, width: int, glyphs: Glyphs) -> Line:
    """The parts, inside and outside the budget, in `width` cells with the left edge and the budget mark."""
    segments = (*parts.inside, *parts.outside)
    cells = share([s.size_bytes for s in segments], max(width - 2, 0))
    inside = len(parts.inside)
    spans = [Span(glyphs.start, "dim")]
    for index, (segment, size) in enumerate(zip(segments, cells, strict=True)):
        if index == inside:
            spans.append(Span(glyphs.budget, "mark"))
        spans.extend(_drawn(segment, size, _BLOCKS[index % 2], glyphs) if size else ())
    if inside == len(segments):
        spans.append(Span(glyphs.budget, "mark"))
    return tuple(spans)


def _drawn(segment: Segment, cells: int, block: tuple[Role, Role], glyphs: Glyphs) -> Line:
    match segment.kind:
        case "held":
            return _held(segment, cells, block, glyphs)
        case "ghost":
            return (Span(_named(segment, cells, glyphs.ghost, glyphs), "ghost"),)
        case "leaving":
            return (Span(_named(segment, cells, glyphs.leaving, glyphs), "leaving"),)
        case "leaked" | "room" | "spare" | "context" | "external":
            fill, role = _plain(segment.kind, glyphs)
            return (Span(fill * cells, role),)
        case _:
            assert_never(segment.kind)


def _held(segment: Segment, cells: int, block: tuple[Role, Role], glyphs: Glyphs) -> Line:
    """Name, weights, workspace and closing edge; the name lies over the rest as far as there is room."""
    body, label = block
    inner = cells - 1
    weights = sum(share([segment.weights_bytes, segment.size_bytes - segment.weights_bytes], inner)[:1])
    name = cut(glyphs.text(segment.model), inner, "")
    fill = (glyphs.weights * weights + glyphs.workspace * (inner - weights))[cell_len(name) :]
    return tuple(s for s in (Span(name, label), Span(fill, body), Span(glyphs.edge, body)) if s.text)


def _named(segment: Segment, cells: int, fill: str, glyphs: Glyphs) -> str:
    name = cut(glyphs.text(segment.model), cells - 1, "")
    return name + fill * (cells - 1 - cell_len(name)) + glyphs.edge


def _plain(kind: Kind, glyphs: Glyphs) -> tuple[str, Role]:
    known: dict[Kind, tuple[str, Role]] = {
        "leaked": (glyphs.leaked, "bad"),
        "room": (glyphs.room, "room"),
        "spare": (" ", "room"),
        "context": (glyphs.context, "outside"),
        "external": (glyphs.external, "outside"),
    }
    return known[kind]
