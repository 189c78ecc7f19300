"""What other programs hold on cards, as lines: whose each is, how much, for how long it has run and how it was started."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from citadel_tui.viewmodel.dashboard.strips import rule_line
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.place_names import places_text
from citadel_tui.viewmodel.spans import Line, Span, cut_middle, left, right, width_of
from citadel_tui.viewmodel.trouble import has_figures
from citadel_tui.words.figures import age_text
from engine.core.devices import Neighbour
from engine.core.names import box_of
from engine.core.sizes import mib
from engine.core.state import DeviceState

_DEVICE: Final = 12
_USER: Final = 10
_PID: Final = 8
_SIZE: Final = 7
_TIME: Final = 7


class Program(NamedTuple):
    """A process that is not ours, and where it holds memory."""

    devices: str
    """The card, or all slices of it."""
    process: Neighbour


def programs(devices: Iterable[DeviceState]) -> list[Program]:
    """Each process on a card once for that card, the largest first."""
    found: dict[tuple[str, str, int], Program] = {}
    for known in devices:
        if not known.spec.on_card or not has_figures(known.reading):
            continue
        for process in known.reading.neighbours:
            card = (box_of(known.spec.id), known.spec.backing, process.pid)
            before = found.get(card)
            names = f"{before.devices} {known.spec.id}" if before else known.spec.id
            found[card] = Program(names, process)
    return sorted(found.values(), key=lambda program: (-(program.process.used_bytes or 0), program.process.pid))


def program_lines(
    found: Sequence[Program], now_s: float, paper: Paper, *, with_device: bool, most: int | None = None
) -> tuple[Line, ...]:
    """The titles and a row for each of the programs; of more than `most` rows the last says how many are left out."""
    device = left(" DEVICE", _DEVICE) if with_device else ""
    titles = (
        f"{device} {left('USER', _USER)} {right('PID', _PID)} {right('MiB', _SIZE)} {right('TIME', _TIME)}  COMMAND"
    )
    shown = found if most is None or len(found) <= most else found[: most - 1]
    rows = [_line(program, now_s, paper, with_device=with_device) for program in shown]
    if len(shown) < len(found):
        hidden = found[len(shown) :]
        size = mib(sum(program.process.used_bytes or 0 for program in hidden))
        rows.append((Span(f" and {len(hidden)} more, {size} MiB: the devices' pages have them all", "dim"),))
    return ((Span(titles, "head"),), *rows)


def _line(program: Program, now_s: float, paper: Paper, *, with_device: bool) -> Line:
    process = program.process
    device = ""
    if with_device:
        device = left(f" {places_text(program.devices, _DEVICE - 1, paper.glyphs.ellipsis)}", _DEVICE)
    user = left(paper.text(process.user) or paper.glyphs.nothing, _USER, paper.glyphs.ellipsis)
    size = paper.glyphs.nothing if process.used_bytes is None else str(mib(process.used_bytes))
    time = paper.glyphs.nothing if process.started_s is None else age_text(now_s - process.started_s)
    facts = f"{device} {user} {right(str(process.pid), _PID)} {right(size, _SIZE)} {right(time, _TIME)}  "
    command = paper.text(process.command or process.name) or "its name can't be seen"
    room = max(paper.width - width_of((Span(facts),)), 0)
    return (Span(facts), Span(cut_middle(command, room, paper.glyphs.ellipsis), "strong"))


def programs_wants(found: Sequence[Program]) -> int:
    """Rows that the panel would fill: the rule, the titles and its programs; none where there are none."""
    return len(found) and len(found) + 2


def programs_panel(found: Sequence[Program], now_s: float, paper: Paper, rows: int) -> tuple[Line, ...]:
    """The panel of the dashboard, in at most `rows` rows."""
    if not rows:
        return ()
    head = rule_line("OTHER PROGRAMS", (Span(f"{len(found)} on cards", "dim"),), "", paper)
    lines = program_lines(found, now_s, paper, with_device=True, most=max(rows - 2, 1))
    return (head, *(paper.filled(line) for line in lines))
