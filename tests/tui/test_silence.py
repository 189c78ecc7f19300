"""An engine that gives no sign of life: what is shown carries its age, and every key is answered at once."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from engine.api import Answer, EngineUnreachable, Hello
from engine.core.commands import Command, Submission
from engine.core.devices import Reading
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Wish
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import lived_in
from tests.tui.consoles import Console, open_console


class Stopped(ScriptedEngine):
    """Answers nothing while it is stopped, as a process that was sent SIGSTOP."""

    def __init__(self) -> None:
        super().__init__()
        self.goes = asyncio.Event()
        self.goes.set()
        self.heard_ago_s = 0.0

    @property
    def silent_s(self) -> float:
        return self.heard_ago_s

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        await self.goes.wait()
        return await super().plan(command, now=now)

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        await self.goes.wait()
        return await super().propose(wish)

    async def submit(self, submission: Submission) -> Answer:
        await self.goes.wait()
        return await super().submit(submission)


def show(console: Console) -> None:
    """A second has passed: the clock has the console look again."""
    console.app._show()


async def test_a_silent_engine_is_said_to_be_silent_for_so_long_and_all_figures_are_greyed() -> None:
    engine = Stopped()
    async with open_console(engine) as console:
        engine.heard_ago_s = 5.4
        show(console)
        await console.sees("silent 5s")
        assert "live" not in console.text
        assert "the engine has given no sign of life for 5s; what is shown is that old" in console.text
        engine.heard_ago_s = 0.0
        show(console)
        await console.sees("live")
        assert "no sign of life" not in console.text


async def test_a_key_is_answered_while_the_engine_does_not_and_its_answer_takes_that_away() -> None:
    engine = Stopped()
    async with open_console(engine) as console:
        engine.goes.clear()
        await console.select("e5-small")
        await console.press("p")
        await console.sees("pin e5-small: asking")
        engine.heard_ago_s = 4.0
        show(console)
        await console.sees("pin e5-small: asking; the engine has given no sign of life for 4s")
        engine.heard_ago_s = 0.0
        engine.goes.set()
        await console.sees("pin e5-small: done")
        await console.press("s")
        assert "asking" not in console.text


async def test_each_of_two_questions_is_told_until_it_is_answered() -> None:
    engine = Stopped()
    async with open_console(engine) as console:
        engine.goes.clear()
        await console.select("e5-small")
        engine.heard_ago_s = 4.0
        show(console)
        await console.press("p", "r")
        await console.sees("rebalance: asking; the engine has given no sign of life")
        engine.goes.set()
        await console.until(lambda: "asking" not in console.text)


async def test_a_page_that_is_open_carries_the_age_too() -> None:
    engine = Stopped()
    async with open_console(engine) as console:
        await console.press("0")
        await console.sees("what it is")
        engine.heard_ago_s = 7.0
        show(console)
        await console.until(
            lambda: "silent 7s; shown as it was then" in str(console.app.screen.query_one(".dialog").border_subtitle)
        )
        engine.heard_ago_s = 0.0
        show(console)
        await console.until(lambda: "silent" not in str(console.app.screen.query_one(".dialog").border_subtitle))


async def test_a_command_that_is_lost_with_the_line_is_named() -> None:
    class Gone(ScriptedEngine):
        async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
            raise EngineUnreachable("the engine ended the connection without an answer; its log says why")

    async with open_console(Gone()) as console:
        await console.select("e5-small")
        await console.press("p")
        await console.sees("pin e5-small: the engine ended the connection")


async def test_what_another_engine_took_over_from_one_that_went_is_said_and_stays_on_the_page_of_alerts() -> None:
    class Restarted(ScriptedEngine):
        again = False

        async def hello(self) -> Hello:
            hello = await super().hello()
            return replace(hello, pid=4243, started_at_s=hello.started_at_s + 70) if self.again else hello

    engine = Restarted()
    async with open_console(engine) as console:
        await engine.stop()
        await console.sees("disconnected")
        engine.again, engine.stopped = True, False
        await console.sees("another engine runs since")
        await console.press("exclamation_mark")
        await console.sees("the engine (process 4242) went")


async def test_a_device_that_is_not_read_any_more_has_its_age_in_its_row_and_is_well_with_the_next_reading() -> None:
    engine = ScriptedEngine()
    state = lived_in(engine.state)
    gpu0 = replace(state.devices["gpu0"], reading=Reading("ok", "", 0, 0, mono_s=0.0))
    state = replace(state, devices={**state.devices, "gpu0": gpu0})
    async with open_console(engine) as console:
        engine.mono_s = 9.5
        engine.set_state(state)
        await console.sees("✗ stale 9s")
        await console.sees("! 1 alert  gpu0 is stale: it has not been read since")
        now = replace(gpu0, reading=replace(gpu0.reading, mono_s=9.0))
        engine.set_state(replace(state, devices={**state.devices, "gpu0": now}))
        await console.until(lambda: "stale" not in console.text)
