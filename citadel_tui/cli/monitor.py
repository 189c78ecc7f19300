"""`citadel monitor`: the devices' memory, sampled at an interval for a while, as CSV or JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TextIO

from citadel_tui.cli.csv_rows import write_device_rows
from citadel_tui.cli.engine import attached
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.status_report import STATUS_VERSION, device_statuses
from citadel_tui.cli.values import seconds
from engine.api import EngineError, Snapshot
from engine.core.serialization import to_json


class MonitorArguments(Arguments, frozen=True, kw_only=True):
    duration: float
    """Seconds."""
    interval: float
    """Seconds."""
    format: Literal["csv", "jsonl"]
    output: Path | None


def add_arguments(command: CommandParser) -> None:
    command.add_argument("--duration", type=seconds, default=60.0, metavar="S", help="seconds to record (60)")
    command.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds between samples (1)")
    command.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    command.add_argument("--output", type=Path, metavar="FILE", help="instead of the standard output")
    command.carried_out_by(run, MonitorArguments)


def run(arguments: MonitorArguments) -> int:
    with _destination(arguments.output) as file:
        return asyncio.run(_monitor(arguments, file))


async def _monitor(arguments: MonitorArguments, file: TextIO) -> Exit:
    """Samples at 0, one interval, two…, up to the duration; each is written out at once, so that what is cut off is kept."""
    samples = math.floor(arguments.duration / arguments.interval) + 1
    clock = asyncio.get_running_loop()
    started_s = clock.time()
    async with attached(arguments) as engine:
        with progress() as show:
            for number in range(samples):
                await asyncio.sleep(started_s + number * arguments.interval - clock.time())
                _write(file, await engine.snapshot(), arguments.format, heading=number == 0)
                if file is not sys.stdout:
                    show(f"sample {number + 1} of {samples}")
    return Exit.DONE


def _write(file: TextIO, snapshot: Snapshot, form: str, *, heading: bool) -> None:
    devices = device_statuses(snapshot)
    if form == "csv":
        write_device_rows(file, snapshot.at_s, devices, heading=heading)
    else:
        line = {"version": STATUS_VERSION, "at_s": snapshot.at_s, "devices": devices}
        file.write(to_json(line).decode() + "\n")
    file.flush()


@contextlib.contextmanager
def _destination(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise EngineError(f"{path} can't be written: {error.strerror}; nothing was recorded") from None
    try:
        with file:
            yield file
    except OSError as error:
        raise EngineError(f"{path} can't be written: {error.strerror}; what it has by now is all there is") from None
