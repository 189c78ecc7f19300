"""What emptying a box would do, as its fleet proposes it."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from engine.core.commands import Command, Evict, Load, Move, Submission
from engine.core.plans import EvictStep, Plan, Refusal
from engine.core.prediction import Prediction
from engine.core.proposals import Drain, Proposal
from fleet.engine import FleetEngine
from tests.fleet.fleets import Line, engine_of, fleet_of, scripted_lines, until
from tests.scripted_engine import ScriptedEngine

SMALL, MIDDLE, LARGE = "all-MiniLM-L6-v2", "bge-base", "phi-3-mini"


class Full(ScriptedEngine):
    """An engine where something has to leave for whatever comes."""

    def __init__(self, loss_s: float) -> None:
        super().__init__()
        self.loss_s = loss_s

    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        plan = await super().plan(command, now=now)
        if isinstance(plan, Refusal) or plan.load is None:
            return plan
        victim = EvictStep("e5-small", plan.load.device, 1, 0, True, Prediction(0.1, 0.2), loss_s=self.loss_s)
        return replace(plan, steps=(victim, *plan.steps))


class Refusing(ScriptedEngine):
    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        return Refusal(command, "gpu0 is too small")


async def _drain(fleet: FleetEngine, box: str = "box2") -> Proposal:
    proposed = await fleet.propose(Drain(box))
    assert isinstance(proposed, Proposal)
    return proposed


async def _load(fleet: FleetEngine, model: str, device: str) -> None:
    await fleet.submit(Submission(f"{model} {device}", Load(model, device, also=True)))


async def test_each_model_goes_to_the_cheapest_bidder_that_is_another_box() -> None:
    lines = {"box1": Line(Full(0.5)), "box2": Line(ScriptedEngine()), "box3": Line(ScriptedEngine())}
    async with fleet_of(lines) as fleet:
        for model, device in ((SMALL, "box2/gpu0"), (MIDDLE, "box2/gpu1")):
            await _load(fleet, model, device)
        proposed = await _drain(fleet)
        assert {one.model for one in proposed.gains} == {SMALL, MIDDLE}
        assert all(isinstance(one, Move) and one.device.startswith("box3/") for one in proposed.command.commands)
        assert [one.gain_s for one in proposed.gains] == sorted((one.gain_s for one in proposed.gains), reverse=True)
        assert all(one.cost_s > 0 for one in proposed.gains)


async def test_nothing_that_is_worth_more_leaves_another_box_for_it() -> None:
    dear, cheap = Line(Full(1e6)), Line(Full(0.0))
    async with fleet_of({"box1": dear, "box2": Line(ScriptedEngine())}) as fleet:
        await _load(fleet, SMALL, "box2/gpu0")
        proposed = await _drain(fleet)
        assert proposed.command.commands == ()
        assert proposed.reasons == (
            f"{SMALL} stays on box2: what would have to leave another box for it is worth more",
        )
    async with fleet_of({"box1": cheap, "box2": Line(ScriptedEngine())}) as fleet:
        await _load(fleet, SMALL, "box2/gpu0")
        assert (await _drain(fleet)).command.commands == (Move(SMALL, "box1/gpu0"),)


async def test_what_is_ready_elsewhere_leaves_and_what_is_only_on_its_way_waits_for_that() -> None:
    lines = scripted_lines(2)
    async with fleet_of(lines) as fleet:
        await _load(fleet, SMALL, "box2/gpu0")
        engine_of(lines["box1"]).hold()
        coming = asyncio.create_task(_load(fleet, SMALL, "box1/gpu1"))
        await until(fleet, lambda now: any(one.device == "box1/gpu1" for one in now.state.residents))
        assert (await _drain(fleet)).reasons == (f"{SMALL} stays on box2: its copy elsewhere is not ready yet",)
        engine_of(lines["box1"]).release()
        await coming
        proposed = await _drain(fleet)
        assert proposed.command.commands == (Evict(SMALL, "box2/gpu0"),)
        assert [(one.target, one.why) for one in proposed.gains] == [(None, "it is ready on box1/gpu1")]


async def test_a_model_that_no_other_box_takes_stays_in_the_boxes_own_words() -> None:
    async with fleet_of({"box1": Line(Refusing()), "box2": Line(ScriptedEngine())}) as fleet:
        await _load(fleet, LARGE, "box2/gpu0")
        assert (await _drain(fleet)).reasons == (f"{LARGE} stays on box2: box1: box1/gpu0 is too small",)


async def test_a_box_that_does_not_answer_keeps_what_it_has() -> None:
    lines = scripted_lines(2)
    async with fleet_of(lines) as fleet:
        await _load(fleet, SMALL, "box2/gpu0")
        lines["box2"].cut("no route to host")
        await until(fleet, lambda now: now.boxes["box2"].standing != "ready")
        proposed = await _drain(fleet)
        assert proposed.command.commands == ()
        assert proposed.reasons == ("box2 is unreachable (no route to host): what is on it stays there",)
