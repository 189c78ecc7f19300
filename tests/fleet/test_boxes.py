"""How each box stands, by a clock that the test moves; and that none holds up the others."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from engine.api import PROTOCOL, Done, EngineUnreachable, Hello
from engine.core.boxes import BoxView
from engine.core.commands import Load, Submission
from engine.core.names import box_of
from fleet.core.view import Rules
from fleet.engine import FleetEngine
from fleet.following import Boxed, Following
from tests.fleet.fleets import Line, engine_of, fleet_of, scripted_lines
from tests.hand_clock import HandClock, settled
from tests.scripted_engine import ScriptedEngine

SMALL = "all-MiniLM-L6-v2"


async def _box(fleet: FleetEngine, name: str) -> BoxView:
    return (await fleet.snapshot()).boxes[name]


async def test_a_box_that_falls_silent_is_so_after_three_seconds_and_ready_when_it_is_heard_again() -> None:
    clock = HandClock()
    lines = scripted_lines(3, clock)
    async with fleet_of(lines, clock) as fleet:
        lines["box2"].silence()
        await clock.pass_by(2.5)
        assert (await _box(fleet, "box2")).standing == "ready"
        await clock.pass_by(1.0)
        seen = await _box(fleet, "box2")
        assert (seen.standing, seen.silent_s) == ("silent", 3.5)
        assert seen.why == "it gives no sign of life"
        lines["box2"].mend()
        await clock.pass_by(0.5)
        assert (await _box(fleet, "box2")).standing == "ready"


async def test_the_figures_of_a_silent_box_are_shown_as_old_as_they_are() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        lines["box2"].silence()
        await clock.pass_by(10)
        snapshot = await fleet.snapshot()
        assert snapshot.state.devices["box1/gpu0"].reading.health == "ok"
        stale = snapshot.state.devices["box2/gpu0"].reading
        assert (stale.health, stale.reason) == ("stale", "box2 is silent: it gives no sign of life")


async def test_a_box_that_is_switched_off_is_unreachable_and_says_why_until_it_is_back() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        lines["box2"].cut("no route to host")
        await settled()
        seen = await _box(fleet, "box2")
        assert (seen.standing, seen.why) == ("unreachable", "no route to host")
        await clock.pass_by(60)
        assert (await _box(fleet, "box2")).silent_s == 60
        lines["box2"].mend()
        await clock.pass_by(2.0)
        assert (await _box(fleet, "box2")).standing == "ready"


async def test_a_box_that_is_off_from_the_start_has_no_devices_yet_and_is_asked_again() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    lines["box2"].cut("connection refused")
    async with fleet_of(lines, clock) as fleet:
        snapshot = await fleet.snapshot()
        assert {box_of(device) for device in snapshot.state.devices} == {"box1"}
        assert snapshot.boxes["box2"].heard_s == 0.0
        lines["box2"].mend()
        await clock.pass_by(3.0)
        assert {box_of(device) for device in (await fleet.snapshot()).state.devices} == {"box1", "box2"}


async def test_when_a_box_was_last_heard_stays_the_same_while_it_is_away() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        heard_s = clock.now()
        lines["box2"].silence()
        await clock.pass_by(3.5)
        assert (await _box(fleet, "box2")).heard_s == heard_s
        clock.set_back(3600.0)
        await clock.pass_by(1.0)
        assert (await _box(fleet, "box2")).heard_s == heard_s
        lines["box2"].cut("no route to host")
        await settled()
        seen = await _box(fleet, "box2")
        assert (seen.standing, seen.heard_s) == ("unreachable", heard_s)


async def test_a_service_tells_since_when_the_engines_of_its_boxes_run() -> None:
    lines = scripted_lines(2)
    async with fleet_of(lines) as fleet:
        started_s = (await engine_of(lines["box1"]).hello()).started_at_s
        hello = await fleet.hello()
        assert hello.boxes_since_s == started_s
        assert (await _box(fleet, "box2")).started_at_s == started_s


async def test_a_box_of_another_version_is_shown_as_that_and_sent_nothing() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    lines["box1"].protocol = 1
    async with fleet_of(lines, clock) as fleet:
        assert (await _box(fleet, "box1")).standing == "other version"
        assert (await fleet.embed(SMALL, ["a"])).device.startswith("box2/")
        with pytest.raises(EngineUnreachable, match="box1"):
            fleet._boxes["box1"].link()


async def test_two_boxes_that_are_one_engine_are_shown_as_one() -> None:
    clock = HandClock()
    line, (other, third) = scripted_lines(1, clock)["box1"], scripted_lines(2, clock).values()
    engine_of(line).add_notice("said once")
    async with fleet_of({"box1": line, "again": Line(line.engine, clock), "box2": other}, clock) as fleet:
        seen = await fleet.snapshot()
        assert {box_of(device) for device in seen.state.devices} == {"box1", "box2"}
        assert (
            seen.boxes["again"].why
            == "it is the same engine as box1, by another way; take one of the two out of fleet.yaml"
        )
        assert len(await fleet.records()) == 1
        line.cut()
        await settled()
        line.engine = third.engine  # now they are two
        line.mend()
        await clock.pass_by(5.0)
        assert {box.standing for box in (await fleet.snapshot()).boxes.values()} == {"ready"}


async def test_a_fleets_service_is_no_box() -> None:
    clock = HandClock()
    async with fleet_of(scripted_lines(2, clock), clock) as inner:
        lines = {"box1": Line(inner, clock), "box2": Line(ScriptedEngine(), clock)}
        async with fleet_of(lines, clock) as fleet:
            seen = await fleet.snapshot()
            assert {box_of(device) for device in seen.state.devices} == {"box2"}
            assert seen.boxes["box1"].why == (
                "a fleet's service answers there, by /etc/citadel/fleet.yaml; a box is an engine, give its own socket"
            )


async def test_a_request_that_waits_for_a_box_is_let_go_when_that_falls_silent() -> None:
    clock = HandClock()
    lines = scripted_lines(1, clock)
    async with fleet_of(lines, clock) as fleet:
        lines["box1"].silence()
        loading = asyncio.create_task(fleet.submit(Submission("1", Load(SMALL, "box1/gpu0"))))
        await clock.pass_by(3.5)
        with pytest.raises(EngineUnreachable, match=r"what came of 'load .* there is unknown; ask again"):
            await loading


async def test_a_hanging_box_holds_up_nobody_else() -> None:
    clock = HandClock()
    lines = scripted_lines(3, clock)
    async with fleet_of(lines, clock) as fleet:
        lines["box2"].silence()
        before_s = clock.monotonic()
        assert (await fleet.snapshot()).boxes["box2"].standing == "ready"  # nobody can know yet
        done = await fleet.submit(Submission("1", Load(SMALL, "box3/gpu0")))
        assert done.__struct_config__.tag == "done"
        assert (await fleet.embed(SMALL, ["a"])).device == "box3/gpu0"
        assert clock.monotonic() == before_s


async def test_a_box_that_is_known_to_hang_is_not_even_asked() -> None:
    clock = HandClock()
    lines = scripted_lines(3, clock)
    async with fleet_of(lines, clock) as fleet:
        lines["box1"].silence()
        await clock.pass_by(4.0)
        asked = len(lines["box1"].calls)
        assert not (await fleet.embed(SMALL, ["a"])).device.startswith("box1/")
        assert len(lines["box1"].calls) == asked


async def test_an_engine_that_restarted_is_followed_from_where_its_journal_was_left() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        engine_of(lines["box1"]).add_notice("before")
        await settled()
        lines["box1"].cut()
        await settled()
        engine_of(lines["box1"]).add_notice("meanwhile")
        lines["box1"].mend()
        await clock.pass_by(2.0)
        texts = [getattr(record.entry, "text", "") for record in await fleet.records()]
        assert texts == ["box1: before", "box1: meanwhile"]


# ── from the service's start ─────────────────────────────────────────────────────────────────────


async def _started(lines: dict[str, Line], clock: HandClock) -> Following:
    following = Following(clock)
    following.adopt([Boxed(name, line.open) for name, line in lines.items()], Rules())
    await settled()
    return following


async def test_a_fleet_is_shown_once_all_have_answered() -> None:
    clock = HandClock()
    following = await _started(scripted_lines(3, clock), clock)
    await following.shown()
    assert {box.standing for box in following.boxes.values()} == {"ready"}
    assert following.has_met
    await following.end("")


async def test_a_box_that_says_nothing_is_not_waited_for_once_the_others_have_answered() -> None:
    clock = HandClock()
    lines = scripted_lines(3, clock)
    lines["box2"].silence()
    following = await _started(lines, clock)
    shown = asyncio.create_task(following.shown())
    await settled()
    assert not shown.done()
    await clock.pass_by(0.6)
    assert shown.done()
    assert [name for name, box in following.boxes.items() if box.standing == "ready"] == ["box1", "box3"]
    assert not following.has_met
    await clock.pass_by(1.0)
    assert following.has_met
    await following.end("")


async def test_where_none_answers_the_fleet_is_shown_all_the_same() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    for line in lines.values():
        line.silence()
    following = await _started(lines, clock)
    shown = asyncio.create_task(following.shown())
    await clock.pass_by(1.4)
    assert not shown.done()
    await clock.pass_by(0.2)
    assert shown.done()
    await following.end("")


async def test_nothing_is_loaded_before_a_box_that_may_have_it_has_answered() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    await engine_of(lines["box2"]).submit(Submission("before", Load(SMALL, "gpu1")))
    lines["box2"].silence()
    following = await _started(lines, clock)
    hello = Hello(PROTOCOL, "0", "here", 1, clock.now(), "")
    fleet = FleetEngine(hello, following, clock, Random(1), _nothing)
    asked = asyncio.create_task(fleet.embed(SMALL, ["a"]))
    sent = asyncio.create_task(fleet.submit(Submission("before", Load(SMALL))))
    await clock.pass_by(1.0)
    lines["box2"].mend()
    await settled()
    assert (await asked).device == "box2/gpu1"
    assert isinstance(await sent, Done)
    assert engine_of(lines["box1"]).submissions == []
    await fleet.stop(now=True)


async def _nothing() -> tuple[str, ...]:
    return ()
