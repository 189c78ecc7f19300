"""`citadel record FILE`: what the engine shows, kept for `citadel replay-session`."""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace

from citadel_tui.cli.engine import attached
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, tell
from citadel_tui.session.file import record


def run(arguments: Namespace) -> int:
    return asyncio.run(_record(arguments))


async def _record(arguments: Namespace) -> Exit:
    async with attached(arguments) as engine:
        with progress() as show:
            try:
                await record(
                    engine, arguments.file, arguments.interval, time.time, lambda n: show(f"{n} events; Ctrl+C ends")
                )
            except asyncio.CancelledError:  # Ctrl+C is how a recording ends
                tell(f"the session is in {arguments.file}; `citadel replay-session {arguments.file}` shows it")
    return Exit.DONE
