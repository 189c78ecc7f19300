"""The rows of memory bars: one for each device, one for the RAM tier, with figures that the bars agree with.

A device without figures has words in the bar's place, never an empty bar; one whose figures are old has them greyed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, assert_never

from msgspec.structs import replace
from rich.cells import cell_len

from citadel_tui.actions import DEVICE_IDS
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.graph import share_cells
from citadel_tui.viewmodel.memory_map import Occupancy, Segment, SegmentKind, occupancy, sum_of, tier_occupancy
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, filled, greyed, left, right, width_of, wrapped
from citadel_tui.viewmodel.trouble import has_figures, health_role, health_text
from citadel_tui.words.figures import percent_text
from engine.api import Snapshot
from engine.core.names import DeviceId
from engine.core.planning.ram_tier import tier_slabs
from engine.core.sizes import mib
from engine.core.state import DeviceState, State

WIDE: Final = 110
"""From here on a row has room for the device's title and both percentages."""
_WIDEST: Final = 150
"""From here on it has room for the sum, too."""
_INSIDE: Final[tuple[SegmentKind, ...]] = ("held", "ghost", "leaving", "leaked", "room")
_BUSY_FROM: Final = 80
"""From here on a row has room for how busy the device is."""
_LABEL: Final = 6
_TITLE: Final = 28
_REASON_LINES: Final = 2


def bar_rows(snapshot: Snapshot, paper: Paper, most: int, now_s: float) -> tuple[Line, ...]:
    """At most `most` rows, each as wide as the paper, their bars of one length.

    Devices that there is no room for are one row together. A device in trouble has up to two rows more, where they fit.
    """
    devices = tuple(snapshot.state.devices.values())
    shown = shown_devices(devices, most - 1)
    rows = [_device_row(known, snapshot, paper, now_s) for known in devices if known.spec.id in shown]
    rows += _folded_row([known for known in devices if known.spec.id not in shown], snapshot, paper)
    rows.append(_tier_row(snapshot.state, paper.width))
    head = max(len(row.head) for row in rows)
    columns = [max(map(len, column)) for column in zip(*(row.figures for row in rows), strict=True)]
    label = max(_LABEL, *(len(row.label) + 2 for row in rows))
    room = max(paper.width - label - head - sum(size + 1 for size in columns if size) - 1, 0)
    lines: list[Line] = []
    spare = most - len(rows)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        lines.append(_line(row, label, head, room, columns, paper))
        # A broken driver gives all its cards the same reason, which stands once, under the last of them.
        if following is None or not _is_said_by(following, row):
            below = _below(row, label, room, paper)[: max(spare, 0)]
            lines.extend(below)
            spare -= len(below)
    return tuple(paper.filled(line) for line in lines)


class _Row(NamedTuple):
    label: str
    head: str
    parts: Occupancy | None
    """What the bar is made of; None where the device has no figures."""
    figures: tuple[str, ...]
    health: str = ""
    """Empty when all is well."""
    reason: str = ""
    role: Role = "text"


def _device_row(known: DeviceState, snapshot: Snapshot, paper: Paper, now_s: float) -> _Row:
    reading, parts = known.reading, None
    figures = no_figures(paper.glyphs)
    if has_figures(reading):
        parts = occupancy(snapshot, known.spec.id)
        figures = device_figures(parts, paper)
    row = _Row(known.spec.id, _head(known, paper), parts, figures)
    if reading.health == "ok":
        return row
    words = health_text(reading, now_s, paper.glyphs), paper.text(reading.reason), health_role(reading)
    return _Row(*row[:4], *words)


def _folded_row(hidden: Sequence[DeviceState], snapshot: Snapshot, paper: Paper) -> list[_Row]:
    """One row for all of `hidden`; those that tell nothing are counted and add nothing. No row for none."""
    if not hidden:
        return []
    telling = [occupancy(snapshot, known.spec.id) for known in hidden if has_figures(known.reading)]
    ill = sum(known.reading.health != "ok" for known in hidden)
    which = f"{hidden[0].spec.id} to {hidden[-1].spec.id} " if paper.width >= WIDE else ""
    head = which + (f"{paper.glyphs.no} {ill} not ok " if ill else "")
    label = f"+{len(hidden)}"
    if not telling:
        nothing = f"{paper.glyphs.no} none tells anything"
        return [_Row(label, head, None, no_figures(paper.glyphs), nothing, role="bad")]
    parts = together(telling)
    return [_Row(label, head, parts, device_figures(parts, paper))]


def _tier_row(state: State, width: int) -> _Row:
    kept = f"{len(tier_slabs(state))}/{state.ram.max_models} kept"
    parts = tier_occupancy(state)
    return _Row("ram", f"RAM tier, {kept}" if width >= WIDE else "", parts, tier_figures(parts, kept, width))


def _head(known: DeviceState, paper: Paper) -> str:
    """The device's title, temperature and how busy it is, as far as it tells and there is room; that it is stale instead."""
    reading = known.reading
    degrees, percent = reading.temperature_c, reading.utilization_percent
    sensors = [
        "" if degrees is None else paper.text(f"{degrees}°C"),
        "" if percent is None or paper.width < _BUSY_FROM else f"{percent:>3}%",
    ]
    if has_figures(reading) and reading.health != "ok":
        sensors = [f"{paper.glyphs.no} {reading.health}"]
    title = cut(paper.text(known.spec.title), _TITLE, paper.glyphs.ellipsis) if paper.width >= WIDE else ""
    return "".join(f"{part} " for part in (title, *sensors) if part)


def _line(row: _Row, label: int, head: int, room: int, columns: list[int], paper: Paper) -> Line:
    figures = "".join(" " + right(text, size) for text, size in zip(row.figures, columns, strict=True) if size)
    body = _body(row, room, paper)
    told: Role = "dim" if row.health else "text"
    name = Span(left(f" {row.label}", label), "strong")
    return (name, Span(left(row.head, head), "dim"), *body, Span(figures + " ", told))


def _body(row: _Row, room: int, paper: Paper) -> Line:
    """The bar, or words in its place."""
    if row.parts is not None:
        drawn = bar(row.parts, replace(paper, width=room))
        return greyed(drawn) if row.health else drawn
    words = (Span(_sentence(row), row.role),)
    fits = width_of(words) <= room
    return filled(words if fits else (Span(row.health, row.role),), room, paper.glyphs.ellipsis)


def _is_said_by(following: _Row, row: _Row) -> bool:
    """Whether the next row's words are this one's, too. Only a driver that hangs makes cards stale, and then all of them."""
    if row.parts is not None and following.parts is not None:
        return bool(row.health and following.health)
    return row.parts is following.parts and row.reason == following.reason


def _below(row: _Row, label: int, room: int, paper: Paper) -> tuple[Line, ...]:
    """What the row itself has no room to say of its trouble, in two lines; cut short, it names the key of the device's page."""
    words = _sentence(row) if row.parts is not None else row.reason
    if not row.health or not words or (row.parts is None and width_of((Span(_sentence(row)),)) <= room):
        return ()
    inner = paper.width - label - 1
    pieces = wrapped(words, inner)
    if len(pieces) > _REASON_LINES:
        more = paper.glyphs.ellipsis + _key_of_page(row.label)
        pieces = [
            *pieces[: _REASON_LINES - 1],
            cut(pieces[_REASON_LINES - 1], inner - width_of((Span(more),)), "") + more,
        ]
    return tuple((Span(" " * label), Span(piece, row.role)) for piece in pieces)


def _key_of_page(device: str) -> str:
    return f" (key {device[-1]} shows all)" if device in DEVICE_IDS else ""


def _sentence(row: _Row) -> str:
    return f"{row.health}: {row.reason}" if row.reason else row.health


# ── one bar ───────────────────────────────────────────────────────────────────────────────────────


def bar(parts: Occupancy, paper: Paper) -> Line:
    """The parts, inside and outside the budget, in `width` cells with the left edge and the budget mark."""
    segments = (*parts.inside, *parts.outside)
    cells = share_cells([s.size_bytes for s in segments], max(paper.width - 2, 0))
    inside = len(parts.inside)
    spans = [Span(paper.glyphs.start, "dim")]
    for index, (segment, size) in enumerate(zip(segments, cells, strict=True)):
        if index == inside:
            spans.append(Span(paper.glyphs.budget, "mark"))
        spans.extend(_drawn(segment, size, paper) if size else ())
    if inside == len(segments):
        spans.append(Span(paper.glyphs.budget, "mark"))
    return tuple(spans)


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
    inner = cells - 1
    weights = sum(share_cells([segment.weights_bytes, segment.size_bytes - segment.weights_bytes], inner)[:1])
    name = cut(glyphs.text(segment.model), inner, "")
    fill = (glyphs.weights * weights + glyphs.workspace * (inner - weights))[cell_len(name) :]
    return tuple(s for s in (Span(name, label), Span(fill, body), Span(glyphs.edge, body)) if s.text)


def _named(segment: Segment, cells: int, fill: str, glyphs: Glyphs) -> str:
    name = cut(glyphs.text(segment.model), cells - 1, "")
    return name + fill * (cells - 1 - cell_len(name)) + glyphs.edge


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
    """The columns of a device whose figures are known; an empty text where there is nothing to tell."""
    sums = sum_of(parts)
    return (
        f"{sums.charged}/{mib(parts.budget_bytes)} MiB",
        _marked(paper.glyphs.workspace, sums.unused),
        _marked(paper.glyphs.leaked, mib(parts.leaked_bytes)),
        _marked(paper.glyphs.context, sums.context),
        _marked(paper.glyphs.external, sums.external),
        f"= {sums.used} in use" if paper.width >= _WIDEST else "",
        *_shares(parts, paper.width),
    )


def no_figures(glyphs: Glyphs) -> tuple[str, ...]:
    """The columns of a device that tells nothing."""
    return (f"{glyphs.nothing}/{glyphs.nothing} MiB", "", "", "", "", "", "", "")


def tier_figures(parts: Occupancy, kept: str, width: int) -> tuple[str, ...]:
    """The columns of the RAM tier."""
    charge = kept if width < WIDE else f"{mib(parts.charged_bytes)}/{mib(parts.budget_bytes)} MiB"
    return (charge, "", "", "", "", "", *_shares(parts, width))


def _marked(mark: str, size_mib: int) -> str:
    return f"{mark}{size_mib}" if size_mib else ""


def _shares(parts: Occupancy, width: int) -> tuple[str, str]:
    if width < WIDE:
        return "", ""
    of_budget = percent_text(parts.charged_bytes, parts.budget_bytes)
    of_total = percent_text(parts.charged_bytes, parts.total_bytes)
    return f" {of_budget:>4} of budget", f"{of_total:>4} of total"


# ── devices that there is no room for ─────────────────────────────────────────────────────────────


def shown_devices(devices: Sequence[DeviceState], most: int) -> frozenset[DeviceId]:
    """At most `most` of the devices: those in trouble first, then as they come; all when they fit."""
    if len(devices) <= most:
        return frozenset(known.spec.id for known in devices)
    by_need = sorted(devices, key=lambda known: known.reading.health == "ok")
    # One row less: it is the one that stands for all the others.
    return frozenset(known.spec.id for known in by_need[: max(most - 1, 0)])


def together(parts: Sequence[Occupancy]) -> Occupancy:
    """Several devices' memory as one."""
    return Occupancy(
        inside=_merged((s for p in parts for s in p.inside), _INSIDE),
        outside=_merged((s for p in parts for s in p.outside), ("spare", "context", "external")),
        charged_bytes=sum(p.charged_bytes for p in parts),
        budget_bytes=sum(p.budget_bytes for p in parts),
        total_bytes=sum(p.total_bytes for p in parts),
        leaked_bytes=sum(p.leaked_bytes for p in parts),
        context_bytes=sum(p.context_bytes for p in parts),
        external_bytes=sum(p.external_bytes for p in parts),
        unused_bytes=sum(p.unused_bytes for p in parts),
    )


def _merged(segments: Iterable[Segment], kinds: Sequence[SegmentKind]) -> tuple[Segment, ...]:
    """One segment of each kind that there is."""
    found = tuple(segments)
    merged = []
    for kind in kinds:
        same = [s for s in found if s.kind == kind]
        if same:
            sizes = sum(s.size_bytes for s in same), sum(s.weights_bytes for s in same)
            merged.append(Segment(kind, sizes[0], weights_bytes=sizes[1]))
    return tuple(merged)
