"""A service's process, the engine's or a fleet's: its log, its lock, and what it tells whoever started it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from engine.api import EngineError
from engine.core.serialization import to_json
from engine.lock import EngineLock, sole_engine
from engine.paths import Paths
from engine.service.systemd import log_format
from engine.wire import StartReport

Run: TypeAlias = Callable[[Paths, EngineLock, Callable[[], None]], Coroutine[Any, Any, None]]
"""The service, until it ends: where it is, the lock that it holds, and what it calls once it answers."""


def run_service(log: logging.Logger, report_fd: int | None, find: Callable[[], Paths], run: Run) -> int:
    """The process's exit status. `find` says where the service is; its starter is told through `report_fd` that it answers,
    or why it does not."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_format(os.environ, sys.stderr.fileno()))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    tell = _reporter(report_fd)
    try:
        paths = find()
        with sole_engine(paths) as lock:
            asyncio.run(run(paths, lock, lambda: tell(StartReport(ready=True))))
    except EngineError as error:
        log.error("%s", error)
        tell(StartReport(ready=False, message=str(error)))
        return 1
    return 0


def _reporter(descriptor: int | None) -> Callable[[StartReport], None]:
    """Writes the first report to the descriptor and closes it; says nothing when nobody gave one."""
    listeners = [] if descriptor is None else [descriptor]

    def tell(report: StartReport) -> None:
        while listeners:
            with open(listeners.pop(), "wb") as pipe:
                pipe.write(to_json(report))

    return tell
