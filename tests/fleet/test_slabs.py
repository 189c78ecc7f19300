"""Where a model is loaded that only another box has prepared, its slab comes from there, if that takes less than preparing it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from engine.api import Cancelled, Done, EngineUnreachable, Snapshot
from engine.core.commands import Load, Move, Submission
from engine.core.names import BoxName
from engine.core.plans import Plan
from engine.core.proposals import Drain, Proposal
from engine.core.sizes import MIB
from engine.paths import find_paths
from fleet.core.view import Rule, Rules
from fleet.ray_cluster import SLAB_PORTS, Membership, RayFolder, start_command
from tests.fleet.fleets import Line, fleet_of, until
from tests.hand_clock import HandClock, settled
from tests.scripted_slabs import FROM_DISK_S, PREPARING_S, CarryingEngine

LARGE = "phi-3-mini"
LARGE_BYTES = 400 * MIB
GUESSED_S = 0.2 + LARGE_BYTES / 100e6


def lines_of(addresses: Mapping[BoxName, str], *prepared: BoxName) -> dict[BoxName, Line]:
    """Boxes that are reached there by others; these have the model prepared."""
    lines = {name: Line(CarryingEngine({LARGE} if name in prepared else ())) for name in addresses}
    for name, address in addresses.items():
        lines[name].address = address
    return lines


def engine_of(line: Line) -> CarryingEngine:
    assert isinstance(line.engine, CarryingEngine)
    return line.engine


TWO = {"box1": "10.0.0.1", "box2": "10.0.0.2"}
ON_BOX2 = Rules(models={LARGE: Rule(only=("box2",))})


async def test_a_load_on_a_box_that_has_it_not_prepared_fetches_it_first() -> None:
    lines = lines_of(TWO, "box1")
    async with fleet_of(lines) as fleet:
        answer = await fleet.submit(Submission("1", Load(LARGE, "box2/gpu0")))
    assert isinstance(answer, Done)
    assert engine_of(lines["box1"]).offered == [(LARGE, "10.0.0.1", SLAB_PORTS)]
    assert engine_of(lines["box2"]).fetched == [(LARGE, "10.0.0.1:4242")]
    assert answer.plan.load is not None
    assert answer.plan.load.tier == "disk"


async def test_the_plan_says_what_comes_from_where_and_takes_as_long_as_that() -> None:
    lines = lines_of(TWO, "box1")
    async with fleet_of(lines) as fleet:
        planned = await fleet.plan(Load(LARGE, "box2/gpu0"))
    assert isinstance(planned, Plan)
    assert planned.reasons[-1] == (
        "the prepared weights of phi-3-mini (400 MiB) come from box1 in about 4.4 s; to prepare them on box2 would take about"
        " 42 s"
    )
    assert planned.load is not None
    assert planned.load.tier == "disk"
    assert GUESSED_S < planned.load.predicted.p50_s < GUESSED_S + 1
    assert not engine_of(lines["box2"]).fetched


async def test_what_was_confirmed_with_a_fetch_is_done_with_it() -> None:
    lines = lines_of(TWO, "box1")
    async with fleet_of(lines) as fleet:
        planned = await fleet.plan(Load(LARGE, "box2/gpu0"))
        assert isinstance(planned, Plan)
        answer = await fleet.submit(Submission("1", Load(LARGE, "box2/gpu0"), confirmed=planned.effects))
    assert isinstance(answer, Done)
    assert len(engine_of(lines["box2"]).fetched) == 1


async def test_a_request_for_a_model_that_only_such_a_box_may_hold_brings_it_there_once() -> None:
    lines = lines_of(TWO, "box1")
    async with fleet_of(lines, rules=ON_BOX2) as fleet:
        generations = await asyncio.gather(*(fleet.generate(LARGE, "Once", 2) for _ in range(5)))
    assert {generation.device for generation in generations} == {"box2/gpu0"}
    assert engine_of(lines["box2"]).fetched == [(LARGE, "10.0.0.1:4242")]


async def test_a_box_that_would_fetch_outbids_one_that_would_prepare() -> None:
    lines = lines_of({"box1": "10.0.0.1", "box2": "10.0.0.2", "box3": ""}, "box1")
    async with fleet_of(lines, rules=Rules(models={LARGE: Rule(only=("box2", "box3"))})) as fleet:
        for _ in range(5):
            planned = await fleet.plan(Load(LARGE))
            assert isinstance(planned, Plan)
            assert planned.load is not None
            assert planned.load.device == "box2/gpu0"


@pytest.mark.parametrize(
    ("addresses", "why"),
    [
        ({"box1": "", "box2": "10.0.0.2"}, "nobody knows how box1 is reached"),
        ({"box1": "10.0.0.1", "box2": ""}, "box2 may be anywhere"),
        ({"box1": "127.0.0.1", "box2": "10.0.0.2"}, "loopback is another one on each machine"),
    ],
)
async def test_boxes_that_can_not_reach_each_other_prepare_by_themselves(
    addresses: dict[BoxName, str], why: str
) -> None:
    lines = lines_of(addresses, "box1")
    async with fleet_of(lines) as fleet:
        answer = await fleet.submit(Submission("1", Load(LARGE, "box2/gpu0")))
    assert isinstance(answer, Done)
    assert answer.plan.predicted.p50_s == PREPARING_S, why
    assert not engine_of(lines["box1"]).offered


async def test_engines_of_one_machine_reach_each_other_by_any_port() -> None:
    lines = lines_of({"box1": "127.0.0.1", "box2": "127.0.0.1"}, "box1")
    async with fleet_of(lines) as fleet:
        await fleet.submit(Submission("1", Load(LARGE, "box2/gpu0")))
    assert engine_of(lines["box1"]).offered == [(LARGE, "127.0.0.1", (0,))]


async def test_what_is_fetched_slower_than_it_is_prepared_is_prepared() -> None:
    clock = HandClock()
    lines = lines_of(TWO, "box1")
    small = "all-MiniLM-L6-v2"
    engine_of(lines["box1"]).set_state(CarryingEngine({LARGE, small}).state)
    engine_of(lines["box2"]).is_slow = True
    async with fleet_of(lines, clock) as fleet:
        loading = asyncio.create_task(fleet.submit(Submission("1", Load(LARGE, "box2/gpu0"))))
        await engine_of(lines["box2"]).until(lambda: bool(engine_of(lines["box2"]).fetched))
        await clock.pass_by(500.0)  # an old modem: 0.8 MB/s, where preparing has 10
        engine_of(lines["box2"]).is_slow = False
        engine_of(lines["box2"]).add_notice("it has come")
        assert isinstance(await loading, Done)
        answer = await fleet.submit(Submission("2", Load(small, "box2/gpu1")))
        assert isinstance(answer, Done)
        assert answer.plan.load is not None
        assert answer.plan.load.tier == "source"
    assert [model for model, _ in engine_of(lines["box2"]).fetched] == [LARGE]


async def test_where_fetching_fails_the_model_is_prepared_and_that_box_not_tried_for_a_while() -> None:
    clock = HandClock()
    lines = lines_of(TWO, "box1")
    engine_of(lines["box2"]).trouble = "the line to 10.0.0.1:4242 breaks again and again"
    async with fleet_of(lines, clock) as fleet:
        answer = await fleet.submit(Submission("1", Load(LARGE, "box2/gpu0")))
        assert isinstance(answer, Done)
        assert answer.plan.predicted.p50_s == PREPARING_S
        assert len(engine_of(lines["box2"]).fetched) == 1
        again = await fleet.plan(Load(LARGE, "box2/gpu1", also=True))
        assert isinstance(again, Plan)
        assert again.predicted.p50_s == PREPARING_S
        await clock.pass_by(301.0)
        later = await fleet.plan(Load(LARGE, "box2/gpu1", also=True))
        assert isinstance(later, Plan)
        assert later.predicted.p50_s < PREPARING_S


async def test_a_command_taken_back_while_its_slab_comes_is_not_carried_out() -> None:
    lines = lines_of(TWO, "box1")
    engine = engine_of(lines["box2"])
    engine.is_slow = True
    async with fleet_of(lines) as fleet:
        loading = asyncio.create_task(fleet.submit(Submission("1", Load(LARGE, "box2/gpu0"))))
        await engine.until(lambda: bool(engine.fetched))
        assert await fleet.cancel("1")
        answer = await loading
        assert isinstance(answer, Cancelled)
        assert "while box2 fetched what it needs; what came of that is kept" in answer.reason
        assert not engine.submissions
        assert not await fleet.cancel("1")


async def test_what_waits_for_a_slab_is_seen_with_how_long_it_will() -> None:
    clock = HandClock()
    lines = lines_of(TWO, "box1")
    engine = engine_of(lines["box2"])
    engine.is_slow = True
    async with fleet_of(lines, clock, ON_BOX2) as fleet:
        generating = asyncio.create_task(fleet.generate(LARGE, "Once", 2))
        await engine.until(lambda: bool(engine.fetched))
        await clock.pass_by(1.4)
        (job,) = (await fleet.snapshot()).jobs
        assert (job.command, job.origin, job.phase) == (Load(LARGE), "request", "queue")
        assert job.waiting_for == "its prepared weights, 400 MiB that come from box1, 3 s more"
        engine.is_slow = False
        engine.add_notice("it has come")
        await generating
        assert not (await fleet.snapshot()).jobs


async def test_a_command_whose_sender_has_left_while_its_slab_comes_is_carried_out() -> None:
    lines = lines_of(TWO, "box1")
    engine = engine_of(lines["box2"])
    engine.is_slow = True
    async with fleet_of(lines) as fleet:
        loading = asyncio.create_task(fleet.submit(Submission("1", Load(LARGE, "box2/gpu0"))))
        await engine.until(lambda: bool(engine.fetched))
        loading.cancel()
        await settled()
        engine.is_slow = False
        engine.add_notice("it has come")

        def has_it(snapshot: Snapshot) -> bool:
            return any(one.stage == "ready" for one in snapshot.state.of(LARGE))

        await until(fleet, has_it)
        assert isinstance(await fleet.submit(Submission("1", Load(LARGE, "box2/gpu0"))), Done)
    assert [submission.id for submission in engine.submissions] == ["1"]


async def test_a_box_that_goes_while_it_fetches_ends_the_wait() -> None:
    lines = lines_of(TWO, "box1")
    engine_of(lines["box2"]).is_slow = True
    async with fleet_of(lines) as fleet:
        loading = asyncio.create_task(fleet.submit(Submission("1", Load(LARGE, "box2/gpu0"))))
        await engine_of(lines["box2"]).until(lambda: bool(engine_of(lines["box2"]).fetched))
        lines["box2"].cut()
        with pytest.raises(EngineUnreachable, match="box2 is unreachable"):
            await loading


async def test_a_box_that_leaves_the_fleet_while_it_fetches_is_told_as_that() -> None:
    lines = lines_of(TWO, "box1")
    box2 = engine_of(lines["box2"])
    box2.is_slow = True
    async with fleet_of(lines) as fleet:
        loading = asyncio.create_task(fleet.submit(Submission("1", Load(LARGE, "box2/gpu0"))))
        await box2.until(lambda: bool(box2.fetched))
        del lines["box2"]
        await fleet.reload()
        box2.is_slow = False
        box2.add_notice("it has come")
        with pytest.raises(EngineUnreachable, match=r"^box2 is no box of the fleet any more$"):
            await loading
    assert not box2.submissions


async def test_another_box_s_model_in_another_dtype_is_another_one() -> None:
    lines = lines_of(TWO, "box1")
    state = engine_of(lines["box1"]).state
    half = replace(state.models[LARGE], spec=replace(state.models[LARGE].spec, dtype="float16"))
    engine_of(lines["box1"]).set_state(replace(state, models={**state.models, LARGE: half}))
    async with fleet_of(lines) as fleet:
        answer = await fleet.submit(Submission("1", Load(LARGE, "box2/gpu0")))
    assert isinstance(answer, Done)
    assert answer.plan.predicted.p50_s == PREPARING_S
    assert not engine_of(lines["box1"]).offered


async def test_a_prepared_model_is_not_fetched() -> None:
    lines = lines_of(TWO, "box1", "box2")
    async with fleet_of(lines) as fleet:
        answer = await fleet.submit(Submission("1", Load(LARGE, "box2/gpu0")))
        assert isinstance(answer, Done)
        assert answer.plan.predicted.p50_s == FROM_DISK_S
    assert not engine_of(lines["box1"]).offered


async def test_a_drain_goes_where_the_slab_is_fetched_sooner_than_prepared() -> None:
    lines = lines_of({"box1": "10.0.0.1", "box2": "", "box3": "10.0.0.3"}, "box1")
    async with fleet_of(lines) as fleet:
        await fleet.submit(Submission("1", Load(LARGE, "box1/gpu0")))
        proposed = await fleet.propose(Drain("box1"))
    assert isinstance(proposed, Proposal)
    assert proposed.command.commands == (Move(LARGE, "box3/gpu0"),)


def test_rays_and_slabs_have_ports_of_their_own() -> None:
    ports = Membership("box1", "10.0.0.1", "10.0.0.1:26400").ports
    assert len(ports) == 47
    assert not set(ports) & set(SLAB_PORTS)
    assert set(SLAB_PORTS) < set(range(26400, 26450))
    said = start_command(
        Membership("box1", "10.0.0.1", "10.0.0.1:26400"), RayFolder(find_paths({"CITADEL_HOME": "/x"}))
    )
    assert {port for port in ports if f"={port}" in " ".join(said)} >= {26400, 26401, 26410, 26449}
    assert not any(str(port) in " ".join(said) for port in SLAB_PORTS)
