"""Hosts in network namespaces of this machine, on a switch that leads nowhere else: their links can be cut, their power go."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final

from engine.paths import find_paths
from fleet.certificates import make_authority, make_certificate
from fleet.ray_cluster import FIRST_PORT, Membership, RayFolder

_PREFIX: Final = "citadel"


def can_be_made() -> bool:
    return os.getuid() == 0 and all(shutil.which(program) for program in ("ip", "tc", "unshare"))


class Hosts:
    """`count` of them, the first is the head; each has a home, a membership, and a name box1, box2, …"""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder: Final = folder
        self._count: Final = count
        self._rays: Final[dict[int, asyncio.subprocess.Process]] = {}
        self._processes: Final[list[asyncio.subprocess.Process]] = []

    async def __aenter__(self) -> Hosts:
        self._remove()
        _ip("netns add", f"{_PREFIX}-switch")
        _ip(f"-n {_PREFIX}-switch link add br0 type bridge")
        _ip(f"-n {_PREFIX}-switch link set br0 up")
        for number in range(1, self._count + 1):
            host = f"{_PREFIX}-{number}"
            _ip("netns add", host)
            _ip(f"link add port{number} netns {_PREFIX}-switch type veth peer name e0 netns {host}")
            _ip(f"-n {_PREFIX}-switch link set port{number} master br0 up")
            for words in (
                "link set lo up",
                f"addr add {address(number)}/24 dev e0",
                "link set e0 up",
                "route add default dev e0",
            ):
                _ip(f"-n {host} {words}")
            self._join(number)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
        self._remove()

    def home(self, number: int) -> Path:
        return self._folder / f"box{number}"

    async def start_ray(self, number: int) -> None:
        """In a PID namespace, all of which ends with it."""
        alone = ("unshare", "-pf", "--mount-proc", "--kill-child")
        self._rays[number] = await self._started(number, *alone, sys.executable, "-P", "-m", "fleet.ray_node")

    async def start_service(self) -> None:
        """On the head; not in a namespace of its own, since a driver looks for its raylet among the processes it sees."""
        await self._started(1, sys.executable, "-P", "-m", "fleet.service")

    async def _started(self, number: int, *command: str) -> asyncio.subprocess.Process:
        given = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
        with (self._folder / f"box{number}.log").open("a") as log:
            process = await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", f"{_PREFIX}-{number}", *command),
                env={**given, "CITADEL_HOME": str(self.home(number))},
                stdout=log,
                stderr=log,
            )
        self._processes.append(process)
        return process

    async def run(self, number: int, *command: str) -> asyncio.subprocess.Process:
        """A program of the tests on that host."""
        return await self._started(number, sys.executable, "-m", *command)

    def slow_down(self, number: int, megabits_per_s: int) -> None:
        """What comes to the host passes a line of that speed."""
        line = f"port{number} root tbf rate {megabits_per_s}mbit burst 64kb latency 200ms"
        subprocess.run(["tc", "-n", f"{_PREFIX}-switch", "qdisc", "add", "dev", *line.split()], check=True)

    def power_off(self, number: int) -> None:
        """All of its Ray ends without a word."""
        self._rays[number].kill()

    def cut(self, number: int) -> None:
        _ip(f"-n {_PREFIX}-switch link set port{number} down")

    def mend(self, number: int) -> None:
        _ip(f"-n {_PREFIX}-switch link set port{number} up")

    def _join(self, number: int) -> None:
        folder, head = (
            RayFolder(find_paths({"CITADEL_HOME": str(self.home(number))})),
            RayFolder(find_paths({"CITADEL_HOME": str(self.home(1))})),
        )
        folder.path.mkdir(mode=0o700, parents=True)
        if number == 1:
            folder.token.write_text(os.urandom(32).hex())
            make_authority(folder.ca, folder.ca_key)
        else:
            shutil.copy(head.token, folder.token)
            shutil.copy(head.ca, folder.ca)
        folder.token.chmod(0o600)
        folder.ca.chmod(0o600)
        make_certificate(address(number), folder.certificate, folder.key, (head.ca, head.ca_key))
        folder.write(Membership(f"box{number}", address(number), f"{address(1)}:{FIRST_PORT}"))

    def _remove(self) -> None:
        for name in ("switch", *range(1, self._count + 1)):
            subprocess.run(["ip", "netns", "del", f"{_PREFIX}-{name}"], capture_output=True, check=False)


def address(number: int) -> str:
    return f"10.77.0.{number}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *" ".join(words).split()], capture_output=True, check=True)
