"""One memory bar: the parts of a device's memory in cells, whom the bar has no room to name, and the figures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from rich.cells import cell_len

from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.graph import share_cells
from citadel_tui.viewmodel.memory_map import Occupancy, Segment, SegmentKind, sum_of
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, cut_middle
from citadel_tui.words.figures import percent_text
from engine.core.sizes import mib, room_mib

SHARES_FROM: Final = 180
"""From this width of the screen on there is room for both percentages."""
_SUM_FROM: Final = 190
"""From here on for the sum, too."""
_LEGIBLE: Final = 8
"""So many cells of a name tell whose it is."""
_TELLING: Final = 5
"""With fewer, a name beside a bar is not worth its cells."""


def bar(parts: Occupancy, paper: Paper) -> Line:
    """The parts, inside and outside the budget, in `width` cells with the left edge and the budget mark."""
    segments = (*parts.inside, *parts.outside)
    cells = _cells(parts, paper.width)
    inside = len(parts.inside)
    spans = [Span(paper.glyphs.start, "dim")]
    for index, (segment, size) in enumerate(zip(segments, cells, strict=True)):
        if index == inside:
            spans.append(Span(paper.glyphs.budget, "mark"))
        spans.extend(_drawn(segment, size, paper) if size else ())
    if inside == len(segments):
        spans.append(Span(paper.glyphs.budget, "mark"))
    return tuple(spans)


def unnamed(parts: Occupancy, paper: Paper) -> tuple[Segment, ...]:
    """The models whose part of a bar as wide as the paper has no room for their names, the largest first."""
    cells = _cells(parts, paper.width)[: len(parts.inside)]
    small = [s for s, size in zip(parts.inside, cells, strict=True) if s.model and not _is_named(s, size, paper)]
    return tuple(sorted(small, key=lambda segment: -segment.size_bytes))


def names_text(models: Sequence[Segment], paper: Paper) -> str:
    """As many of the names as there is room for, with their MiB, and how many there are beside these. Nothing for none."""
    for count in range(len(models), 0, -1):
        more = f" and {len(models) - count} more" if count < len(models) else ""
        text = ", ".join(f"{paper.text(s.model)} {mib(s.size_bytes)}" for s in models[:count]) + f" MiB{more}"
        if cell_len(text) <= paper.width:
            return text
    if not models:
        return ""
    rest = f" {mib(models[0].size_bytes)}" + (f" +{len(models) - 1}" if len(models) > 1 else "")
    room = paper.width - len(rest)
    if room < _TELLING:
        return cut(f"+{len(models)}", paper.width, "")
    return cut_middle(paper.text(models[0].model), room, paper.glyphs.ellipsis) + rest


def _cells(parts: Occupancy, width: int) -> list[int]:
    return share_cells([s.size_bytes for s in (*parts.inside, *parts.outside)], max(width - 2, 0))


def _is_named(segment: Segment, cells: int, paper: Paper) -> bool:
    return cells - 1 >= min(cell_len(paper.text(segment.model)), _LEGIBLE)


def _drawn(segment: Segment, cells: int, paper: Paper) -> Line:
    glyphs = paper.glyphs
    match segment.kind:
        case "held":
            return _held(segment, cells, paper)
        case "ghost":
            return (Span(_named(segment, cells, glyphs.ghost, glyphs), "ghost"),)
        case "leaving":
            return (Span(_named(segment, cells, glyphs.leaving, glyphs), "leaving"),)
        case "leaked" | "room" | "spare" | "context" | "external":
            fill, role = _plain(segment.kind, glyphs)
            return (Span(fill * cells, role),)
        case _:
            assert_never(segment.kind)


def _held(segment: Segment, cells: int, paper: Paper) -> Line:
    """Name, weights, workspace and closing edge; the name lies over the rest as far as there is room."""
    glyphs, body, label = paper.glyphs, paper.colours.block(segment.model), paper.colours.label(segment.model)
    if cells == 1:
        return (Span(glyphs.weights, body),)  # an edge alone would look like the bar's own
    inner = cells - 1
    weights = sum(share_cells([segment.weights_bytes, segment.size_bytes - segment.weights_bytes], inner)[:1])
    name = _name(segment, inner, glyphs)
    fill = (glyphs.weights * weights + glyphs.workspace * (inner - weights))[cell_len(name) :]
    return tuple(s for s in (Span(name, label), Span(fill, body), Span(glyphs.edge, body)) if s.text)


def _named(segment: Segment, cells: int, fill: str, glyphs: Glyphs) -> str:
    if cells == 1:
        return fill
    name = _name(segment, cells - 1, glyphs)
    return name + fill * (cells - 1 - cell_len(name)) + glyphs.edge


def _name(segment: Segment, room: int, glyphs: Glyphs) -> str:
    """In a few cells its beginning, which the name beside the bar explains."""
    name = glyphs.text(segment.model)
    return cut_middle(name, room, glyphs.ellipsis) if room >= _LEGIBLE else cut(name, room, "")


def _plain(kind: SegmentKind, glyphs: Glyphs) -> tuple[str, Role]:
    known: dict[SegmentKind, tuple[str, Role]] = {
        "leaked": (glyphs.leaked, "bad"),
        "room": (glyphs.room, "room"),
        "spare": (" ", "room"),
        "context": (glyphs.context, "outside"),
        "external": (glyphs.external, "outside"),
    }
    return known[kind]


# ── the figures beside it ─────────────────────────────────────────────────────────────────────────


def device_figures(parts: Occupancy, paper: Paper) -> tuple[str, ...]:
    """The columns of a device whose figures are known; an empty text where there is nothing to tell.

    A figure that moves has as many cells as the largest that it can become, so that bars keep their length when it gets a digit.
    """
    sums = sum_of(parts)
    digits = len(str(mib(parts.total_bytes)))
    return (
        f"{sums.charged:>{digits}}/{room_mib(parts.budget_bytes)} MiB",
        _marked(paper.glyphs.workspace, sums.unused, digits),
        _marked(paper.glyphs.leaked, mib(parts.leaked_bytes), 0),
        _marked(paper.glyphs.context, sums.context, 0),
        _marked(paper.glyphs.external, sums.external, digits),
        f"= {sums.used:>{digits}} in use" if paper.width >= _SUM_FROM else "",
        *_shares(parts, paper.width),
    )


def no_figures(glyphs: Glyphs) -> tuple[str, ...]:
    """The columns of a device that tells nothing."""
    return (f"{glyphs.nothing}/{glyphs.nothing} MiB", "", "", "", "", "", "", "")


def tier_figures(parts: Occupancy, kept: str, width: int) -> tuple[str, ...]:
    """The columns of the RAM tier."""
    charge = kept if width < SHARES_FROM else f"{mib(parts.charged_bytes)}/{room_mib(parts.budget_bytes)} MiB"
    return (charge, "", "", "", "", "", *_shares(parts, width))


def _marked(mark: str, size_mib: int, digits: int) -> str:
    return f"{mark}{size_mib}".rjust(1 + digits) if size_mib else ""


def _shares(parts: Occupancy, width: int) -> tuple[str, str]:
    if width < SHARES_FROM:
        return "", ""
    of_budget = percent_text(parts.charged_bytes, parts.budget_bytes)
    of_total = percent_text(parts.used_bytes, parts.total_bytes)
    return f" {of_budget:>4} of budget", f"{of_total:>4} of {room_mib(parts.total_bytes)} MiB total"
