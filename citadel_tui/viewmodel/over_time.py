"""Graphs: on the dashboard memory of the devices and the time that switches took, side by side; on pages what is known of the
past of a device or a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from citadel_tui.viewmodel.dashboard.strips import rule_line, timed_loads
from citadel_tui.viewmodel.graph import graph
from citadel_tui.viewmodel.history import BUCKET_S, TIER
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import section
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.viewmodel.spans import Line, Span, cut, justify, width_of
from citadel_tui.words.figures import seconds_text
from engine.api import Snapshot
from engine.core.names import DeviceId
from engine.core.records import SWITCH_TARGET_S
from engine.core.sizes import mib, room_mib

_BLOCK: Final = 38
"""Least cells of a graph."""
_NARROW: Final = 26
"""The same on a page."""
_GAP: Final = 2
_PAST: Final = 2
"""Buckets that make a graph."""
_PAGE_ROWS: Final = 4


class _Block(NamedTuple):
    title: str
    note: str
    values: Sequence[float | None]
    top: float


def panel_lines(scene: Scene, paper: Paper, rows: int) -> tuple[Line, ...]:
    """A rule, the titles and `rows` rows of graphs: as many devices as there is room for, and the switches last."""
    if scene.snapshot is None:
        return ()
    count = max(paper.width // (_BLOCK + _GAP), 1)
    names = (*scene.snapshot.state.devices, TIER)
    blocks = [*(_memory(scene, scene.snapshot, name) for name in names[: count - 1]), _switches(scene)]
    more = len(names) - (len(blocks) - 1)
    told = f"a column: {BUCKET_S} s or a switch" + (f"; {more} more: keys 0-9 t" if more > 0 else "")
    head = rule_line("OVER TIME", (Span(told, "dim"),), "", paper)
    return (head, *_side_by_side(blocks, paper, rows))


def sensor_lines(scene: Scene, name: DeviceId, paper: Paper) -> tuple[Line, ...]:
    """The section of a page that shows what the sensors of the device `name` said; none before there is a past."""
    past = scene.history
    tracks = {"busy": (past.busy, "%"), "temperature": (past.heat, "°C"), "power": (past.power, "W")}
    blocks = [
        _Block(title, paper.text(f"up to {most} {unit}"), track, 100 if unit == "%" else most)
        for title, (of_devices, unit) in tracks.items()
        for track in (of_devices.get(name, ()),)
        if len(track) >= _PAST
        and (most := max((value for value in track if value is not None), default=None)) is not None
    ]
    each = max(paper.width // (_NARROW + _GAP), 1)
    rows = [_side_by_side(blocks[at : at + each], paper, _PAGE_ROWS) for at in range(0, len(blocks), each)]
    return section(f"Sensors over time, a column is {BUCKET_S} s", (line for lines in rows for line in lines))


def memory_lines(scene: Scene, name: DeviceId, paper: Paper) -> tuple[Line, ...]:
    """The section of a page that shows the memory of the device `name`, or of the RAM tier; none before there is a past."""
    if scene.snapshot is None or len(scene.history.memory.get(name, ())) < _PAST:
        return ()
    block = _memory(scene, scene.snapshot, name)
    return section(f"Memory over time, a column is {BUCKET_S} s", _drawn(block, paper, _PAGE_ROWS))


def demand_lines(scene: Scene, name: str, paper: Paper) -> tuple[Line, ...]:
    """The section of a page that shows how often the model `name` was asked for; none when nobody asked."""
    track = scene.history.requests.get(name, ())
    most = max((value or 0 for value in track), default=0)
    if not most:
        return ()
    block = _Block("requests", f"up to {most} within {BUCKET_S} s", track, most)
    return section(f"Demand over time, a column is {BUCKET_S} s", _drawn(block, paper, _PAGE_ROWS))


def _memory(scene: Scene, snapshot: Snapshot, name: DeviceId) -> _Block:
    track = scene.history.memory.get(name, ())
    known = snapshot.state.devices.get(name)
    total = known.spec.total_bytes if known else snapshot.state.ram.budget_bytes
    most = max((value for value in track if value is not None), default=None)
    whole = "total" if known else "budget"
    note = "nothing known yet" if most is None else f"up to {mib(most)} of {room_mib(total)} MiB {whole}"
    return _Block("RAM tier" if name == TIER else name, note, track, total)


def _switches(scene: Scene) -> _Block:
    times = [switch.total_s for switch in timed_loads(scene.switches())]
    longest = max(times, default=0.0)
    note = f"up to {seconds_text(longest)}, target {SWITCH_TARGET_S:.0f} s" if times else "none yet"
    return _Block("switches", note, times, max(longest, SWITCH_TARGET_S))


def _side_by_side(blocks: Sequence[_Block], paper: Paper, rows: int) -> tuple[Line, ...]:
    each = (paper.width - _GAP * len(blocks)) // len(blocks)
    drawn = [_drawn(block, replace(paper, width=each), rows) for block in blocks]
    joined = (
        tuple(span for line in lines for span in (Span(" "), *line, Span(" "))) for lines in zip(*drawn, strict=True)
    )
    return tuple(paper.filled(line) for line in joined)


def _drawn(block: _Block, paper: Paper, rows: int) -> tuple[Line, ...]:
    title = Span(block.title, "strong")
    note = Span(cut(block.note, max(paper.width - width_of((title,)) - 1, 0), paper.glyphs.ellipsis), "dim")
    drawn = graph(block.values, block.top, paper, rows)
    return (justify((title,), (note,), paper.width), *((Span(row, "graph"),) for row in drawn))
