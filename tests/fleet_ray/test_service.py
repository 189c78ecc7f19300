"""The fleet's service, and Ray's on a box, as they are run: killed, they come back, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.api import EngineUnreachable, Snapshot
from engine.client import RemoteEngine
from engine.paths import find_paths, fleet_paths
from fleet.listening import listening
from tests.fleet_ray.clusters import NAMES, Boxes
from tests.fleet_ray.conftest import begun
from tests.patience import Patience
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, because Ray's sockets lie deep."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as made:
        yield Path(made)


async def started(program: str, home: Path) -> asyncio.subprocess.Process:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program),
        env={**environment, "CITADEL_HOME": str(home)},
        stdout=asyncio.subprocess.DEVNULL,
    )


async def seen(boxes: Boxes) -> Snapshot:
    """The fleet as its service shows it, once all boxes are ready."""
    remote = RemoteEngine(fleet_paths(find_paths({"CITADEL_HOME": str(boxes.folder)})).socket)
    patience = Patience(40)
    while patience:
        with contextlib.suppress(EngineUnreachable):
            snapshot = await remote.snapshot()
            if {box.standing for box in snapshot.boxes.values()} == {"ready"}:
                return snapshot
        await asyncio.sleep(0.05)
    raise AssertionError("the fleet is not seen")


async def test_a_service_that_is_killed_and_started_again_shows_the_same_fleet(boxes: Boxes) -> None:
    entries = [f"  {box}: {{ray: {box}, socket: {boxes.paths(box).socket}}}\n" for box in NAMES]
    (boxes.folder / "fleet.yaml").write_text(f"boxes:\n{''.join(entries)}")
    async with contextlib.AsyncExitStack() as stack:
        engines = [ScriptedEngine() for _ in NAMES]
        for number, (box, engine) in enumerate(zip(NAMES, engines, strict=True)):
            engine.pid = number
            await stack.enter_async_context(serving(engine, boxes.paths(box)))
        first = await started("fleet.service", boxes.folder)
        before = await seen(boxes)
        assert list(before.boxes) == list(NAMES)
        first.kill()
        await first.wait()
        second = await started("fleet.service", boxes.folder)
        after = await seen(boxes)
        assert (after.state.devices, after.state.residents) == (before.state.devices, before.state.residents)
        assert not any(engine.stopped or engine.submissions for engine in engines)
        second.terminate()
        assert await second.wait() == 0


async def until(holds: Callable[[], bool]) -> None:
    patience = Patience(60)
    while patience:
        if holds():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it never came to that")


async def test_ray_on_a_box_comes_back_when_it_is_killed_and_ends_with_its_supervisor(home: Path) -> None:
    head = begun(home)
    process = await started("fleet.ray_node", home)

    def stores() -> set[int]:
        children = psutil.Process(process.pid).children(recursive=True)
        return {child.pid for child in children if child.name() == "gcs_server"}

    def listens() -> bool:
        return {head.first_port, head.raylet_port} <= {each.port for each in listening()}

    await until(lambda: process.returncode is not None or listens())
    (first,) = stores()
    os.kill(first, signal.SIGKILL)  # what it leaves behind would keep Ray's ports for a minute
    await until(lambda: bool(stores() - {first}) and listens())
    assert not any(each.is_open for each in listening() if each.port in head.ports)
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    assert await process.wait() == 0
    await until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))


async def test_where_somebody_has_its_ports_ray_waits_and_says_so(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    head = begun(home)
    with socket.create_server(("127.0.0.1", head.raylet_port)):
        process = await started("fleet.ray_node", home)
        said = ""

        def has_said() -> bool:
            nonlocal said
            said += capfd.readouterr().err
            return "Ray is not started" in said

        await until(has_said)
        assert f"somebody listens on {head.raylet_port}, where it would" in said
        assert process.returncode is None
        assert not psutil.Process(process.pid).children()
    await until(lambda: any(each.port == head.first_port for each in listening()))
    process.terminate()
    assert await process.wait() == 0
