"""Requests over several boxes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest
from msgspec.structs import replace

from engine.api import ASKER, BadRequest, CannotServe, EngineUnreachable, Overloaded, RunStopped, Unfit, UnknownModel
from engine.core.commands import Load, SetPin, Submission
from engine.core.insight.request_figures import Asker, RequestUnderWay
from engine.core.names import ModelName, box_of
from engine.core.tasks import Embed, Generate, RunEvent, Task, TextPart
from tests.fleet.fleets import Line, engine_of, fleet_of, scripted_lines
from tests.hand_clock import HandClock, settled
from tests.scripted_engine import ScriptedEngine

SMALL, LARGE, OTHER_LARGE = "all-MiniLM-L6-v2", "phi-3-mini", "bge-base"


class Full(ScriptedEngine):
    """An engine whose queues are full."""

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        self.asked.append(task)
        raise Overloaded("64 requests wait for it", 7.0)
        yield TextPart(0, "")


class Breaking(ScriptedEngine):
    """An engine that goes after so many parts."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        self.asked.append(task)
        for _part in range(self.parts):
            yield TextPart(0, "word")
        raise EngineUnreachable("the engine was killed")


class Refusing(ScriptedEngine):
    """An engine that has no room for any request."""

    async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
        raise CannotServe("no room by its own rules")
        yield TextPart(0, "")


async def test_a_request_goes_to_the_box_that_has_its_model() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        await fleet.submit(Submission("1", Load(SMALL, "box3/gpu1")))
        assert (await fleet.embed(SMALL, ["a", "b"])).device == "box3/gpu1"
        assert [len(engine_of(line).asked) for line in lines.values()] == [0, 0, 1]


async def test_requests_that_come_at_once_for_a_model_that_is_nowhere_load_it_once() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        for line in lines.values():
            engine_of(line).hold()
        asked = [asyncio.create_task(fleet.embed(SMALL, ["a"])) for _ in range(10)]
        await settled()
        for line in lines.values():
            engine_of(line).release()
        devices = {(await answer).device for answer in asked}
        assert len(devices) == 1
        assert sum(len(engine_of(line).submissions) for line in lines.values()) == 1


async def test_a_load_for_a_request_is_the_one_that_was_bid() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        await fleet.embed(SMALL, ["a"])
        (submission,) = [one for line in lines.values() for one in engine_of(line).submissions]
        assert submission.id.startswith(f"fleet:{SMALL}:")
        assert submission.origin == "request"
        assert submission.confirmed in (f"load {SMALL} on gpu0", f"load {SMALL} on gpu1")


async def test_a_request_whose_box_goes_before_the_first_part_is_answered_by_another() -> None:
    lines = scripted_lines(2)
    lines["box1"] = Line(Breaking(parts=0))
    async with fleet_of(lines) as fleet:
        await fleet.submit(Submission("1", Load(LARGE, "box1/gpu0")))
        answer = await fleet.generate(LARGE, "Once", max_tokens=3)
        assert box_of(answer.device) == "box2"


async def test_it_is_tried_once_more_and_no_oftener() -> None:
    lines = {f"box{number}": Line(Breaking(parts=0)) for number in (1, 2, 3)}
    async with fleet_of(lines) as fleet:
        with pytest.raises(EngineUnreachable, match="the engine was killed"):
            await fleet.generate(LARGE, "Once")
        assert sum(len(engine_of(line).asked) for line in lines.values()) == 2


async def test_a_request_whose_box_goes_after_the_first_part_is_never_tried_again() -> None:
    lines = scripted_lines(2)
    lines["box1"] = Line(Breaking(parts=1))
    async with fleet_of(lines) as fleet:
        await fleet.submit(Submission("1", Load(LARGE, "box1/gpu0")))
        events = fleet.run(LARGE, Generate("Once"))
        assert await anext(events) == TextPart(0, "word")
        with pytest.raises(EngineUnreachable, match="box1 went while phi-3-mini ran there"):
            await anext(events)
        assert engine_of(lines["box2"]).asked == []


async def test_a_request_that_waits_on_a_box_which_falls_silent_goes_to_another() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        await fleet.submit(Submission("1", Load(SMALL, "box1/gpu0")))
        lines["box1"].silence()
        asked = asyncio.create_task(fleet.embed(SMALL, ["a"]))
        await clock.pass_by(4.0)
        assert box_of((await asked).device) == "box2"


async def test_a_full_queue_sends_a_request_to_another_ready_copy() -> None:
    lines = scripted_lines(2)
    lines["box1"] = Line(Full())
    async with fleet_of(lines) as fleet:
        for number in (1, 2):
            await fleet.submit(Submission(str(number), Load(SMALL, f"box{number}/gpu0", also=True)))
        for _ in range(5):
            assert (await fleet.embed(SMALL, ["a"])).device == "box2/gpu0"


async def test_where_every_copy_is_full_that_is_said_with_when_to_ask_again() -> None:
    lines = {"box1": Line(Full()), "box2": Line(ScriptedEngine())}
    async with fleet_of(lines) as fleet:
        await fleet.submit(Submission("1", Load(SMALL, "box1/gpu0")))
        with pytest.raises(Overloaded) as full:
            await fleet.embed(SMALL, ["a"])
        assert full.value.retry_after_s == 7.0


async def test_where_no_box_is_there_it_is_said_of_each_why() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        for line in lines.values():
            line.cut("switched off")
        await settled()
        with pytest.raises(EngineUnreachable, match="box1 is unreachable; box2 is unreachable"):
            await fleet.embed(SMALL, ["a"])


async def test_where_nobody_has_room_a_box_is_left_to_say_so_itself() -> None:
    lines = {"box1": Line(Refusing())}
    async with fleet_of(lines) as fleet:
        for number, gpu in enumerate(("gpu0", "gpu1")):
            model = (LARGE, OTHER_LARGE)[number]
            await fleet.submit(Submission(f"load {gpu}", Load(model, f"box1/{gpu}")))
            await fleet.submit(Submission(f"pin {gpu}", SetPin(model)))
        with pytest.raises(CannotServe, match="no room by its own rules"):
            await fleet.embed("e5-small", ["a"])


async def test_what_a_box_says_of_a_request_names_its_devices_as_the_fleet_does() -> None:
    class Failing(ScriptedEngine):
        async def run(self, model: ModelName, task: Task) -> AsyncGenerator[RunEvent, None]:
            raise Unfit(f"{model} on gpu0: it has no chat template")
            yield TextPart(0, "")

    lines = {"box1": Line(Failing())}
    async with fleet_of(lines) as fleet:
        await fleet.submit(Submission("1", Load(SMALL, "box1/gpu0")))
        with pytest.raises(Unfit, match=f"^{SMALL} on box1/gpu0: it has no chat template$"):
            await fleet.embed(SMALL, ["a"])


async def test_closing_a_request_closes_it_on_its_box() -> None:
    lines = scripted_lines(1)
    async with fleet_of(lines) as fleet:
        await fleet.submit(Submission("1", Load(LARGE, "box1/gpu0")))
        async with contextlib.aclosing(fleet.run(LARGE, Generate("Once", max_tokens=8))) as events:
            await anext(events)
        await fleet.stop()  # waits for what runs: nothing does


async def test_a_request_that_waits_for_a_box_is_listed_and_can_be_ended() -> None:
    lines = scripted_lines(1)
    async with fleet_of(lines) as fleet:
        engine_of(lines["box1"]).hold()
        ASKER.set(Asker(key="app"))
        asked = asyncio.create_task(fleet.embed(SMALL, ["a", "b"]))
        await settled()
        (one,) = (await fleet.requests()).requests
        assert (one.model, one.work, one.device, one.asker.key) == (SMALL, 2, None, "app")
        assert (await fleet.cancel_request(one.number)).number == one.number
        with pytest.raises(RunStopped):
            await asked
        engine_of(lines["box1"]).release()


async def test_requests_of_all_boxes_have_numbers_of_their_own_by_which_they_are_ended() -> None:
    lines = scripted_lines(2)
    asker = Asker(pid=7, process="python3", user="ann")
    for line in lines.values():
        engine_of(line).under_way = (
            RequestUnderWay(1, asker, SMALL, "embedding", 1, 2.0, "gpu0"),
            RequestUnderWay(2, asker, SMALL, "embedding", 1, 1.0),
        )
    async with fleet_of(lines) as fleet:
        listed = await fleet.requests()
        assert listed.count == len({one.number for one in listed.requests}) == 4
        assert {one.device for one in listed.requests} == {"box1/gpu0", "box2/gpu0", None}
        assert {one.asker.process for one in listed.requests if one.device is None} == {
            "box1: python3",
            "box2: python3",
        }
        of_box2 = next(one for one in listed.requests if one.device == "box2/gpu0")
        await fleet.cancel_request(of_box2.number)
        assert [engine_of(line).cancelled for line in lines.values()] == [[], [1]]
        for number in (3000, 3001):
            with pytest.raises(BadRequest, match=f"^no request under way has the number {number}: it has ended"):
                await fleet.cancel_request(number)


async def test_requests_of_a_box_that_leaves_the_fleet_while_it_is_asked_are_left_out() -> None:
    lines = scripted_lines(2, HandClock())
    for line in lines.values():
        engine_of(line).under_way = (RequestUnderWay(1, Asker(), SMALL, "embedding", 1, 2.0, "gpu0"),)
    async with fleet_of(lines) as fleet:
        leaving = lines["box2"]
        leaving.silence()
        asked = asyncio.create_task(fleet.requests())
        await settled()
        del lines["box2"]
        await fleet.reload()
        leaving.mend()
        assert [one.device for one in (await asked).requests] == ["box1/gpu0"]


async def test_what_can_t_be_meant_is_refused_before_any_box_is_asked() -> None:
    lines = scripted_lines(1)
    async with fleet_of(lines) as fleet:
        with pytest.raises(UnknownModel, match=f"did you mean {SMALL}"):
            await fleet.embed("all-minilm", ["a"])
        with pytest.raises(Unfit, match="is for generation, not for embedding"):
            await fleet.embed(LARGE, ["a"])
        with pytest.raises(CannotServe):
            await fleet.result(SMALL, Embed(tuple("a" for _ in range(70_000))))
        assert "run" not in lines["box1"].calls


async def test_a_model_that_one_box_alone_knows_is_served_by_that() -> None:
    lines = scripted_lines(2)
    box1 = engine_of(lines["box1"])
    known = dict(box1.state.models)
    del known[SMALL]
    box1.set_state(replace(box1.state, models=known))
    async with fleet_of(lines) as fleet:
        assert box_of((await fleet.embed(SMALL, ["a"])).device) == "box2"
