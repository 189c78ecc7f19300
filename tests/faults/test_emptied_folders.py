"""A cleaner, or an `rm`, in the folders of an engine that runs: it can be reached again, and no other starts beside it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.api import EngineError, EngineUnreachable
from engine.client import RemoteEngine, connect
from engine.lock import AlreadyRunning, EngineLock, holder, sole_engine
from engine.manager import GPUManager
from engine.paths import Paths
from engine.process import end_engine, ensure_engine
from engine.service.serve import serve
from tests.faults.processes import PROGRAM, until
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


async def until_it_answers(paths: Paths) -> RemoteEngine:
    while True:
        try:
            return await connect(paths)
        except EngineUnreachable:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", ["emptied", "removed"])
async def test_an_engine_can_be_reached_again_and_its_runs_go_on(home: Paths, how: str) -> None:
    async with serving(ScriptedEngine(), home):
        events = RemoteEngine(home.socket).events()
        await anext(events)
        emptied(home.run) if how == "emptied" else shutil.rmtree(home.run)
        assert (await (await until_it_answers(home)).hello()).pid
        assert home.run.stat().st_mode & 0o777 == 0o700
        await until(lambda: (home.run / "engine.lock").exists())
        await events.aclose()


async def test_no_other_starts_beside_an_engine_whose_folder_was_emptied(home: Paths) -> None:
    """In the very moment after, too."""
    with sole_engine(home):
        shutil.rmtree(home.run)
        for other in (EngineLock(home), EngineLock(home, "script")):
            with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
                other.take()


async def test_it_is_found_that_an_engine_is_there_though_it_does_not_listen(home: Paths) -> None:
    with sole_engine(home):
        shutil.rmtree(home.run)
        with pytest.raises(EngineUnreachable, match=r"the engine \(process \d+\) does not listen just now"):
            await connect(home)


async def test_an_engine_without_its_socket_ends_when_it_is_told_to_stop(home: Paths) -> None:
    await ensure_engine(home, Path("config"), PROGRAM)
    told: list[str] = []
    shutil.rmtree(home.run)
    await end_engine(home, now=False, tell=told.append)
    assert holder(home) is None


async def test_all_folders_may_go_at_once(home: Paths) -> None:
    async with serving(ScriptedEngine(), home):
        shutil.rmtree(home.run.parent)
        assert (await (await until_it_answers(home)).hello()).pid
        await until(lambda: (home.state / "engine.lock").exists())
        with pytest.raises(AlreadyRunning), sole_engine(home):
            pass


async def test_the_log_names_what_was_taken_away_and_nothing_else(
    home: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(ScriptedEngine(), home):
        shutil.rmtree(home.state)
        await until(lambda: "made anew" in caplog.text)
        assert (home.state / "engine.lock").exists()
    assert f"somebody took away {home.state / 'engine.lock'}; made anew" in caplog.text


async def test_an_engine_whose_state_cannot_be_entered_for_a_while_looks_after_its_socket_all_the_same(
    home: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(ScriptedEngine(), home):
        shutil.rmtree(home.state)
        home.state.symlink_to(home.state)
        await until(lambda: "again each second" in caplog.text)
        assert (await (await until_it_answers(home)).hello()).pid
        home.state.unlink()
        await until(lambda: "made anew" in caplog.text)
        shutil.rmtree(home.run)
        assert (await (await until_it_answers(home)).hello()).pid
    assert "the engine's lock is gone: " in caplog.text
    assert "nobody can reach" not in caplog.text


async def test_an_engine_whose_place_another_has_taken_ends_in_order(home: Paths) -> None:
    engine = ScriptedEngine()
    lock, other = EngineLock(home), EngineLock(home)
    lock.take()
    serving = asyncio.create_task(serve(engine, home, lock))
    await until_it_answers(home)
    shutil.rmtree(home.run.parent)
    other.take()
    await serving
    assert engine.stopped
    lock.release()
    assert holder(home) is not None, "the lock of the other one was let go, too"
    other.release()


async def test_an_engine_takes_away_its_own_socket_only(home: Paths) -> None:
    async with serving(ScriptedEngine(), home) as service:
        home.socket.unlink()
        home.socket.write_text("another engine's")
        os.kill(os.getpid(), signal.SIGTERM)
        await service
    assert home.socket.read_text() == "another engine's"


async def test_two_scripts_do_not_make_two_engines(home: Paths, tmp_path: Path) -> None:
    """The second one hears what to do; `with` the first one gone it goes on."""
    with sole_engine(home, "script"):
        for attempt in (GPUManager, lambda: asyncio.run(ensure_engine(home, Path("config"), PROGRAM))):
            with pytest.raises(EngineError, match=r"a script \(process \d+\) has an engine of its own"):
                await asyncio.to_thread(attempt)
        told: list[str] = []
        with pytest.raises(EngineUnreachable, match="a script"):
            await end_engine(home, now=True, tell=told.append)
    await ensure_engine(home, Path("config"), PROGRAM)
    with await asyncio.to_thread(GPUManager) as manager:
        assert await asyncio.to_thread(manager.get_gpu_utilization)


async def test_a_script_that_comes_while_an_engine_starts_joins_it(home: Paths) -> None:
    with sole_engine(home) as lock:
        joining = asyncio.create_task(asyncio.to_thread(GPUManager))
        service = asyncio.create_task(serve(ScriptedEngine(), home, lock))
        manager = await joining
        assert await asyncio.to_thread(manager.get_gpu_utilization)
        await asyncio.to_thread(manager.close)
        await RemoteEngine(home.socket).stop()
        await service


async def test_the_lock_ends_with_its_process_however_that_ends(home: Paths) -> None:
    code = (
        "import os, sys, time; from engine.lock import EngineLock; from engine.paths import find_paths\n"
        "EngineLock(find_paths(os.environ), 'script').take(); print('held', flush=True); time.sleep(1000)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    assert holder(home) == (process.pid, "script")
    process.kill()
    await process.wait()
    assert holder(home) is None
