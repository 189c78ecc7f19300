"""What a service manager is told (sd_notify(3)), and logs as its journal wants them.

Kept apart: nothing else in the engine knows who started it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
_ALIVE: Final = "WATCHDOG=1"
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_WITH_TIME: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def notify(environment: Mapping[str, str], state: str) -> None:
    """Tell the manager, if there is one. The engine goes on when nobody can be told."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        manager.sendall(state.encode())


async def keep_telling(environment: Mapping[str, str]) -> None:
    """Say that the event loop lives, on which all is decided, twice in each span after which the manager would end the engine;
    never returns. Returns at once where no manager watches."""
    span_us = environment.get("WATCHDOG_USEC", "")
    if not span_us.isdecimal() or environment.get("WATCHDOG_PID", f"{os.getpid()}") != f"{os.getpid()}":
        return
    while int(span_us):
        notify(environment, _ALIVE)
        await asyncio.sleep(int(span_us) / 2e6)


def log_format(environment: Mapping[str, str], stream: int) -> logging.Formatter:
    """How lines look on the descriptor `stream`: with a priority and without the time, which it knows, for the journal."""
    return JournalFormatter() if _is_journal(environment, stream) else logging.Formatter(_WITH_TIME)


def _is_journal(environment: Mapping[str, str], stream: int) -> bool:
    found = os.fstat(stream)
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class JournalFormatter(logging.Formatter):
    """Each line with its priority, as sd-daemon(3) has it, also those of a trace."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
