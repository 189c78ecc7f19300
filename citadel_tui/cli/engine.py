"""Getting hold of the engine: attach to the one that runs, or start one, saying so; and leaving it while it works for us."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import Arguments
from engine.api import Snapshot, Updated
from engine.client import RemoteEngine, connect
from engine.core.names import ModelName
from engine.paths import Paths, find_paths
from engine.transport import NoEngine


def our_paths() -> Paths:
    return find_paths(os.environ)


@contextlib.asynccontextmanager
async def attached(arguments: Arguments) -> AsyncIterator[RemoteEngine]:
    """The engine that runs. Raises EngineUnreachable when none does."""
    engine = await connect(our_paths(), read_only=arguments.read_only)
    try:
        yield engine
    finally:
        await engine.close()


@contextlib.asynccontextmanager
async def at_hand(arguments: Arguments) -> AsyncIterator[RemoteEngine]:
    """The engine that runs, or a new one, with devices that have finished starting."""
    await start_if_missing(arguments)
    async with attached(arguments) as engine:
        await _devices_started(engine)
        yield engine


@contextlib.asynccontextmanager
async def if_running(arguments: Arguments) -> AsyncIterator[RemoteEngine | None]:
    """The engine that runs; None when none does."""
    try:
        engine = await connect(our_paths(), read_only=arguments.read_only)
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


def request(model: ModelName, work: Coroutine[Any, Any, Exit]) -> Exit:
    """Carry out `work`, which asks the model for something. Ctrl+C leaves: the connection ends, and with it the run."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        tell(f"interrupted; what {model} was asked for is given up")
        return Exit.INTERRUPTED


async def start_if_missing(arguments: Arguments) -> None:
    """Start an engine unless one answers; `--config` is for that one. Raises EngineError."""
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
    tell(f"starting the engine with {folder} …")
    if await ensure_engine(paths, folder) == "started":
        tell("the engine runs, and goes on when you leave; end it with `citadel stop`")


def _same_folder(one: Path, other: str) -> bool:
    return os.path.realpath(one.expanduser()) == os.path.realpath(other)


async def _devices_started(engine: RemoteEngine) -> None:
    """Wait for devices whose workers are still coming up: nothing can be placed on them before."""
    if not _starting(await engine.snapshot()):
        return
    with progress() as show:
        async with contextlib.aclosing(engine.events()) as events:
            async for event in events:
                if isinstance(event, Updated):
                    starting = _starting(event.snapshot)
                    if not starting:
                        return
                    show(f"waiting for {', '.join(starting)} to start")


def _starting(snapshot: Snapshot) -> list[str]:
    return [name for name, device in snapshot.state.devices.items() if device.reading.health == "starting"]
