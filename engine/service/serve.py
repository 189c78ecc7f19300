"""The life of a served engine: claim the socket, answer until told to end, stop the engine in order, leave nothing behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from engine.api import EngineAPI, EngineError
from engine.paths import Paths, make_folders
from engine.process import AlreadyRunning
from engine.service.routes import application

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LAST_ANSWERS_S: Final = 2.0
"""What calls still under way get to finish after the engine has stopped."""

_log: Final = logging.getLogger(__name__)


async def serve(
    engine: EngineAPI, paths: Paths, *, read_only: bool = False, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Answer at `paths.socket` until a signal or a client's stop; then stop `engine`: it answers until its runs have ended, or
    until a second signal or a client's stop at once. Raises AlreadyRunning."""
    make_folders(paths)
    loop = asyncio.get_running_loop()
    asked, hurry, stopped = asyncio.Event(), asyncio.Event(), loop.create_future()

    def stop(now: bool) -> asyncio.Future[None]:
        asked.set()
        if now:
            hurry.set()
        return stopped

    def hear_signal() -> None:
        stop(now=asked.is_set())

    listening = claim_socket(paths.socket)
    runner = web.AppRunner(
        application(engine, stop, read_only=read_only),
        handle_signals=False,
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=_LAST_ANSWERS_S,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        for number in _SIGNALS:
            loop.add_signal_handler(number, hear_signal)
        _log.info("listening at %s", paths.socket)
        on_ready()
        await asked.wait()
        await _stop_engine(engine, hurry)
        stopped.set_result(None)
    finally:
        paths.socket.unlink(missing_ok=True)
        await runner.cleanup()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def claim_socket(path: Path) -> socket.socket:
    """Listen at `path`, clearing away what a dead engine left there. Raises AlreadyRunning when one is alive."""
    if path.exists() and _answers(path):
        raise AlreadyRunning(
            f"an engine already listens at {path}; attach with `citadel`, or end it with `citadel stop`"
        )
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(umask)
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


async def _stop_engine(engine: EngineAPI, hurry: asyncio.Event) -> None:
    """Wait for what runs, unless `hurry` is set, before or meanwhile."""
    _log.info("stopping; what runs may end first, a second signal ends it")
    stopping = asyncio.create_task(engine.stop(now=hurry.is_set()))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    try:
        if not stopping.done():
            await engine.stop(now=True)
        await stopping
    except EngineError as error:
        _log.error("the engine did not stop in order: %s", error)
