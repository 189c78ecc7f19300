"""Other users of the box: nothing is said to them, whatever they have put where the engine's socket belongs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from engine.api import EngineError, EngineUnreachable
from engine.client import RemoteEngine, connect
from engine.lock import AlreadyRunning, Holder, answers, holder, signal_holder, sole_engine
from engine.paths import PathRefused, Paths
from engine.process import end_engine, ensure_engine
from tests.faults.processes import until


@asynccontextmanager
async def stranger(socket: Path, heard: bytearray) -> AsyncIterator[None]:
    """Somebody who listens there, notes what is said and would answer anything."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(1 << 16))
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_unix_server(answer, socket)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def ask(paths: Paths) -> None:
    await RemoteEngine(paths.socket).embed("all-MiniLM-L6-v2", ["my secret"])


async def test_nothing_is_said_in_a_folder_of_another_user(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = bytearray()
    async with stranger(home.socket, heard):
        with monkeypatch.context() as another:
            another.setattr(os, "getuid", lambda: 23456)
            for call in (ask(home), connect(home), ensure_engine(home, Path("config"))):
                with pytest.raises(PathRefused, match=r"belongs to user \d+, not to you \(23456\)"):
                    await call
    assert heard == b""


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
async def test_what_lies_in_the_place_of_a_socket_is_told_from_an_engine_that_has_gone(
    home: Paths, make: Callable[[Path], None]
) -> None:
    make(home.socket)
    with pytest.raises(
        EngineUnreachable, match=r"no engine is running; .* \(what lies at .*engine.sock is no socket\)"
    ):
        await ask(home)


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o710])
async def test_nothing_is_said_in_a_folder_that_others_may_enter(home: Paths, mode: int) -> None:
    heard = bytearray()
    async with stranger(home.socket, heard):
        home.run.chmod(mode)
        with pytest.raises(PathRefused, match="open to other users"):
            await ask(home)
        home.run.chmod(0o700)
    assert heard == b""


async def test_nothing_is_said_through_a_link(home: Paths, tmp_path: Path) -> None:
    heard = bytearray()
    trap = tmp_path / "trap"
    trap.mkdir(mode=0o700)
    home.run.rmdir()
    home.run.symlink_to(trap)
    async with stranger(trap / "engine.sock", heard):
        with pytest.raises(PathRefused, match="not a folder, but a link or a file"):
            await ask(home)
    home.run.unlink()
    assert heard == b""


LISTENS: Final = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
os.setuid(23457)
listening.listen()
while not listening.accept()[0].recv(1):
    pass
print("heard something")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
async def test_nothing_is_said_to_another_user_who_listens_in_our_own_folder(home: Paths) -> None:
    started = (sys.executable, "-c", LISTENS, str(home.socket))
    listening = await asyncio.create_subprocess_exec(*started, stdout=subprocess.PIPE)
    try:
        await until(lambda: answers(home.socket))
        with pytest.raises(EngineUnreachable, match=r"user 23457, not you \(0\): nothing was said"):
            await ask(home)
    finally:
        listening.kill()
    assert (await listening.communicate())[0] == b""


async def test_nobody_is_ended_for_a_number_in_a_file(home: Paths) -> None:
    """A lock that somebody holds who wrote another's process into it."""
    innocent = await asyncio.create_subprocess_exec("sleep", "1000")
    try:
        with sole_engine(home):
            for folder in (home.state, home.run):
                (folder / "engine.lock").write_text(f"{innocent.pid} service\n")
            assert holder(home) == (innocent.pid, "service")
            assert not signal_holder(home, Holder(innocent.pid), signal.SIGKILL)
            with pytest.raises(EngineError, match="can't be told: nothing was ended"):
                await end_engine(home, now=True, tell=lambda _: None)
        assert innocent.returncode is None
    finally:
        innocent.kill()
        await innocent.wait()


@pytest.mark.parametrize("said", [b"", b"\xff\xfe", b"-1 service", "²".encode(), b"9" * 5000, b"12 nobody knows"])
def test_a_lock_that_says_nothing_useful_is_a_lock_all_the_same(home: Paths, said: bytes) -> None:
    with sole_engine(home):
        for folder in (home.state, home.run):
            (folder / "engine.lock").write_bytes(said)
        assert holder(home) is not None
        with pytest.raises(AlreadyRunning), sole_engine(home):
            pass
