"""A service manager: what it is told by a real engine process, and how the journal gets lines."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.client import RemoteEngine
from engine.paths import find_paths
from engine.service.systemd import JournalFormatter, keep_telling, log_format, notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


async def heard(manager: socket.socket) -> str:
    return (await asyncio.get_running_loop().sock_recv(manager, 1000)).decode()


async def test_an_engine_says_when_it_is_ready_and_when_it_stops_and_that_it_lives(
    manager: socket.socket, tmp_path: Path
) -> None:
    (tmp_path / "gpu_allocation.yaml").write_text("devices: {virtual: []}\n")
    (tmp_path / "model_gpu_mapping.json").write_text('{"models": []}')
    environment = {**os.environ, "NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "3600000000"}
    program = [sys.executable, "-P", "-m", "engine.service", "--config", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*program, env=environment, stderr=subprocess.PIPE)
    said = {await heard(manager) for _ in range(2)}
    assert said == {"READY=1", "WATCHDOG=1"}
    await RemoteEngine(find_paths(os.environ).socket).stop()
    assert await heard(manager) == "STOPPING=1"
    await process.communicate()
    assert process.returncode == 0


async def test_the_manager_hears_of_life_twice_in_its_span(manager: socket.socket) -> None:
    telling = asyncio.create_task(
        keep_telling(
            {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "2000", "WATCHDOG_PID": f"{os.getpid()}"}
        )
    )
    assert [await heard(manager) for _ in range(3)] == ["WATCHDOG=1"] * 3
    telling.cancel()


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}])
async def test_nobody_is_told_where_no_manager_watches_this_process(environment: dict[str, str]) -> None:
    await keep_telling(environment)


def test_a_name_beside_the_file_system_is_reached_and_a_lost_manager_ends_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
        abstract.bind(f"\0citadel-{tmp_path}")
        notify({"NOTIFY_SOCKET": f"@citadel-{tmp_path}"}, "READY=1")
        assert abstract.recv(1000) == b"READY=1"
    notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")
    notify({"NOTIFY_SOCKET": "vsock:2:1234"}, "READY=1")


def record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("engine", level, "file", 1, text, None, None)


def test_the_journal_gets_priorities_and_no_times(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        found = os.fstat(log.fileno())
        journal = log_format({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, log.fileno())
        assert journal.format(record(logging.WARNING, "two\nlines")) == "<4>engine: two\n<4>lines"
        assert journal.format(record(logging.DEBUG, "little")) == "<7>engine: little"
        for other in ({}, {"JOURNAL_STREAM": "1:2"}):
            plain = log_format(other, log.fileno())
            assert not isinstance(plain, JournalFormatter)
            assert plain.format(record(logging.ERROR, "broke")).endswith(" ERROR engine: broke")
