"""Another machine's engine at a socket of this one: by a scripted ssh, and by the real one where this machine lets us in."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.api import EngineUnreachable
from engine.client import RemoteEngine
from engine.paths import SOCKET_IN_SHELL, Paths, find_paths
from engine.ssh_forward import forwarded
from tests.patience import Patience
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


def _host(hosts: Path, name: str) -> Paths:
    """Those of the engine there."""
    (hosts / name).mkdir()
    return find_paths({"CITADEL_HOME": str(hosts / name)})


async def _answers(engine: RemoteEngine) -> None:
    """Waits until it does."""
    patience = Patience()
    while patience:
        try:
            await engine.hello()
            return
        except EngineUnreachable:
            await asyncio.sleep(0.01)
    raise AssertionError("the engine never answered")


@pytest.mark.parametrize("home", ["", "/srv/citadel"])
def test_a_shell_finds_the_socket_where_the_engine_makes_it(home: str) -> None:
    environment = {"CITADEL_HOME": home, "PATH": os.environ["PATH"]}
    said = subprocess.run(["sh", "-c", SOCKET_IN_SHELL], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(find_paths(environment).socket)


async def test_a_far_engine_answers_at_a_socket_that_only_we_can_reach(hosts: Path, paths: Paths) -> None:
    async with serving(ScriptedEngine(), _host(hosts, "box2")), forwarded("box2", paths) as socket:
        assert (await RemoteEngine(socket).hello()).host == "scripted"
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert not socket.parent.exists()


async def test_the_ssh_ends_with_the_block_that_wanted_it(hosts: Path, paths: Paths) -> None:
    async with serving(ScriptedEngine(), _host(hosts, "box2")), forwarded("box2", paths):
        number = int((hosts / "box2" / "ssh.pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


async def test_an_ssh_that_ends_is_started_again(hosts: Path, paths: Paths) -> None:
    async with serving(ScriptedEngine(), _host(hosts, "box2")), forwarded("box2", paths) as socket:
        engine = RemoteEngine(socket)
        await engine.hello()
        os.kill(int((hosts / "box2" / "ssh.pid").read_text()), signal.SIGKILL)
        await _answers(engine)


async def test_a_far_machine_without_an_engine_is_reached_and_says_that_nobody_answers(
    hosts: Path, paths: Paths
) -> None:
    _host(hosts, "box2")
    async with forwarded("box2", paths) as socket:
        with pytest.raises(EngineUnreachable):
            await RemoteEngine(socket).hello()


async def test_what_ssh_says_is_why_there_is_no_connection(hosts: Path, paths: Paths) -> None:
    with pytest.raises(EngineUnreachable, match=r"ssh box9 ended: .*Could not resolve hostname box9"):
        async with forwarded("box9", paths):
            pass
    assert list(paths.run.glob("*")) == []


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "", "box\n2"])
async def test_a_name_that_ssh_would_take_for_something_else_is_refused(host: str, paths: Paths) -> None:
    with pytest.raises(EngineUnreachable, match="no host"):
        async with forwarded(host, paths):
            pass


async def test_the_ssh_of_a_process_that_is_killed_ends_too(hosts: Path, paths: Paths) -> None:
    _host(hosts, "box2")
    program = (
        "import asyncio, os\nfrom engine.paths import find_paths\nfrom engine.ssh_forward import forwarded\n"
        "async def main():\n    async with forwarded('box2', find_paths(os.environ)):\n"
        "        print('up', flush=True)\n        await asyncio.sleep(3600)\nasyncio.run(main())\n"
    )
    environment = {**os.environ, "CITADEL_HOME": str(paths.run.parent)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    number = int((hosts / "box2" / "ssh.pid").read_text())
    process.kill()
    await process.wait()
    patience = Patience()
    while _lives(number):
        assert patience, "ssh goes on"
        await asyncio.sleep(0.01)


def _lives(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _may_log_in_here() -> bool:
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2", "localhost", "true"]
    return shutil.which("ssh") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not _may_log_in_here(), reason="no sshd here lets this user in without a password")
async def test_the_real_ssh_brings_a_socket_of_this_very_machine(paths: Paths, folder: Path) -> None:
    there = find_paths({"CITADEL_HOME": str(folder / "there")})
    async with serving(ScriptedEngine(), there), forwarded("localhost", paths, str(there.socket)) as socket:
        assert (await RemoteEngine(socket).hello()).host == "scripted"
