"""The life of a served engine: its socket, its lock, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket

import pytest

from engine.api import EngineError, EngineUnreachable
from engine.client import RemoteEngine, connect
from engine.core.catalog import CatalogChange
from engine.lock import AlreadyRunning, holder, sole_engine
from engine.paths import Paths, make_folders
from engine.service.own_socket import claim_socket
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


async def test_the_socket_of_a_dead_engine_is_cleared_away(paths: Paths) -> None:
    make_folders(paths)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(paths.socket))
    with pytest.raises(EngineUnreachable, match="has gone"):
        await connect(paths)
    async with serving(ScriptedEngine(), paths):
        assert (await RemoteEngine(paths.socket).hello()).pid


async def test_a_live_engine_is_not_pushed_aside(remote: RemoteEngine, paths: Paths) -> None:
    with pytest.raises(AlreadyRunning, match="citadel stop"), sole_engine(paths):
        pass
    assert (await remote.hello()).pid


async def test_what_stands_where_the_socket_belongs_is_replaced(paths: Paths) -> None:
    make_folders(paths)
    paths.socket.write_text("not a socket")
    claim_socket(paths.socket).close()
    assert paths.socket.is_socket()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_engine_in_order(
    scripted: ScriptedEngine, paths: Paths, number: signal.Signals
) -> None:
    async with serving(scripted, paths) as service:
        os.kill(os.getpid(), number)
        await service
    assert scripted.stopped
    assert not paths.socket.exists()


async def test_a_hangup_has_the_catalog_read_again_and_says_what_changed(
    scripted: ScriptedEngine, paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scripted.catalog_change = CatalogChange(added=("mine",), remarks=("it fits only the CPU",))
    async with serving(scripted, paths):
        os.kill(os.getpid(), signal.SIGHUP)
        await scripted.until(lambda: scripted.reloads == 1)
        assert not scripted.stopped

        scripted.catalog_mistake = "models[2].task: 'embeding' is given"
        os.kill(os.getpid(), signal.SIGHUP)
        await scripted.until(lambda: scripted.reloads == 2)
        assert not scripted.stopped
    assert "SIGHUP: added mine; it fits only the CPU" in caplog.text
    assert "SIGHUP: models[2].task: 'embeding' is given" in caplog.text


class Draining(ScriptedEngine):
    """Waits for its runs when it is stopped, until it is told not to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_draining = asyncio.Event()
        self._hurry = asyncio.Event()

    async def stop(self, *, now: bool = False) -> None:
        if now:
            self._hurry.set()
        self.is_draining.set()
        await self._hurry.wait()
        await super().stop(now=now)


async def test_a_second_signal_ends_what_the_first_one_waits_for(paths: Paths) -> None:
    engine = Draining()
    async with serving(engine, paths) as service:
        os.kill(os.getpid(), signal.SIGTERM)
        await engine.is_draining.wait()
        assert (await RemoteEngine(paths.socket).snapshot()).state.devices  # it answers meanwhile
        os.kill(os.getpid(), signal.SIGINT)
        await service
    assert engine.stopped


async def test_a_client_s_stop_at_once_ends_what_another_one_waits_for(paths: Paths) -> None:
    engine = Draining()
    async with serving(engine, paths) as service:
        waiting = asyncio.create_task(RemoteEngine(paths.socket).stop())
        await engine.is_draining.wait()
        await RemoteEngine(paths.socket).stop(now=True)
        await waiting
        await service


async def test_after_a_stop_nobody_answers_and_it_says_how_to_go_on(paths: Paths) -> None:
    async with serving(ScriptedEngine(), paths):
        await RemoteEngine(paths.socket).stop()
    with pytest.raises(EngineUnreachable, match="start one with `citadel`"):
        await connect(paths)


def test_a_pipe_in_the_place_of_the_lock_is_refused_and_nobody_waits_for_it(paths: Paths) -> None:
    make_folders(paths)
    os.mkfifo(paths.state / "engine.lock")
    assert holder(paths) is None
    with pytest.raises(EngineError, match=r"engine\.lock can't be opened: it is no file"), sole_engine(paths):
        pass


def test_only_one_engine_holds_the_lock_and_it_says_who(paths: Paths) -> None:
    make_folders(paths)
    assert holder(paths) is None
    with sole_engine(paths):
        assert holder(paths) == (os.getpid(), "service")
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"), sole_engine(paths):
            pass
    assert holder(paths) is None
