"""What ends on a box, or between boxes, and what goes on all the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from typing import TypeVar

import pytest

from engine.api import Done, EngineUnreachable, Hello, Snapshot, Updated
from engine.client import RemoteEngine
from engine.core.commands import Load, Submission
from engine.core.records import Switch
from engine.core.state import State
from engine.core.tasks import Generate
from engine.paths import Paths
from engine.transport import NoEngine
from tests.fleet import fleets
from tests.fleet.fleets import fleet_of
from tests.fleet_ray import far_driver
from tests.fleet_ray.clusters import NAMES, Boxes, RayLine
from tests.runtime.live_engines import Box, scripted_engine
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving

_T = TypeVar("_T")

MODEL, WRITER = "bge-base", "phi-3-mini"


@contextlib.asynccontextmanager
async def served(paths: Paths) -> AsyncIterator[Box]:
    """An engine on scripted workers."""
    paths.journal.mkdir(parents=True, exist_ok=True)
    async with scripted_engine(paths.journal) as box, serving(box.engine, paths):
        yield box


@contextlib.asynccontextmanager
async def engines(boxes: Boxes, *names: str) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for number, name in enumerate(names):
            engine = ScriptedEngine()
            engine.pid = number
            await stack.enter_async_context(serving(engine, boxes.paths(name)))
        yield


async def answered(question: Callable[[], Awaitable[_T]]) -> _T:
    """The answer, asked for again until the box is there."""
    while True:
        with contextlib.suppress(EngineUnreachable):
            return await question()
        await asyncio.sleep(0.1)


async def refused(question: Callable[[], Awaitable[object]]) -> str:
    """Why there is no answer any more."""
    while True:
        try:
            await question()
        except EngineUnreachable as error:
            return str(error)


def all_stand(standing: str) -> Callable[[Snapshot], bool]:
    return lambda snapshot: {box.standing for box in snapshot.boxes.values()} == {standing}


async def until(box: Box, holds: Callable[[State], bool]) -> None:
    async for event in box.engine.events():
        if isinstance(event, Updated) and holds(event.snapshot.state):
            return


async def test_a_command_whose_agent_is_killed_is_sent_again_and_done_once(boxes: Boxes) -> None:
    async with served(boxes.paths("box1")) as box:
        link, submission = boxes.link("box1"), Submission("fleet-1", Load(MODEL))
        box.store.may_fetch.clear()
        first = asyncio.create_task(link.submit(submission))
        await box.store.fetching.wait()
        await boxes.kill_agent("box1")
        with pytest.raises(EngineUnreachable, match=r"the agent of box1 does not answer.* with its id is done once"):
            await first
        again = asyncio.create_task(answered(lambda: link.submit(submission)))
        await answered(link.hello)
        box.store.may_fetch.set()
        assert isinstance(await again, Done)
        switches = [line.entry for line in await link.records() if isinstance(line.entry, Switch)]
        assert [switch.id for switch in switches] == ["fleet-1"]


async def test_a_run_that_is_left_ends_at_the_engine(boxes: Boxes) -> None:
    async with served(boxes.paths("box1")) as box:
        link = boxes.link("box1")
        await link.submit(Submission("fleet-1", Load(WRITER, "gpu0")))
        box.spawner.workers["gpu0"].may_finish.clear()
        async with aclosing(link.run(WRITER, Generate("abc"))) as run:
            await anext(run)
        await until(box, lambda state: not any(resident.leases for resident in state.of(WRITER)))


async def test_a_run_whose_fleet_service_is_killed_ends_at_the_engine(boxes: Boxes) -> None:
    async with served(boxes.paths("box1")) as box:
        await boxes.link("box1").submit(Submission("fleet-1", Load(WRITER, "gpu0")))
        box.spawner.workers["gpu0"].may_finish.clear()
        service = await far_driver.started(str(boxes.folder), str(boxes.paths("box1").socket), WRITER)
        assert any(resident.leases for resident in (await box.engine.snapshot()).state.of(WRITER))
        service.kill()
        await service.wait()
        await until(box, lambda state: not any(resident.leases for resident in state.of(WRITER)))


async def test_an_engine_that_is_killed_is_told_in_its_own_words_and_its_agent_finds_the_next(boxes: Boxes) -> None:
    paths = boxes.paths("box2")
    environment = {**os.environ, "CITADEL_HOME": str(paths.run.parent)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.service.scripted_process", env=environment
    )
    link = boxes.link("box2")
    async with engines(boxes, "box3"):
        await answered(link.hello)
        async with aclosing(link.events()) as events:
            await anext(events)
            process.kill()
            with pytest.raises(EngineUnreachable, match="the engine has ended, or was lost"):
                await anext(events)
        assert "no engine is running" in await refused(link.hello)
        assert (await boxes.link("box3").hello()).host == "scripted"
    await process.wait()
    async with engines(boxes, "box2"):
        assert (await link.hello()).host == "scripted"


async def test_a_box_whose_raylet_is_killed_holds_up_nobody_and_comes_back_by_its_name(boxes: Boxes) -> None:
    async with engines(boxes, *NAMES), fleet_of({box: RayLine(boxes, box) for box in NAMES}) as fleet:
        await fleets.until(fleet, all_stand("ready"))
        boxes.kill_raylet("box3")
        known = await fleets.until(fleet, lambda snapshot: snapshot.boxes["box3"].standing != "ready")
        assert {known.boxes[box].standing for box in ("box1", "box2")} == {"ready"}
        assert len(known.state.devices) == 3 * len(NAMES)  # what it said last is still shown
        for model in (MODEL, "e5-small"):
            assert (await fleet.embed(model, ["a"])).device.startswith(("box1/", "box2/"))
        await fleets.until(fleet, lambda snapshot: snapshot.boxes["box3"].standing == "unreachable")
        boxes.start_raylet("box3")
        await fleets.until(fleet, all_stand("ready"))


async def test_no_request_fails_while_the_control_store_is_killed_and_started_again(boxes: Boxes) -> None:
    async with engines(boxes, "box1", "box2"):
        links = [boxes.link("box1"), boxes.link("box2")]

        async def ask_all() -> None:
            for link in links * 20:
                assert (await link.embed(MODEL, ["a"])).vectors

        async with aclosing(links[0].events()) as events:
            await anext(events)
            boxes.kill_control_store()
            await ask_all()
            boxes.start_control_store()
            await ask_all()
            await links[0].submit(Submission("fleet-2", Load(WRITER)))
            await anext(events)
        await boxes.kill_agent("box2")  # the control store starts the next
        assert re.search("of box2 does not answer|on box2 has not answered", await refused(links[1].hello))
        assert isinstance(await answered(links[1].hello), Hello)


@pytest.mark.parametrize("token", [None, "0" * 64])
async def test_who_has_no_token_or_another_is_not_let_in(boxes: Boxes, token: str | None) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RAY_AUTH")}
    given = {} if token is None else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    program = f"import ray; ray.init(address={boxes.head.head!r}, log_to_driver=False); print('let in')"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), env=environment | given, stdout=PIPE, stderr=STDOUT
    )
    assert process.stdout is not None
    said = b""
    while b"InvalidAuthToken" not in said:  # it would go on asking for minutes
        said += await process.stdout.readline()
        assert b"let in" not in said
        assert not process.stdout.at_eof(), said
    process.kill()
    await process.wait()


def test_nothing_of_rays_listens_beyond_loopback(boxes: Boxes) -> None:
    ours = boxes.ports()
    assert len(ours) > 8
    assert {address for address, _port in ours} == {"127.0.0.1", "::ffff:127.0.0.1"}, ours


async def test_where_nobody_ever_joined_the_words_name_the_box(boxes: Boxes) -> None:
    async with engines(boxes, "box1"):
        with pytest.raises(
            EngineUnreachable, match=r"the engine on box9 has not answered for 3 s; .*citadel fleet doctor"
        ):
            await boxes.link("box9").hello()
        with pytest.raises(NoEngine):
            await RemoteEngine(boxes.paths("box9").socket).hello()
