"""What the console imports before it has painted: each module more is time that somebody waits."""

from __future__ import annotations

import asyncio
import os
import re
import sys

from engine.paths import find_paths
from tests.pty.terminal import ANSWERS, terminal
from tests.service.serving import serving
from tests.tui.busy_engines import busy_engine

NOT_YET = re.compile(
    r"numpy|yaml|aiohttp|engine\.(bench|recording|settings|replay|simulation)\b.*|engine\.core\.(ledger|planning|proposing)\b.*"
    r"|citadel_tui\.(bench|cli\.texts|session)\b.*|citadel_tui\.timeline\.recorded"
    r"|citadel_tui\.screens\.(?!dashboard$|dialog$|modal$).*|citadel_tui\.viewmodel\.pages\.(?!help$).*"
)
"""What plans, what reads files, and the pages that a key opens. The help's module says the keys of the last line, too."""


def imported_until_painted(size: tuple[int, int]) -> set[str]:
    """The modules that the console has imported by the time that the keys stand in its last line."""
    with terminal(sys.executable, "-X", "importtime", "-m", "citadel_tui", size=size, **os.environ) as term:
        term.answers = ANSWERS
        term.until("phi-3-mini")
        term.until("Quit")
        return set(re.findall(r"import time: +\d+ \| +\d+ \| +([\w.]+)", term.written.decode(errors="replace")))


async def test_nothing_that_plans_or_reads_files_and_no_page_is_imported_before_the_first_paint() -> None:
    async with serving(await busy_engine(), find_paths(os.environ)):
        imported = await asyncio.to_thread(imported_until_painted, (80, 24))
    assert "citadel_tui.screens.dashboard" in imported
    assert sorted(filter(NOT_YET.fullmatch, imported)) == []
