"""Getting hold of the engine: attach to the one that runs, or start one, saying so; and leaving it while it works for us."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import Arguments
from citadel_tui.words.boxes import no_fleet_text, unknown_device
from citadel_tui.words.setup import folder_text
from engine.api import EngineAPI, EngineError, EngineUnreachable, Snapshot, Updated
from engine.client import RemoteEngine, connect
from engine.core.commands import models_of
from engine.core.names import DeviceId, ModelName, box_of
from engine.paths import Paths, find_paths, fleet_file, fleet_paths
from engine.transport import NoEngine


def our_paths() -> Paths:
    return find_paths(os.environ)


def engine_paths(arguments: Arguments) -> Paths:
    """Those of the engine that is meant, which lives here: the user's own, or the fleet's service."""
    return fleet_paths(our_paths()) if arguments.fleet else our_paths()


async def reached(arguments: Arguments) -> RemoteEngine:
    """The engine that is meant: here, of the fleet, or on another machine. Raises EngineUnreachable when none runs there."""
    if arguments.host is not None:
        return await _far_engine(arguments.host, read_only=arguments.read_only)
    try:
        return await connect(engine_paths(arguments), read_only=arguments.read_only)
    except NoEngine as error:
        if arguments.fleet:
            raise NoEngine(no_fleet_text(fleet_file(os.environ))) from error
        raise


class _FarEngine(RemoteEngine):
    """Whoever lets go of it ends what leads to it."""

    def __init__(self, socket: Path, way: contextlib.AsyncExitStack, *, read_only: bool) -> None:
        super().__init__(socket, read_only=read_only)
        self._way = way

    async def close(self) -> None:
        await self._way.aclose()


async def _far_engine(host: str, *, read_only: bool) -> RemoteEngine:
    from engine.ssh_forward import forwarded

    async with contextlib.AsyncExitStack() as way:
        socket = await way.enter_async_context(forwarded(host, our_paths()))
        try:
            await RemoteEngine(socket).hello()
        except NoEngine:
            raise NoEngine(f"no engine runs on {host}; start it there: ssh -t {host} citadel") from None
        return _FarEngine(socket, way.pop_all(), read_only=read_only)


@contextlib.asynccontextmanager
async def attached(arguments: Arguments) -> AsyncIterator[RemoteEngine]:
    """The engine that runs. Raises EngineUnreachable when none does."""
    engine = await reached(arguments)
    try:
        yield engine
    finally:
        await engine.close()


@contextlib.asynccontextmanager
async def at_hand(arguments: Arguments) -> AsyncIterator[RemoteEngine]:
    """The engine that runs, or a new one, with devices that have finished starting. Of a fleet none is waited for: while one box
    starts, the others take what comes."""
    await start_if_missing(arguments)
    async with attached(arguments) as engine:
        if not arguments.fleet:
            await _devices_started(engine)
        yield engine


@contextlib.asynccontextmanager
async def if_running(arguments: Arguments) -> AsyncIterator[RemoteEngine | None]:
    """The engine that runs; None when none does."""
    try:
        engine = await reached(arguments)
    except NoEngine:
        yield None
        return
    try:
        yield engine
    finally:
        await engine.close()


async def folder_in_use(arguments: Arguments) -> Path | None:
    """The configuration of the engine that runs; else the one that was named, if one was."""
    async with if_running(arguments) as engine:
        return Path((await engine.hello()).config) if engine is not None else arguments.config


def check_device(snapshot: Snapshot, device: DeviceId | None) -> None:
    """Raises EngineError for a device of a fleet that there is not, with what may have been meant; an engine that has no boxes
    refuses its own."""
    if device is not None and (snapshot.boxes or box_of(device)) and (words := unknown_device(snapshot, device)):
        raise EngineError(words)


def request(model: ModelName, work: Coroutine[Any, Any, Exit]) -> Exit:
    """Carry out `work`, which asks the model for something. Ctrl+C leaves: the connection ends, and with it the run."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        tell(f"interrupted; what {model} was asked for is given up")
        return Exit.INTERRUPTED


async def start_if_missing(arguments: Arguments) -> None:
    """Start an engine unless one answers; `--config` is for that one. None is started elsewhere. Raises EngineError."""
    if arguments.is_elsewhere:
        return
    paths = our_paths()
    try:
        hello = await (await connect(paths)).hello()
    except NoEngine:
        await _start(paths, arguments.config)
        return
    if arguments.config is not None and not _same_folder(arguments.config, hello.config):
        tell(f"--config {arguments.config} has no effect: the engine (process {hello.pid}) runs on {hello.config}")


async def _start(paths: Paths, config: Path | None) -> None:
    from engine.process import ensure_engine
    from engine.settings import find_config_folder

    folder = find_config_folder(config, os.environ, Path(os.getcwd()))
    tell(f"starting the engine with {folder_text(str(folder))} …")
    if await ensure_engine(paths, folder) == "started":
        tell("the engine runs, and goes on when you leave; end it with `citadel stop`")


def _same_folder(one: Path, other: str) -> bool:
    return os.path.realpath(one.expanduser()) == os.path.realpath(other)


async def _devices_started(engine: EngineAPI) -> None:
    """Wait for devices whose workers are still coming up: nothing can be placed on them before."""
    await _without(engine, _starting)


async def restored(engine: EngineAPI) -> Snapshot:
    """What there is once all models have come back that a start or a worker's death is to bring: who measures or tries something
    and puts back what was there must not begin in the middle of that."""
    return await _without(engine, _coming_back)


async def _without(engine: EngineAPI, waiting_for: Callable[[Snapshot], str]) -> Snapshot:
    """The first snapshot in which nothing has to be waited for; meanwhile that is shown. Raises EngineUnreachable when the engine
    goes before that."""
    if not waiting_for(snapshot := await engine.snapshot()):
        return snapshot
    with progress() as show:
        async for event in engine.events():
            if isinstance(event, Updated):
                if not (waits := waiting_for(event.snapshot)):
                    return event.snapshot
                show(f"waiting for {waits}")
    raise EngineUnreachable("the engine ended while it was waited for")


def _starting(snapshot: Snapshot) -> str:
    devices = [name for name, device in snapshot.state.devices.items() if device.reading.health == "starting"]
    return f"{', '.join(devices)} to start" if devices else ""


def _coming_back(snapshot: Snapshot) -> str:
    models = [model for job in snapshot.jobs if job.origin in ("restore", "config") for model in models_of(job.command)]
    return f"{', '.join(models)} to come back" if models else ""
