"""The fleet's process, over engines behind real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.api import EngineUnreachable
from engine.client import RemoteEngine, connect
from engine.core.commands import Load, Submission
from engine.paths import Paths, find_paths, fleet_paths
from engine.process import wait_until_gone
from tests.patience import Patience
from tests.pty.terminal import ANSWERS, terminal
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving

SMALL = "all-MiniLM-L6-v2"


class Fleet(NamedTuple):
    """Two engines, the file that names them, and where their fleet's service lives."""

    engines: dict[str, ScriptedEngine]
    file: Path
    paths: Paths
    started: list[asyncio.subprocess.Process]

    async def start(self) -> asyncio.subprocess.Process:
        """A service, once it answers."""
        environment = {**os.environ, "CITADEL_HOME": str(self.paths.run.parent)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fleet.service", env=environment, stderr=asyncio.subprocess.PIPE
        )
        self.started.append(process)
        patience = Patience()
        while process.returncode is None and patience:
            with contextlib.suppress(EngineUnreachable):
                await connect(self.paths)
                return process
            await asyncio.sleep(0.02)
        assert process.stderr is not None
        raise AssertionError((await process.stderr.read()).decode())


@pytest.fixture
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    home = folder / "here"
    home.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        engines, lines = {}, []
        for name in ("box1", "box2"):
            there = find_paths({"CITADEL_HOME": str(folder / name)})
            engines[name] = ScriptedEngine()
            engines[name].pid = len(engines)
            await stack.enter_async_context(serving(engines[name], there))
            lines.append(f"  {name}: {{socket: {there.socket}}}\n")
        file = home / "fleet.yaml"
        file.write_text(f"boxes:\n{''.join(lines)}")
        fleet = Fleet(engines, file, fleet_paths(find_paths({"CITADEL_HOME": str(home)})), [])
        yield fleet
        for process in fleet.started:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_the_service_speaks_for_all_boxes_and_ends_in_order_without_ending_them(fleet: Fleet) -> None:
    process = await fleet.start()
    remote = RemoteEngine(fleet.paths.socket)
    snapshot = await remote.snapshot()
    assert {name: view.standing for name, view in snapshot.boxes.items()} == {"box1": "ready", "box2": "ready"}
    assert snapshot.boxes["box1"].host == "scripted"
    assert (await remote.embed(SMALL, ["a"])).vectors
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert not fleet.paths.socket.exists()
    assert not any(engine.stopped for engine in fleet.engines.values())


async def test_there_is_one_service_for_a_users_folders(fleet: Fleet) -> None:
    first = await fleet.start()
    environment = {**os.environ, "CITADEL_HOME": str(fleet.paths.run.parent)}
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fleet.service", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await second.communicate()
    assert second.returncode == 1
    assert b"the fleet's service is already running" in said
    await RemoteEngine(fleet.paths.socket).stop()
    assert await first.wait() == 0


async def test_a_service_that_was_killed_and_started_anew_shows_what_the_first_did(fleet: Fleet) -> None:
    first = await fleet.start()
    remote = RemoteEngine(fleet.paths.socket)
    await remote.submit(Submission("1", Load(SMALL, "box2/gpu1")))
    before, records = await remote.snapshot(), await remote.records()
    fleet.engines["box1"].add_notice("meanwhile")
    first.kill()
    await first.wait()
    second = await fleet.start()
    after = await remote.snapshot()
    assert after.state.residents == before.state.residents
    assert list(after.state.devices) == list(before.state.devices)
    missed = [record for record in await remote.records() if record not in records]
    assert [getattr(record.entry, "text", "") for record in missed] == ["box1: meanwhile"]
    assert [len(engine.submissions) for engine in fleet.engines.values()] == [0, 1]
    await remote.stop()
    await second.wait()


async def test_a_file_with_mistakes_starts_nothing_and_says_them(fleet: Fleet) -> None:
    fleet.file.write_text("boxes: {a: {ssh: ''}}\n")
    with pytest.raises(AssertionError, match="were refused"):
        await fleet.start()


async def test_reading_the_file_again_takes_up_boxes_and_drains(fleet: Fleet) -> None:
    process = await fleet.start()
    remote = RemoteEngine(fleet.paths.socket)
    text = fleet.file.read_text()
    fleet.file.write_text(text.replace("box1: {", "box1: {drained: true, "))
    await remote.reload()
    assert (await remote.snapshot()).boxes["box1"].drained
    assert (await remote.embed(SMALL, ["a"])).device.startswith("box2/")
    fleet.file.write_text("boxes:\n" + text.splitlines()[2] + "\n")
    await remote.reload()
    assert list((await remote.snapshot()).boxes) == ["box2"]
    await remote.stop()
    await process.wait()


async def test_reading_the_file_again_says_what_of_it_does_not_hold(fleet: Fleet) -> None:
    process = await fleet.start()
    remote = RemoteEngine(fleet.paths.socket)
    text = fleet.file.read_text()
    fleet.file.write_text(f"{text}models:\n  bge-bass: {{only: [box1]}}\n  bge-base: {{only: [box1]}}\n")
    (unknown,) = (await remote.reload()).remarks
    assert unknown.startswith("models in fleet.yaml: no model is named bge-bass (did you mean bge-base?)")
    fleet.file.write_text(f"{text}http: {{listen: '127.0.0.1:1'}}\n")
    (door,) = (await remote.reload()).remarks
    assert door.startswith("http in fleet.yaml is not what the service began with, and holds from its next start")
    fleet.file.write_text(text)
    assert (await remote.reload()).remarks == ()
    await remote.stop()
    await process.wait()


async def test_the_doctor_says_which_boxes_the_service_does_not_hear(fleet: Fleet) -> None:
    away = fleet.file.parent / "away" / "engine.sock"
    fleet.file.write_text(f"{fleet.file.read_text()}  box3: {{socket: {away}}}\n")
    status, said = await _doctor(fleet)
    assert (status, "the fleet's service does not answer, so that it is not known which boxes do" in said) == (0, True)
    process = await fleet.start()
    status, said = await _doctor(fleet)
    assert status == 1
    assert [line for line in said.splitlines() if "!" in line] == [
        "  ! box3: it is unreachable: no engine is running; start one with `citadel` or `citadel serve`"
        f" (there is no {away})"
    ]
    await RemoteEngine(fleet.paths.socket).stop()
    await process.wait()


async def _doctor(fleet: Fleet) -> tuple[int | None, str]:
    words = (sys.executable, "-m", "fleet.operations", "doctor")
    environ = {**os.environ, "CITADEL_HOME": str(fleet.file.parent)}
    process = await asyncio.create_subprocess_exec(*words, env=environ, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return process.returncode, said.decode()


def _look(fleet: Fleet, *seen: str) -> None:
    """The console over the fleet, until it has shown that."""
    home = str(fleet.paths.run.parent)
    with terminal(sys.executable, "-m", "citadel_tui", "fleet", size=(100, 30), CITADEL_HOME=home) as term:
        term.answers = ANSWERS
        for text in seen:
            term.until(text)


async def test_the_console_starts_the_service_where_none_runs_and_leaves_it_running(fleet: Fleet) -> None:
    await asyncio.to_thread(_look, fleet, "starting the fleet's service on the boxes that", "fleet of 2 boxes")
    remote = RemoteEngine(fleet.paths.socket)
    pid = (await remote.hello()).pid
    await asyncio.to_thread(_look, fleet, "fleet of 2 boxes")
    assert (await remote.hello()).pid == pid
    await remote.stop()
    await wait_until_gone(fleet.paths)


async def test_a_service_that_can_t_start_says_why_to_whoever_started_it(fleet: Fleet) -> None:
    fleet.file.write_text("boxes: {a: {ssh: ''}}\n")
    await asyncio.to_thread(_look, fleet, "were refused; nothing was started")
    fleet.file.unlink()
    await asyncio.to_thread(_look, fleet, "there is no fleet:")
