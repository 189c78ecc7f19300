"""A command outlives its client, and sending it twice does nothing twice."""

from __future__ import annotations

import asyncio

import pytest

from engine.api import Cancelled, Done, UnknownModel
from engine.client import RemoteEngine
from engine.core.commands import Load, Submission
from tests.scripted_engine import ScriptedEngine

LOAD = Submission("the-same-id", Load("bge-base"))


async def test_a_resend_after_the_end_gets_the_same_answer(scripted: ScriptedEngine, remote: RemoteEngine) -> None:
    first = await remote.submit(LOAD)
    assert await remote.submit(LOAD) == first
    assert scripted.submissions == [LOAD]


async def test_a_resend_while_it_runs_joins_the_wait(scripted: ScriptedEngine, remote: RemoteEngine) -> None:
    scripted.hold()
    both = [asyncio.create_task(remote.submit(LOAD)), asyncio.create_task(remote.submit(LOAD))]
    await scripted.until(lambda: len(scripted.jobs) == 1)
    scripted.release()
    first, second = await asyncio.gather(*both)
    assert first == second
    assert scripted.submissions == [LOAD]


async def test_a_client_that_goes_away_does_not_take_its_command_along(
    scripted: ScriptedEngine, remote: RemoteEngine
) -> None:
    scripted.hold()
    leaving = asyncio.create_task(remote.submit(LOAD))
    await scripted.until(lambda: len(scripted.jobs) == 1)
    leaving.cancel()
    await asyncio.wait({leaving})
    scripted.release()
    assert isinstance(await remote.submit(LOAD), Done)
    assert scripted.submissions == [LOAD]


async def test_another_client_can_take_a_command_back(scripted: ScriptedEngine, remote: RemoteEngine) -> None:
    scripted.hold()
    waiting = asyncio.create_task(remote.submit(LOAD))
    await scripted.until(lambda: len(scripted.jobs) == 1)
    assert await remote.cancel(LOAD.id) is True
    assert isinstance(await waiting, Cancelled)


async def test_an_error_is_the_same_for_everybody_who_sends_it(remote: RemoteEngine) -> None:
    unknown = Submission("unknown", Load("nobody"))
    for _ in range(2):
        with pytest.raises(UnknownModel, match="nobody"):
            await remote.submit(unknown)
