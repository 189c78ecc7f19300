"""The life of a served engine: claim the socket, answer until told to end, stop the engine in order, leave nothing behind."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from engine.api import EngineAPI, EngineError
from engine.core.catalog import catalog_change_text
from engine.core.texts import in_brief
from engine.gateway.door import DoorRefused, Gateway, door_application, rules_of
from engine.lock import EngineLock
from engine.paths import Paths
from engine.service.listener import Listener
from engine.service.own_socket import OwnSocket
from engine.service.routes import application
from engine.settings.schema import HttpSettings
from engine.slab_peer import SlabPeer

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_LAST_ANSWERS_S: Final = 2.0
"""What calls still under way get to finish after the engine has stopped."""

_log: Final = logging.getLogger(__name__)


async def serve(
    engine: EngineAPI,
    paths: Paths,
    lock: EngineLock,
    *,
    read_only: bool = False,
    http: HttpSettings | None = None,
    slabs: SlabPeer | None = None,
    on_ready: Callable[[], None] = lambda: None,
    on_stopping: Callable[[], None] = lambda: None,
) -> None:
    """Answer at `paths.socket`, of `slabs` too, and where `http` says, until a signal or a client's stop; then stop `engine`: it
    answers until its runs have ended, or until a second signal or a client's stop at once. SIGHUP has it read its catalog again.
    `lock` is held. Raises AlreadyRunning, DoorRefused."""
    loop = asyncio.get_running_loop()
    asked, hurry, stopped = asyncio.Event(), asyncio.Event(), loop.create_future()
    reloads: set[asyncio.Task[None]] = set()

    def stop(now: bool) -> asyncio.Future[None]:
        asked.set()
        if now:
            hurry.set()
        return stopped

    def reload() -> None:
        reloads.add(task := asyncio.create_task(_reload(engine)))
        task.add_done_callback(reloads.discard)

    def hear_signal() -> None:
        stop(now=asked.is_set())

    gateway = Gateway(engine)
    runner = _runner(application(engine, gateway, stop, slabs, read_only=read_only))
    await runner.setup()
    own = OwnSocket(paths.socket, runner, lock)
    door: Listener | None = None
    try:
        await own.open(on_lost=asked.set)
        if http is not None and http.listen and not read_only:
            door = await _opened(gateway, http, paths)
        for number in _SIGNALS:
            loop.add_signal_handler(number, hear_signal)
        loop.add_signal_handler(signal.SIGHUP, reload)
        _log.info("listening at %s", paths.socket)
        on_ready()
        async with gateway.counting():
            await asked.wait()
        on_stopping()
        await _stop_engine(engine, hurry)
        stopped.set_result(None)
    except DoorRefused:
        await _stop_engine(engine, hurry)
        raise
    finally:
        own.close()
        if door is not None:
            await door.close()
        await runner.cleanup()
        for number in (*_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(
        app,
        handle_signals=False,
        handler_cancellation=True,  # a client that goes takes its run along
        access_log=None,
        logger=_http_log(),
        shutdown_timeout=_LAST_ANSWERS_S,
    )


def _http_log() -> logging.Logger:
    """Where aiohttp complains. What is no HTTP at all is the sender's mistake: one line, since a trace looks like a defect."""
    log = logging.getLogger(f"{__name__}.http")
    log.addFilter(_in_a_line)
    return log


def _in_a_line(record: logging.LogRecord) -> bool:
    fault = record.exc_info[1] if record.exc_info else None
    if isinstance(fault, HttpProcessingError | web.RequestPayloadError):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args, record.exc_info = (
            "a request that is no HTTP was refused: %s",
            (in_brief(" ".join(str(fault).split())),),
            None,
        )
    return True


async def _opened(gateway: Gateway, http: HttpSettings, paths: Paths) -> Listener:
    """The door for applications. Raises DoorRefused."""
    host, _, port = http.listen.rpartition(":")
    door = Listener(_runner(door_application(gateway, rules_of(http, paths.keys))))
    try:
        await door.start(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise DoorRefused(
            f"nothing can listen at {http.listen} (http.listen): {said}; choose another, or end what has it"
        ) from error
    _log.info("applications are served at http://%s/v1", http.listen)
    return door


async def _reload(engine: EngineAPI) -> None:
    try:
        change = await engine.reload()
    except EngineError as error:
        _log.error("SIGHUP: %s", error)
    else:
        _log.info("SIGHUP: %s", "; ".join((catalog_change_text(change), *change.remarks)))


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
