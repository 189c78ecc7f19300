"""Processes that are looked at from outside, and waited for by what they do, not by the clock."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

PROGRAM: Final = ("-m", "tests.service.scripted_process")
"""An engine's process with a scripted engine, for `ensure_engine`."""


async def until(holds: Callable[[], object]) -> None:
    """Wait for it; the test's own timeout is the limit."""
    while not holds():  # noqa: ASYNC110 - another process's doings set no event of ours
        await asyncio.sleep(0.02)


def state_of(pid: int) -> str:
    """The kernel's letter for what the process does; "" when it has ended."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if letter in "ZX" else letter


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


async def freeze(pid: int) -> None:
    """Stop it, as a hung process is stopped: it is there, and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: state_of(pid) == "T")


def end_all(pids: Iterable[int]) -> None:
    """Those of this test that are left."""
    for pid in pids:
        if state_of(pid):
            os.kill(pid, signal.SIGKILL)
