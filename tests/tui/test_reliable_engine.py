"""A command whose answer was lost with the line: sent again under its id, done once, and not to another engine."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from engine.api import Answer, EngineUnreachable, Hello
from engine.core.commands import Submission
from tests.scripted_engine import ScriptedEngine
from tests.tui.consoles import NOON_S, Console, open_console


class Dropping(ScriptedEngine):
    """Takes the first command and goes silent before it has answered; what it was told to do goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.is_another = False
        self.boxes_since_s: float | None = None
        self._working: asyncio.Task[Answer] | None = None

    async def hello(self) -> Hello:
        hello = replace(await super().hello(), boxes_since_s=self.boxes_since_s)
        return replace(hello, pid=hello.pid + 1) if self.is_another else hello

    async def submit(self, submission: Submission) -> Answer:
        self._check_running()
        self.sent.append(submission.id)
        if self._working is not None:
            return await super().submit(submission)
        self._working = asyncio.create_task(super().submit(submission))
        await self.until(lambda: bool(self.jobs))
        await self.stop()
        raise EngineUnreachable("the engine went away while it answered; its log says why")


class Deaf(ScriptedEngine):
    """Answers everything but commands."""

    tries = 0

    async def submit(self, submission: Submission) -> Answer:
        self.tries += 1
        raise EngineUnreachable("the engine ended the connection without an answer")


async def lose_the_answer(console: Console, engine: Dropping) -> None:
    engine.hold()
    await console.select("e5-small")
    await console.press("l", "enter")
    await console.sees("the line broke; asking again when it is back")
    await console.sees("disconnected")
    engine.release()


async def test_a_command_whose_answer_was_lost_is_sent_again_under_its_id_and_done_once() -> None:
    engine = Dropping()
    async with open_console(engine) as console:
        await lose_the_answer(console, engine)
        engine.stopped = False
        await console.sees("load e5-small: done in 0.20 s")
        assert len(engine.sent) == 2
        assert len(set(engine.sent)) == len(engine.submissions) == 1


async def test_an_engine_that_took_the_others_place_is_not_asked_to_do_it() -> None:
    engine = Dropping()
    async with open_console(engine) as console:
        await lose_the_answer(console, engine)
        engine.is_another, engine.stopped = True, False
        await console.sees("the engine that had it has ended, and another one runs")
        assert len(engine.sent) == 1


async def test_another_service_of_the_same_fleet_is_asked_since_its_boxes_know() -> None:
    engine = Dropping()
    engine.boxes_since_s = NOON_S
    async with open_console(engine) as console:
        await lose_the_answer(console, engine)
        engine.is_another, engine.stopped = True, False
        await console.sees("load e5-small: done in 0.20 s")
        assert len(engine.sent) == 2
        assert len(set(engine.sent)) == len(engine.submissions) == 1


async def test_a_command_that_is_lost_alone_is_tried_twice_and_then_said() -> None:
    engine = Deaf()
    async with open_console(engine) as console:
        await console.select("e5-small")
        await console.press("l", "enter")
        await console.sees("the engine ended the connection without an answer")
        assert engine.tries == 2
