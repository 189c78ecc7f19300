"""Parts that hang: who waits for them is told, and what hangs is ended and replaced, or ends with the engine."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.client import RemoteEngine
from engine.core.commands import Load, Submission
from engine.lock import holder, signal_holder, sole_engine
from engine.paths import Paths
from engine.process import end_engine, ensure_engine
from engine.transport import EngineHangs
from engine.weights.arena import Arena
from engine.worker import protocol
from engine.worker.client import WorkerDied
from engine.worker.forkserver import ForkServer
from engine.worker.protocol import WorkerConfig
from engine.worker.server import Server
from tests.faults.processes import PROGRAM, children_of, end_all, freeze, state_of, until

MINILM = "all-MiniLM-L6-v2"


@pytest.fixture
async def engine(home: Paths) -> AsyncIterator[int]:
    """The process of an engine."""
    await ensure_engine(home, Path("config"), PROGRAM)
    found = holder(home)
    assert found is not None
    yield found.pid
    end_all([found.pid])


@contextmanager
def little_patience() -> Iterator[None]:
    """With an engine that is frozen. One that runs is given all the time that the product gives it."""
    with pytest.MonkeyPatch.context() as patience:
        patience.setattr("engine.transport._SILENCE_LIMIT_S", 0.5)
        patience.setattr("engine.transport._LOOK_S", 0.1)
        yield


# ── the engine's process ─────────────────────────────────────────────────────────────────────────


async def test_nobody_waits_for_a_frozen_engine_without_end(engine: int, home: Paths) -> None:
    client = RemoteEngine(home.socket)
    await freeze(engine)
    with little_patience():
        for call in (
            client.embed(MINILM, ["a"]),
            client.submit(Submission("1", Load(MINILM))),
            client.reload(),
            client.restart_worker("gpu0"),
        ):
            with pytest.raises(EngineHangs, match=r"has not answered for .* end it with `citadel stop`") as hangs:
                await call
            assert f"its process, {engine}, is stopped (as by Ctrl+Z): `kill -CONT {engine}` lets it go on" in str(
                hangs.value
            )


async def test_a_run_that_takes_long_is_waited_for_while_the_engine_answers_others(engine: int, home: Paths) -> None:
    """Longer than it may be silent: it is continued once somebody has found it frozen, and goes on as if nothing had been."""
    client = RemoteEngine(home.socket)
    events = client.events()
    await anext(events)
    await freeze(engine)
    with little_patience(), pytest.raises(EngineHangs):
        await client.embed(MINILM, ["a"])
    os.kill(engine, signal.SIGCONT)
    assert (await client.embed(MINILM, ["a"])).vectors
    await events.aclose()


@pytest.mark.parametrize("now", [True, False])
async def test_a_frozen_engine_is_ended_in_words(engine: int, home: Paths, now: bool) -> None:
    await freeze(engine)
    told: list[str] = []
    with little_patience():
        await end_engine(home, now=now, tell=told.append)

    await until(lambda: state_of(engine) == "")  # its locks are free a moment before the kernel has done with it
    assert holder(home) is None
    [words] = told
    assert words.startswith(f"the engine does not answer; its process, {engine}, was killed.")


async def test_an_engine_that_answers_is_not_ended_by_force(engine: int, home: Paths) -> None:
    told: list[str] = []
    await end_engine(home, now=False, tell=told.append)
    assert told == []
    await until(lambda: not state_of(engine))


async def test_the_next_engine_is_not_ended_in_the_place_of_the_one_that_was_asked(engine: int, home: Paths) -> None:
    """A service manager may have started it by then."""
    asked = holder(home)
    assert asked is not None
    os.kill(engine, signal.SIGKILL)
    await until(lambda: holder(home) is None)
    with sole_engine(home):
        assert not signal_holder(home, asked, signal.SIGKILL)


# ── the fork server ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena(64 << 20)
    yield arena
    arena.close()


def config(arena: Arena) -> WorkerConfig:
    return WorkerConfig("gpu0", "ram", 1 << 20, protocol.ArenaSize(arena.size_bytes))


async def test_a_frozen_fork_server_is_replaced_and_its_workers_live_on(arena: Arena) -> None:
    server = ForkServer(arena.fd, not_answering_s=2.0)
    first = await server.spawn(config(arena))
    frozen = children_of(os.getpid())
    [old] = [pid for pid in frozen if first.pid in children_of(pid)]
    await freeze(old)
    second = None
    while second is None:
        try:
            second = await server.spawn(config(arena))
        except WorkerDied:  # it waited for the frozen one
            continue
    assert state_of(old) == ""
    assert state_of(first.pid)
    assert first.pid not in children_of(os.getpid())
    await second.close()
    first.kill()
    await first.died()
    await first.close()
    await server.close()


async def test_the_death_of_a_worker_is_heard_though_its_fork_server_is_frozen(arena: Arena) -> None:
    server = ForkServer(arena.fd, not_answering_s=2.0)
    worker = await server.spawn(config(arena))
    [old] = [pid for pid in children_of(os.getpid()) if worker.pid in children_of(pid)]
    await freeze(old)
    worker.kill()
    assert await worker.died()
    await worker.close()
    await server.close()


ENGINE = """
import asyncio, os, sys
from engine.weights.arena import Arena
from engine.worker.forkserver import ForkServer
from engine.worker.protocol import ArenaSize, WorkerConfig

async def main():
    arena = Arena(64 << 20)
    server = ForkServer(arena.fd)
    spawning = asyncio.ensure_future(server.spawn(WorkerConfig("gpu0", "ram", 1 << 20, ArenaSize(arena.size_bytes))))
    if sys.argv[1] == "ready":
        await spawning
    print("there", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def started(when: str) -> asyncio.subprocess.Process:
    """A process with a fork server and a worker of its own, as an engine has them; in a session of its own, as that is."""
    made = (sys.executable, "-c", ENGINE, when)
    process = await asyncio.create_subprocess_exec(*made, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"there\n"
    return process


async def test_a_fork_server_that_still_imports_ends_with_its_engine(home: Paths) -> None:
    engine = await started("importing")
    await until(lambda: children_of(engine.pid))
    [server] = children_of(engine.pid)
    engine.kill()
    await engine.wait()
    await until(lambda: not state_of(server))


@pytest.mark.parametrize("frozen", ["nobody", "the worker", "the fork server", "both"])
async def test_nothing_outlives_a_dead_engine_not_even_what_hangs(home: Paths, frozen: str) -> None:
    engine = await started("ready")
    [server] = children_of(engine.pid)
    [worker] = children_of(server)
    try:
        if frozen in ("the worker", "both"):
            await freeze(worker)
        if frozen in ("the fork server", "both"):
            await freeze(server)
        engine.kill()
        await engine.wait()
        await until(lambda: not state_of(server) and not state_of(worker))
    finally:
        end_all([server, worker])


async def test_an_engine_whose_end_hangs_ends_all_the_same_and_says_so() -> None:
    program = (
        "import logging, threading; from engine.service.__main__ import _end_at_last; logging.basicConfig();"
        "_end_at_last(0.01); threading.Event().wait()"
    )
    ended = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=subprocess.PIPE)
    _, said = await ended.communicate()
    assert ended.returncode == 1
    assert b"something hangs: the engine did not end in order" in said


def test_a_fork_server_ends_whose_engine_died_without_having_heard_all_of_it() -> None:
    engine, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    serving = Server(server)
    with server:
        server.send(b"unheard")
        engine.close()
        serving.serve()
