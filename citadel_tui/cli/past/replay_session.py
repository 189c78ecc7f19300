"""`citadel replay-session FILE`: a recorded session in the console, with pause, seek and speed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell, why_no_console
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import seconds
from citadel_tui.session.file import read_session
from citadel_tui.session.playback import Playback


class ReplaySessionArguments(Arguments, frozen=True, kw_only=True):
    file: Path
    speed: float


def add_arguments(command: CommandParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--speed", type=seconds, default=1.0, metavar="X", help="times as fast as it was (1)")
    command.carried_out_by(run, ReplaySessionArguments)


def run(arguments: ReplaySessionArguments) -> int:
    session = asyncio.run(read_session(arguments.file))
    if why_not := why_no_console():
        tell(f"{why_not}, which is where a session is watched; `citadel log` prints what an engine has recorded")
        return Exit.NO_ENGINE
    if session.torn:
        tell(f"{arguments.file} ends within a line, as after a crash; it is played up to there")
    from citadel_tui.session.app import run_session

    return run_session(Playback(session, time.monotonic, arguments.speed), mouse=arguments.mouse)
