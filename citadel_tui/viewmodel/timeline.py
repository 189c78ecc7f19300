"""The timeline as lines: for each device a lane, in it the stays of models in columns of time, as many rows as there were
residents at once, the largest first. Screen, text and picture are made from the same lines."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple, assert_never

from msgspec import Struct
from rich.cells import cell_len

from citadel_tui.timeline.chronicle import Chronicle, Edge, Failure, Period, Stay, StayEnd
from citadel_tui.viewmodel.dashboard.strips import rule_line
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.log import movement_line
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.place_names import place_text
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Role, Span, cut, left, wrapped
from citadel_tui.viewmodel.time_columns import View, column_text
from citadel_tui.words.figures import age_text, clock_text, count_text, seconds_text
from citadel_tui.words.labels import ASKED_BY
from engine.api import Snapshot
from engine.core.names import DeviceId, ModelName
from engine.core.records import Notice, Switch
from engine.core.state import Resident

_LABEL: Final = 7
"""Least cells before the columns."""
_MORE: Final = 5
"""Of these, those for how many rows of a lane are not shown."""
_LABEL_SHARE: Final = 8
"""A device's name takes at most this part of the width: an eighth."""
EDGE_ROWS: Final = 3
"""Of what is said of an edge: the mark below its column, and two lines."""
_LEAST_TEXT: Final = 12
"""Cells from which on a failure says why."""


def label_width(devices: Iterable[DeviceId], width: int) -> int:
    """Cells before the columns, on paper of that width."""
    longest = max((len(device) for device in devices), default=_LABEL - _MORE)
    return min(longest, max(width // _LABEL_SHARE, _LABEL)) + _MORE


def devices_of(chronicle: Chronicle, snapshot: Snapshot | None) -> tuple[DeviceId, ...]:
    """The engine's, then those that only the past knows."""
    known = tuple(snapshot.state.devices) if snapshot else ()
    past = {stay.device for stay in chronicle.stays} | {device for edge in chronicle.edges for device in edge.devices}
    return (*known, *sorted(past - set(known)))


def loads_of(snapshot: Snapshot | None) -> tuple[Resident, ...]:
    """What is on its way: of residents all that the past doesn't tell."""
    residents = snapshot.state.residents if snapshot else ()
    return tuple(resident for resident in residents if resident.stage in ("pending", "loading"))


# ── lanes ─────────────────────────────────────────────────────────────────────────────────────────


class Moment(Struct, frozen=True):
    """What lanes are drawn from: the past, and what goes on now."""

    chronicle: Chronicle
    now_s: float
    """Nothing later is shown."""
    known_until_s: float
    """What came after is not known."""
    snapshot: Snapshot | None = None


def moment_of(scene: Scene) -> Moment:
    """What the console knows now; nothing since the line was lost."""
    known_until_s = scene.now_s if scene.lost is None else min(scene.now_s - scene.silent_s, scene.now_s)
    return Moment(scene.past, scene.now_s, known_until_s, scene.snapshot if scene.lost is None else None)


class _Bar(NamedTuple):
    """Something that takes a row of its own from when to when."""

    from_s: float
    until_s: float
    size_bytes: int
    shown: Stay | Failure | Resident


class _Lane(NamedTuple):
    """A device's bars in as many rows as it takes, and the times of its troubles, before anything is drawn."""

    device: DeviceId
    rows: list[list[_Bar]]
    troubles: list[float]


def lanes(
    moment: Moment, devices: Sequence[DeviceId], view: View, paper: Paper, most: int | None = None
) -> list[list[Line]]:
    """For each device its rows, at least one, each as wide as the paper; where there are at most `most` rows, of those devices
    that they are given to. The others' are not drawn."""
    label = label_width(devices, paper.width)
    columns = view.columns(moment.now_s, max(paper.width - label, 0))
    known = _lanes(moment, devices, columns, view.column_s)
    fitting = [(lane, len(lane.rows)) for lane in known] if most is None else _fitting(known, most)
    canvas = _Canvas(moment, columns, view.column_s, paper, label)
    return [canvas.lane(lane, kept) for lane, kept in fitting]


def _lanes(moment: Moment, devices: Sequence[DeviceId], columns: range, column_s: int) -> list[_Lane]:
    """One for each device, with at least one row."""
    bars: dict[DeviceId, list[_Bar]] = {device: [] for device in devices}
    for device, bar in _bars(moment, columns, column_s):
        if device in bars:
            bars[device].append(bar)
    troubles: dict[DeviceId, list[float]] = {}
    for edge in moment.chronicle.edges:
        if edge.kind == "trouble" and columns.start * column_s <= edge.at_s <= moment.now_s:
            for device in edge.devices:
                troubles.setdefault(device, []).append(edge.at_s)
    return [_Lane(device, _side_by_side(bars[device]), troubles.get(device, [])) for device in devices]


def _bars(moment: Moment, columns: range, column_s: int) -> Iterator[tuple[DeviceId, _Bar]]:
    """What is in sight. Of stays that are over within a column, one stands for all of its model: thousands may be."""
    begin_s, end_s = columns.start * column_s, min(columns.stop * column_s, moment.now_s)
    short: set[tuple[int, DeviceId, ModelName, StayEnd]] = set()
    for stay in moment.chronicle.stays:
        until_s = moment.known_until_s if stay.ended_s is None else stay.ended_s
        if stay.ready_s > end_s or until_s < begin_s:
            continue
        column = int(stay.ready_s // column_s)
        if until_s < (column + 1) * column_s:
            alike = (column, stay.device, stay.model, stay.end)
            if alike in short:
                continue
            short.add(alike)
        yield stay.device, _Bar(stay.ready_s, max(min(until_s, moment.now_s), stay.ready_s), stay.size_bytes, stay)
    for failed in moment.chronicle.failures:
        if begin_s <= failed.at_s <= end_s:
            yield failed.device, _Bar(failed.came_s, failed.at_s, 0, failed)
    for resident in loads_of(moment.snapshot):
        if moment.known_until_s >= begin_s:
            since_s, size_bytes = min(resident.since_s, moment.now_s), resident.footprint.total_bytes
            yield resident.device, _Bar(since_s, max(moment.known_until_s, since_s), size_bytes, resident)


def _side_by_side(bars: Sequence[_Bar]) -> list[list[_Bar]]:
    """The bars in rows in which none is at the time of another, the largest in the first; one empty row for none."""
    rows: list[list[_Bar]] = [[]]
    for bar in sorted(bars, key=lambda bar: (-bar.size_bytes, bar.from_s)):
        for row in rows:
            at = bisect_left(row, bar.from_s, key=lambda other: other.from_s)
            if (not at or row[at - 1].until_s <= bar.from_s) and (at == len(row) or bar.until_s <= row[at].from_s):
                row.insert(at, bar)
                break
        else:
            rows.append([bar])
    return rows


class _Cell(NamedTuple):
    text: str
    role: Role


class _Canvas:
    """Draws rows on columns of time."""

    def __init__(self, moment: Moment, columns: range, column_s: int, paper: Paper, label: int) -> None:
        """`label`: cells before the columns."""
        self._label = label
        self._now_s = moment.now_s
        self._columns = columns
        self._column_s = column_s
        self._paper = paper
        self._blank = self._blanks(moment)
        self._begin_s, self._end_s = columns.start * column_s, columns.stop * column_s
        self._watched = self._touched(moment.chronicle.looks)
        self._out: Final = _Cell(paper.glyphs.out, "leaving")
        self._bad: Final = _Cell("!", "bad")

    def lane(self, lane: _Lane, kept: int) -> list[Line]:
        """So many of its rows, behind the device's name; the last says how many are not shown."""
        hidden = len(lane.rows) - kept
        drawn: list[Line] = []
        for number, row in enumerate(lane.rows[:kept], 1):
            name = (
                f" {place_text(lane.device, self._label - _MORE, self._paper.glyphs.ellipsis)}" if number == 1 else ""
            )
            more = f"+{hidden} " if hidden and number == kept else ""
            cells = self._row(row, lane.troubles if number == 1 else ())
            drawn.append((Span(left(name, self._label - len(more)) + more, "strong"), *cells))
        return drawn

    def _row(self, bars: Sequence[_Bar], troubles: Sequence[float] = ()) -> Line:
        """The bars, oldest first, then the marks of what ended them or went wrong, which nothing hides, then why."""
        cells = list(self._blank)
        marks = {self._column(at_s): self._bad for at_s in troubles if at_s <= self._now_s}
        for bar in bars:
            if (mark := self._mark(bar.shown)) is not None:
                marks[self._column(bar.until_s)] = mark
        for bar in bars:
            self._draw(bar, cells, marks)
        for at, mark in marks.items():
            if 0 <= at < len(cells):
                cells[at] = mark
        for bar in bars:
            if isinstance(bar.shown, Failure):
                self._say(cells, self._column(bar.until_s) + 1, f"{bar.shown.model} failed: {bar.shown.reason}")
        return _joined(cells)

    def _mark(self, shown: Stay | Failure | Resident) -> _Cell | None:
        """For how it ended, if that has come and is worth one."""
        match shown:
            case Failure():
                return self._bad
            case Stay(ended_s=float(ended_s), end=end) if ended_s <= self._now_s:
                return {"victim": self._out, "lost": self._bad}.get(end)
            case _:
                return None

    def _draw(self, bar: _Bar, cells: list[_Cell], marks: Mapping[int, _Cell]) -> None:
        shown, colours = bar.shown, self._paper.colours
        seen = [at for at in self._between(bar.from_s, bar.until_s) if at not in marks]
        match shown:
            case Stay():
                if shown.came_s is not None:
                    self._ghost(cells, self._between(shown.came_s, shown.ready_s))
                used = self._touched(shown.uses)
                for at in seen:
                    cells[at] = _Cell(self._shade(at, used), colours.block(shown.model))
                self._name(cells, seen, shown.model, colours.label(shown.model))
            case Resident():
                self._ghost(cells, seen)
                self._name(cells, seen, shown.model, "ghost")
            case Failure():
                self._ghost(cells, seen)
            case _:
                assert_never(shown)

    def _shade(self, at: int, used: Container[int]) -> str:
        """Whether it answered within the column, or was idle, or nobody watched."""
        glyphs = self._paper.glyphs
        return glyphs.weights if at in used else glyphs.workspace if at in self._watched else glyphs.unwatched

    def _ghost(self, cells: list[_Cell], columns: Iterable[int]) -> None:
        """A load, where nobody else is."""
        for at in columns:
            if cells[at] == self._blank[at]:
                cells[at] = _Cell(self._paper.glyphs.ghost, "ghost")

    def _name(self, cells: list[_Cell], columns: Sequence[int], model: ModelName, role: Role) -> None:
        """Behind a cell that says what it does; alone where there is but one, since a colour alone says nothing."""
        for at, letter in zip(columns[1:] or columns, self._text(model), strict=False):
            cells[at] = _Cell(letter, role)

    def _say(self, cells: list[_Cell], begin: int, text: str) -> None:
        """Words over what is free, if there is room for enough of them."""
        end = begin
        while 0 <= end < len(cells) and cells[end] == self._blank[end]:
            end += 1
        if end - begin >= _LEAST_TEXT:
            for at, letter in enumerate(cut(self._text(text), end - begin, self._paper.glyphs.ellipsis), begin):
                cells[at] = _Cell(letter, "bad")

    def _blanks(self, moment: Moment) -> list[_Cell]:
        """Free budget where it is known that nobody was there; nothing else."""
        nothing, chronicle = _Cell(" ", "text"), moment.chronicle
        cells = [nothing] * len(self._columns)
        if chronicle.since_s is not None:
            for at in self._between(chronicle.since_s, moment.known_until_s):
                cells[at] = _Cell(self._paper.glyphs.room, "room")
        for gap in chronicle.gaps:
            # Not the columns that it begins and ends in, in which there was an engine.
            for at in self._between(gap.from_s + self._column_s, gap.until_s - self._column_s):
                cells[at] = nothing
        return cells

    def _touched(self, periods: Iterable[Period]) -> set[int]:
        """The columns in sight that have some of these."""
        in_sight = (p for p in periods if p.until_s >= self._begin_s and p.from_s < self._end_s)
        return {at for period in in_sight for at in self._between(period.from_s, period.until_s)}

    def _column(self, at_s: float) -> int:
        return int(at_s // self._column_s) - self._columns.start

    def _between(self, from_s: float, until_s: float) -> range:
        """The columns in sight that have some of that time."""
        return range(max(self._column(from_s), 0), min(self._column(until_s), len(self._columns) - 1) + 1)

    def _text(self, raw: str) -> str:
        """One cell a character."""
        return "".join(letter if cell_len(letter) == 1 else "?" for letter in self._paper.text(raw))


def _joined(cells: Iterable[_Cell]) -> Line:
    return tuple(Span("".join(cell.text for cell in run), role) for role, run in groupby(cells, lambda cell: cell.role))


# ── the whole ─────────────────────────────────────────────────────────────────────────────────────


def timeline_lines(
    moment: Moment, devices: Sequence[DeviceId], view: View, paper: Paper, *, rows: int | None = None, note: str = ""
) -> tuple[Line, ...]:
    """The rule, which says what is shown, and the lanes; where there are at most `rows` for these, what hides is said."""
    label = label_width(devices, paper.width)
    columns = view.columns(moment.now_s, max(paper.width - label, 0))
    drawn = lanes(moment, devices, view, paper, rows)
    hidden = len(devices) - len(drawn)
    told = _when(moment, columns, view) + (f"; {count_text(hidden, 'device', 'devices')} more" if hidden else "")
    head = rule_line("TIMELINE", (Span(told, "dim"),), note, paper)
    if moment.chronicle.since_s is None:
        return (head, paper.filled((Span(" nothing is known of the past yet", "dim"),)))
    if not devices:
        return (head, paper.filled((Span(" as far as is recorded, nothing was loaded on any device", "dim"),)))
    return (head, *(paper.filled(line) for lane in drawn for line in lane))


def _when(moment: Moment, columns: range, view: View) -> str:
    begin, end = (datetime.fromtimestamp(at * view.column_s) for at in (columns.start, columns.stop))
    today = datetime.fromtimestamp(moment.now_s).date()
    form = "%H:%M:%S" if view.column_s < 10 else "%H:%M"
    until = min(end, datetime.fromtimestamp(moment.now_s))
    texts = [at.strftime(form if at.date() == today else f"%m-%d {form}") for at in (begin, until)]
    return f"{texts[0]} to {texts[1]}, a column is {column_text(view.column_s)}"


def _fitting(lanes: Sequence[_Lane], rows: int) -> list[tuple[_Lane, int]]:
    """Which lanes are shown, and how many rows of each: one, of those first in which anything was, then more for each as long as
    there are some."""
    by_worth = sorted(range(len(lanes)), key=lambda number: not (lanes[number].rows[0] or lanes[number].troubles))
    shown = [lanes[number] for number in sorted(by_worth[: max(rows, 0)])]
    given = [1] * len(shown)
    spare = rows - len(shown)
    for _ in range(max((len(lane.rows) for lane in shown), default=0)):
        for number, lane in enumerate(shown):
            if spare > 0 and given[number] < len(lane.rows):
                given[number] += 1
                spare -= 1
    return list(zip(shown, given, strict=True))


# ── an edge ───────────────────────────────────────────────────────────────────────────────────────


def edges_of(moment: Moment) -> list[Edge]:
    """Those that have come, in their order in time."""
    return sorted((edge for edge in moment.chronicle.edges if edge.at_s <= moment.now_s), key=lambda edge: edge.at_s)


def edge_lines(edge: Edge, moment: Moment, devices: Sequence[DeviceId], view: View, paper: Paper) -> tuple[Line, ...]:
    """A mark below the edge's column, and what happened then, in up to two lines."""
    label = label_width(devices, paper.width)
    columns = view.columns(moment.now_s, max(paper.width - label, 0))
    at = int(edge.at_s // view.column_s)
    pointer = (Span(" " * (label + at - columns.start)), Span(paper.glyphs.pointer, "key")) if at in columns else ()
    told = wrapped(edge_text(edge, moment, paper.glyphs), paper.width - 2)[: EDGE_ROWS - 1]
    role: Role = "bad" if edge.kind in ("failure", "trouble") else "text"
    return (paper.filled(pointer), *(paper.filled((Span(f" {line}", role),)) for line in told))


def edge_text(edge: Edge, moment: Moment, glyphs: Glyphs) -> str:
    """What happened, how long it took, and who asked."""
    when = clock_text(edge.at_s)
    entry = edge.record.entry if edge.record else None
    match entry:
        case Switch():
            moved = "".join(span.text for span in movement_line(entry.plan, glyphs))
            told = f"{seconds_text(entry.total_s)}, predicted {seconds_text(entry.predicted.p50_s)}"
            failed = f"; {entry.outcome}: {glyphs.text(entry.reason)}" if entry.outcome != "done" else ""
            return f"{when} {moved}  {told}; asked by {ASKED_BY[entry.origin]}{failed}"
        case Notice():
            return f"{when} {glyphs.text(entry.text)}"
        case _:
            gap = next((gap for gap in moment.chronicle.gaps if gap.until_s == edge.at_s), None)
            down = (
                f", {age_text(gap.until_s - gap.from_s)} after the last that is known of the one before" if gap else ""
            )
            return f"{when} the engine started{down}"


def legend_lines(paper: Paper) -> tuple[Line, ...]:
    """What the marks in the lanes mean."""
    glyphs = paper.glyphs
    marks = (
        (glyphs.weights, "answering"),
        (glyphs.workspace, "idle"),
        (glyphs.unwatched, "not watched"),
        (glyphs.ghost, "loading"),
        (glyphs.out, "made room"),
        ("!", "failed"),
        (glyphs.room, "free"),
        ("blank", "not known, or no engine"),
    )
    told = wrapped(", ".join(f"{mark} {word}" for mark, word in marks), paper.width - 2)
    return tuple(paper.filled((Span(f" {line}", "dim"),)) for line in told)
