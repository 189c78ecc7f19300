"""`citadel timeline`: who was on which device when, as text, picture or JSON, from what is recorded and what the engine shows."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import time
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from msgspec import Struct

from citadel_tui.cli.engine import attached, if_running, our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import can_draw, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.lives import since_s
from citadel_tui.timeline.chronicle import Chronicle, Edge, Failure, Period, Stay, take_up
from citadel_tui.timeline.recorded import recorded_past
from citadel_tui.viewmodel.glyphs import ASCII, UNICODE
from citadel_tui.viewmodel.model_colours import ModelColours
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line
from citadel_tui.viewmodel.time_columns import COLUMN_SECONDS, View
from citadel_tui.viewmodel.timeline import (
    Moment,
    devices_of,
    edges_of,
    label_width,
    legend_lines,
    timeline_lines,
)
from engine.api import EngineError, Snapshot
from engine.core.names import DeviceId
from engine.core.serialization import to_json
from engine.whole_file import FOR_ALL, write_whole

_MOST_BYTES: Final = 64 << 20
_MOST: Final = 100_000
_PICTURE_WIDTH: Final = 160
_NARROWEST: Final = 40
_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FORMATS: Final = ("%H:%M", "%H:%M:%S")


class TimelineArguments(Arguments, frozen=True, kw_only=True):
    from_: str | None
    to: str | None
    output: Path | None
    json: bool


def add_arguments(command: CommandParser) -> None:
    when = "30m, 8h or 2d ago, a time such as 22:00, or a date: 2026-11-28T22:00"
    command.add_argument("--from", type=_moment, dest="from_", metavar="WHEN", help=f"{when} (1h)")
    command.add_argument("--to", type=_moment, metavar="WHEN", help="likewise (now)")
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="draw it to this file, an .svg")
    command.add_argument("--json", action="store_true", help="stays, failures, edges and gaps as JSON")
    command.carried_out_by(run, TimelineArguments)


class _Report(Struct, frozen=True):
    """What `--json` prints. Times are seconds since the epoch."""

    version: int
    from_s: float
    to_s: float
    known_since_s: float | None
    devices: tuple[DeviceId, ...]
    stays: list[Stay]
    failures: list[Failure]
    edges: list[Edge]
    gaps: list[Period]
    """Of these it is not known who was there; no engine ran, as far as is known."""


def run(arguments: TimelineArguments) -> int:
    if arguments.output is not None and arguments.output.suffix != ".svg":
        raise EngineError(f"{arguments.output} can't be drawn: only .svg is; nothing was written")
    now_s = time.time()
    moment = asyncio.run(_moment_now(arguments, now_s))
    to_s = now_s if arguments.to is None else moment_s(arguments.to, now_s)
    from_s = moment_s(arguments.from_ or "1h", to_s if arguments.from_ is None else now_s)
    if from_s >= to_s:
        raise EngineError(
            f"--from {arguments.from_ or '1h'} is not before --to {arguments.to or 'now'}; nothing is in between"
        )
    if arguments.json:
        print(to_json(_report(moment, from_s, to_s)).decode())
        return Exit.DONE
    since_s = moment.chronicle.since_s or now_s
    if from_s < since_s - 1 and arguments.from_:
        tell(f"what is kept begins at {datetime.fromtimestamp(since_s):%Y-%m-%d %H:%M:%S}")
    if arguments.output is None:
        width = max(shutil.get_terminal_size().columns, _NARROWEST) if sys.stdout.isatty() else 100
        glyphs = UNICODE if can_draw(sys.stdout) else ASCII
        for line in _lines(moment, from_s, to_s, Paper(width, glyphs, _colours(moment))):
            print("".join(span.text for span in line).rstrip())
        return Exit.DONE
    _draw(_lines(moment, from_s, to_s, Paper(_PICTURE_WIDTH, UNICODE, _colours(moment))), arguments.output)
    return Exit.DONE


def _lines(moment: Moment, from_s: float, to_s: float, paper: Paper) -> tuple[Line, ...]:
    """The lanes in the shortest columns that hold it all, and what the marks mean."""
    devices = devices_of(moment.chronicle, moment.snapshot)
    count = paper.width - label_width(devices, paper.width)
    column_s = next((s for s in COLUMN_SECONDS if (to_s - from_s) / s <= count - 1), COLUMN_SECONDS[-1])
    view = View(column_s, int(to_s // column_s))
    return (*timeline_lines(moment, devices, view, paper), *legend_lines(paper))


def _colours(moment: Moment) -> ModelColours:
    models = [*moment.snapshot.state.models] if moment.snapshot else []
    return ModelColours().with_models((*models, *sorted({stay.model for stay in moment.chronicle.stays})))


async def _moment_now(arguments: TimelineArguments, now_s: float) -> Moment:
    """From the files, and from the engine where one runs; of one elsewhere, from what it has at hand. Raises EngineError where
    there is neither."""
    if arguments.is_elsewhere:
        return await _moment_elsewhere(arguments, now_s)
    paths = our_paths()
    snapshot: Snapshot | None = None
    async with if_running(arguments) as engine:
        if engine is not None:
            snapshot = await engine.snapshot()
    try:
        past = recorded_past(paths, _MOST_BYTES, _MOST)
    except OSError as error:
        raise EngineError(f"{error.filename} can't be read: {error.strerror}") from None
    if snapshot is not None:
        past.showed(snapshot)
    if past.since_s is None:
        raise EngineError(
            f"{paths.journal} holds no record of an engine; start one with `citadel`, and use it for a while"
        )
    return Moment(past, now_s, now_s if snapshot else past.until_s, snapshot)


async def _moment_elsewhere(arguments: TimelineArguments, now_s: float) -> Moment:
    past = Chronicle()
    async with attached(arguments) as engine:
        take_up(past, await engine.records(_MOST), since_s(await engine.hello()))
        snapshot = await engine.snapshot()
    past.showed(snapshot)
    return Moment(past, now_s, now_s, snapshot)


def _report(moment: Moment, from_s: float, to_s: float) -> _Report:
    past = moment.chronicle
    return _Report(
        1,
        from_s,
        to_s,
        past.since_s,
        devices_of(past, moment.snapshot),
        [s for s in past.stays if s.ready_s <= to_s and (s.ended_s is None or s.ended_s >= from_s)],
        [failed for failed in past.failures if from_s <= failed.at_s <= to_s],
        [edge for edge in edges_of(moment) if from_s <= edge.at_s <= to_s],
        [gap for gap in past.gaps if gap.from_s <= to_s and gap.until_s >= from_s],
    )


# ── times as people write them ────────────────────────────────────────────────────────────────────


def _moment(text: str) -> str:
    """Refuses what is no time; which one it is depends on the present."""
    try:
        moment_s(text, time.time())
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is no time; write 30m, 8h or 2d for so long ago, 22:00, or 2026-11-28T22:00"
        ) from None
    return text


def moment_s(text: str, now_s: float) -> float:
    """The moment that is meant, in seconds since the epoch; a time of day is the last one that was. Raises ValueError."""
    if ago := _AGO.fullmatch(text):
        return now_s - float(ago[1]) * _UNITS[ago[2]]
    now = datetime.fromtimestamp(now_s)
    for form in _FORMATS:
        try:
            at = datetime.strptime(text, form).time()
        except ValueError:
            continue
        today = datetime.combine(now.date(), at)
        return (today if today <= now else today - timedelta(days=1)).timestamp()
    return datetime.fromisoformat(text).timestamp()


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────


def _draw(lines: tuple[Line, ...], path: Path) -> None:
    """Raises EngineError."""
    from citadel_tui.timeline.picture import svg_of

    try:
        write_whole(path, svg_of(lines, "citadel timeline").encode(), FOR_ALL)
    except OSError as error:
        raise EngineError(f"{path} can't be written: {error.strerror}") from None
    tell(f"written to {path}")
