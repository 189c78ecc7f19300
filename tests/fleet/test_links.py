"""What every link to a box must do, with an engine behind a real socket. To hold another link to it, add it to `_LINKS`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from engine.api import (
    PROTOCOL,
    BadRequest,
    Changed,
    Done,
    EngineError,
    EngineUnreachable,
    OtherVersion,
    Recorded,
    UnknownModel,
    Updated,
)
from engine.core.commands import Evict, Load, Submission
from engine.core.insight.request_figures import Asker, RequestUnderWay
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Rebalance, Undo
from engine.core.tasks import Embed, Generate, RunResult, TextPart
from engine.paths import Paths, find_paths
from fleet.links import NodeLink, link_over_ssh, link_to_socket
from tests.patience import Patience
from tests.scripted_engine import ScriptedEngine
from tests.scripted_slabs import TICKET, CarryingEngine
from tests.service.serving import serving

SMALL, LARGE = "all-MiniLM-L6-v2", "phi-3-mini"

Opener: TypeAlias = Callable[[Paths, Paths], AbstractAsyncContextManager[NodeLink]]
"""Of a link from here to the engine there."""


def _to_a_socket(_here: Paths, there: Paths) -> AbstractAsyncContextManager[NodeLink]:
    return link_to_socket(there.socket)


def _over_ssh(here: Paths, there: Paths) -> AbstractAsyncContextManager[NodeLink]:
    return link_over_ssh(there.run.parent.name, here)


_LINKS: dict[str, Opener] = {"a socket": _to_a_socket, "a socket over ssh": _over_ssh}


class Far(NamedTuple):
    """An engine, and the link to it."""

    engine: CarryingEngine
    link: NodeLink
    paths: Paths


@pytest.fixture(params=_LINKS)
async def far(request: pytest.FixtureRequest, paths: Paths, hosts: Path) -> AsyncIterator[Far]:
    there = find_paths({"CITADEL_HOME": str(hosts / "box2")})
    async with contextlib.AsyncExitStack() as stack:
        engine = CarryingEngine({SMALL})
        await stack.enter_async_context(serving(engine, there))
        yield Far(engine, await stack.enter_async_context(_LINKS[request.param](paths, there)), there)


async def test_it_says_who_answers_and_what_there_is(far: Far) -> None:
    assert (await far.link.hello()).protocol == PROTOCOL
    assert set((await far.link.snapshot()).state.devices) == {"gpu0", "gpu1", "cpu"}


async def test_events_begin_with_the_newest_snapshot_and_go_on_after_a_record(far: Far) -> None:
    await far.link.submit(Submission("1", Load(SMALL)))
    newest = (await far.link.records())[-1].seq
    await far.link.submit(Submission("2", Evict(SMALL)))
    async with contextlib.aclosing(far.link.events(newest)) as events:
        assert isinstance(await anext(events), Updated)
        assert (await _recorded(events)) == newest + 1


async def _recorded(events: AsyncIterator[object]) -> int:
    async for event in events:
        if isinstance(event, Recorded):
            return event.record.seq
    raise AssertionError("the events ended without a record")


async def test_a_plan_is_made_and_carried_out_as_it_was_confirmed(far: Far) -> None:
    planned = await far.link.plan(Load(SMALL, "gpu1"))
    assert isinstance(planned, Plan)
    assert isinstance(await far.link.submit(Submission("1", Load(SMALL, "gpu1"), confirmed="another")), Changed)
    done = await far.link.submit(Submission("2", Load(SMALL, "gpu1"), confirmed=planned.effects))
    assert isinstance(done, Done)


async def test_the_same_id_is_carried_out_once(far: Far) -> None:
    first = await far.link.submit(Submission("1", Load(SMALL)))
    assert await far.link.submit(Submission("1", Load(SMALL))) == first
    assert len(far.engine.submissions) == 1


async def test_a_command_can_be_taken_back(far: Far) -> None:
    far.engine.hold()
    loading = asyncio.create_task(far.link.submit(Submission("1", Load(SMALL))))
    await far.engine.until(lambda: bool(far.engine.jobs))
    assert await far.link.cancel("1") is True
    await loading
    assert await far.link.cancel("1") is False


async def test_what_answers_a_wish_is_proposed_and_what_nothing_answers_refused(far: Far) -> None:
    assert isinstance(await far.link.propose(Undo()), Refusal)
    assert isinstance(await far.link.propose(Rebalance()), Proposal)


async def test_a_run_gives_its_parts_and_then_its_result(far: Far) -> None:
    *parts, last = [event async for event in far.link.run(LARGE, Generate("Once", max_tokens=3))]
    assert [type(part) for part in parts] == [TextPart] * 3
    assert isinstance(last, RunResult)


async def test_errors_come_as_what_they_are(far: Far) -> None:
    with pytest.raises(UnknownModel):
        await far.link.submit(Submission("1", Load("nobody")))
    with pytest.raises(UnknownModel):
        _ = [event async for event in far.link.run("nobody", Embed(("a",)))]
    with pytest.raises(BadRequest):
        await far.link.cancel_request(7)
    far.engine.catalog_mistake = "line 3 is no JSON"
    with pytest.raises(EngineError, match="line 3"):
        await far.link.reload()


async def test_the_rest_of_the_engine_is_passed_through(far: Far) -> None:
    far.engine.under_way = (RequestUnderWay(4, Asker(), SMALL, "embedding", 1, 0.5),)
    assert (await far.link.requests()).count == 1
    assert (await far.link.cancel_request(4)).model == SMALL
    await far.link.keep_alive(SMALL, 5.0)
    assert far.engine.state.models[SMALL].keep_alive_s == 5.0
    await far.link.reload()
    assert far.engine.reloads == 1
    assert await far.link.keep_quiet(30) == 10
    await far.link.restart_worker("gpu0")
    assert far.engine.restarted == ["gpu0"]


async def test_slabs_are_offered_and_fetched_and_what_there_is_not_is_refused(far: Far) -> None:
    offer = await far.link.offer_slab(SMALL, "127.0.0.1", (0, 26407))
    assert (offer.host, offer.ticket) == ("127.0.0.1", TICKET)
    assert far.engine.offered == [(SMALL, "127.0.0.1", (0, 26407))]
    with pytest.raises(EngineError, match="phi-3-mini is not prepared here"):
        await far.link.offer_slab(LARGE, "127.0.0.1", (0,))
    fetched = await far.link.fetch_slab(LARGE, offer)
    assert fetched.came_bytes == far.engine.state.models[LARGE].footprint.weights_bytes
    assert far.engine.state.models[LARGE].prepared
    assert await far.link.reached_at() in ("127.0.0.1", "")


async def test_whoever_waits_no_more_for_a_slab_has_it_fetched_no_more(far: Far) -> None:
    far.engine.is_slow = True
    offer = await far.link.offer_slab(SMALL, "127.0.0.1", (0,))
    fetching = asyncio.create_task(far.link.fetch_slab(LARGE, offer))
    await far.engine.until(lambda: bool(far.engine.fetched))
    fetching.cancel()
    await far.engine.until(lambda: far.engine.given_up == [LARGE])


async def test_an_engine_that_goes_ends_its_events_and_answers_no_more_and_is_found_when_it_is_back(far: Far) -> None:
    events = far.link.events()
    await anext(events)
    await far.engine.stop()
    with pytest.raises(EngineUnreachable):
        _ = [event async for event in events]
    with pytest.raises(EngineUnreachable):
        await far.link.snapshot()
    far.engine.stopped = False
    await _answers(far.link)


async def test_a_load_whose_engine_dies_in_the_middle_ends_for_whoever_waits(paths: Paths, hosts: Path) -> None:
    there = find_paths({"CITADEL_HOME": str(hosts / "box2")})
    engine = ScriptedEngine()
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(serving(engine, there))
        link = await stack.enter_async_context(link_to_socket(there.socket))
        engine.hold()
        loading = asyncio.create_task(link.submit(Submission("1", Load(SMALL))))
        await engine.until(lambda: bool(engine.jobs))
        service.cancel()
        with pytest.raises(EngineUnreachable):
            await loading
        with contextlib.suppress(asyncio.CancelledError):
            await service
        stack.pop_all()


async def test_whoever_speaks_another_version_is_told_apart(folder: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\nCitadel-Protocol: 1\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    (folder / "run").mkdir(mode=0o700)
    server = await asyncio.start_unix_server(answer, folder / "run" / "engine.sock")
    async with server, link_to_socket(folder / "run" / "engine.sock") as link:
        with pytest.raises(OtherVersion):
            await link.hello()


async def _answers(link: NodeLink) -> None:
    patience = Patience()
    while patience:
        with contextlib.suppress(EngineUnreachable):
            await link.hello()
            return
    raise AssertionError("it is not found again")
