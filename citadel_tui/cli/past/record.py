"""`citadel record FILE`: what the engine shows, kept for `citadel replay-session`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from citadel_tui.cli.engine import attached
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import seconds
from citadel_tui.session.file import record


class RecordArguments(Arguments, frozen=True, kw_only=True):
    file: Path
    interval: float
    """Seconds."""


def add_arguments(command: CommandParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds between snapshots (1)")
    command.carried_out_by(run, RecordArguments)


def run(arguments: RecordArguments) -> int:
    return asyncio.run(_record(arguments))


async def _record(arguments: RecordArguments) -> Exit:
    async with attached(arguments) as engine:
        with progress() as show:
            try:
                await record(
                    engine, arguments.file, arguments.interval, time.time, lambda n: show(f"{n} events; Ctrl+C ends")
                )
            except asyncio.CancelledError:  # Ctrl+C is how a recording ends
                tell(f"the session is in {arguments.file}; `citadel replay-session {arguments.file}` shows it")
    return Exit.DONE
