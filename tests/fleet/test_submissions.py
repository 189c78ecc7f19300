"""Commands over several boxes: where they go, that each is done once, and what is said where that is not known."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from engine.api import Answer, BadRequest, Changed, Declined, Done, EngineAPI, EngineUnreachable, Failed
from engine.core.commands import Batch, Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Submission, Unpin
from engine.core.models import Pin
from engine.core.names import BoxName, DeviceId, ModelName
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Drain, Pack, Proposal, Rebalance, Undo
from engine.core.records import Switch
from fleet.core.view import Rule, Rules
from fleet.engine import FleetEngine
from fleet.proposing import proposed
from fleet.routing import Known
from tests.fleet.fleets import Line, engine_of, fleet_of, scripted_lines
from tests.hand_clock import HandClock, settled
from tests.scripted_engine import ScriptedEngine

SMALL, LARGE, OTHER_LARGE = "all-MiniLM-L6-v2", "phi-3-mini", "bge-base"


async def _do(fleet: FleetEngine, *commands: Command) -> list[Answer]:
    return [await fleet.submit(Submission(f"test-{command!r}", command)) for command in commands]


async def _undoing(engine: EngineAPI, submission_id: str) -> Submission:
    """What takes the last change back, as it is proposed."""
    proposal = await engine.propose(Undo())
    assert isinstance(proposal, Proposal)
    return Submission(submission_id, proposal.command, confirmed=proposal.plan.effects)


async def _devices(fleet: FleetEngine, model: ModelName) -> list[DeviceId]:
    return sorted(resident.device for resident in (await fleet.snapshot()).state.of(model))


def _sent(lines: dict[BoxName, Line]) -> dict[BoxName, list[Command]]:
    """What each box carried out or declined, as it calls its devices."""
    return {name: [one.command for one in engine_of(line).submissions] for name, line in lines.items()}


# ── where ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_command_that_names_a_device_goes_to_its_box() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        (answer,) = await _do(fleet, Load(SMALL, "box2/gpu1"))
        assert isinstance(answer, Done)
        assert answer.plan.effects == f"load {SMALL} on box2/gpu1"
        assert _sent(lines) == {"box1": [], "box2": [Load(SMALL, "gpu1")], "box3": []}


async def test_a_device_that_is_on_several_boxes_must_be_named_with_one() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        refused = await fleet.plan(Load(SMALL, "gpu0"))
        assert isinstance(refused, Refusal)
        assert refused.reason == "gpu0 is on 3 boxes"
        assert refused.advice == ("say which: box1/gpu0 or box2/gpu0 or box3/gpu0",)
        unknown = await fleet.plan(Load(SMALL, "box9/gpu0"))
        assert isinstance(unknown, Refusal)
        assert unknown.reason == "there is no device box9/gpu0"


async def test_a_load_that_names_none_goes_where_it_costs_least() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        await _do(
            fleet, *(Load(model, f"{box}/{gpu}") for box in ("box1", "box2") for model, gpu in ((LARGE, "gpu0"),))
        )
        planned = await fleet.plan(Load(OTHER_LARGE))
        (answer,) = await _do(fleet, Load(OTHER_LARGE))
        assert isinstance(planned, Plan)
        assert isinstance(answer, Done)
        assert answer.plan.effects == planned.effects


async def test_what_a_model_is_called_off_or_pinned_by_name_goes_where_it_is() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        await _do(
            fleet, Load(SMALL, "box3/gpu0"), SetPin(SMALL), Unpin(SMALL), ForceCpu(SMALL), LeaveCpu(SMALL), Evict(SMALL)
        )
        assert await _devices(fleet, SMALL) == []
        assert _sent(lines)["box1"] == _sent(lines)["box2"] == []
        assert len(_sent(lines)["box3"]) == 6


async def test_an_eviction_without_a_device_takes_every_copy_off_and_says_so() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        await _do(fleet, Load(SMALL, "box1/gpu0"), Load(SMALL, "box2/gpu0", also=True))
        assert await _devices(fleet, SMALL) == ["box1/gpu0", "box2/gpu0"]
        (answer,) = await _do(fleet, Evict(SMALL))
        assert isinstance(answer, Done)
        assert answer.plan.effects == f"evict {SMALL} from box1/gpu0; evict {SMALL} from box2/gpu0"
        assert await _devices(fleet, SMALL) == []


async def test_a_move_to_another_box_leaves_the_first_only_once_it_has_come() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        await _do(fleet, Load(SMALL, "box1/gpu0"))
        engine_of(lines["box2"]).fail_next("the card fell off the bus")
        (failed,) = await _do(fleet, Move(SMALL, "box2/gpu0"))
        assert isinstance(failed, Failed)
        assert await _devices(fleet, SMALL) == ["box1/gpu0"]
        (done,) = await _do(fleet, Load(SMALL, "box2/gpu0"))
        assert isinstance(done, Done)
        assert await _devices(fleet, SMALL) == ["box2/gpu0"]


async def test_a_move_within_a_box_leaves_copies_elsewhere_alone() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        await _do(fleet, Load(SMALL, "box1/gpu0"), Load(SMALL, "box2/gpu0", also=True), Move(SMALL, "box1/gpu1"))
        assert await _devices(fleet, SMALL) == ["box1/gpu1", "box2/gpu0"]


async def test_a_pin_goes_along_to_another_box() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        await _do(fleet, SetPin(SMALL, "box1/gpu0"))
        planned = await fleet.plan(Move(SMALL, "box2/gpu1"))
        assert isinstance(planned, Plan)
        assert "the pin that it has on box1 goes along" in planned.reasons
        answer = await fleet.submit(Submission("move", Move(SMALL, "box2/gpu1"), confirmed=planned.effects))
        assert isinstance(answer, Done)
        assert [resident.device for resident in engine_of(lines["box2"]).state.of(SMALL)] == ["gpu1"]
        assert engine_of(lines["box2"]).state.models[SMALL].pin == Pin()
        assert not engine_of(lines["box1"]).state.of(SMALL)
        assert engine_of(lines["box1"]).state.models[SMALL].pin is None


async def test_a_pin_of_a_model_that_is_nowhere_holds_wherever_it_comes() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        await _do(fleet, SetPin(SMALL))
        assert all(engine_of(line).state.models[SMALL].pin == Pin() for line in lines.values())
        await _do(fleet, Unpin(SMALL))
        assert not any(engine_of(line).state.models[SMALL].pin for line in lines.values())


async def test_a_copy_on_a_box_that_is_away_is_not_passed_over_in_silence() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        await _do(fleet, Load(SMALL, "box1/gpu0"), Load(SMALL, "box2/gpu0", also=True))
        lines["box2"].cut()
        await settled()
        refused = await fleet.plan(Evict(SMALL))
        assert isinstance(refused, Refusal)
        assert refused.reason == f"{SMALL} is on box2, which does not answer"
        assert refused.advice == ("name a device, as in box1/gpu0, to leave it out",)
        (done,) = await _do(fleet, Evict(SMALL, "box1/gpu0"))
        assert isinstance(done, Done)


async def test_a_model_whose_box_is_away_is_loaded_elsewhere_all_the_same() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        await _do(fleet, Load(SMALL, "box2/gpu0"))
        lines["box2"].cut()
        await settled()
        named = await fleet.plan(Load(SMALL, "box1/gpu0"))
        assert isinstance(named, Plan)
        assert "the copy on box2, which does not answer, stays" in named.reasons
        (done,) = await _do(fleet, Load(SMALL))
        assert isinstance(done, Done)
        assert len(await _devices(fleet, SMALL)) == 2


async def test_a_model_goes_to_no_box_that_may_not_hold_it() -> None:
    rules = Rules(models={SMALL: Rule(only=("box3",))})
    lines = scripted_lines()
    async with fleet_of(lines, rules=rules) as fleet:
        for command in (Load(SMALL, "box1/gpu0"), Load(SMALL, "box1/gpu0", also=True), SetPin(SMALL, "box2/gpu1")):
            refused = await fleet.plan(command)
            assert isinstance(refused, Refusal)
            assert refused.reason == f"fleet.yaml lets only box3 hold {SMALL}"
        await _do(fleet, Load(SMALL))
        assert await _devices(fleet, SMALL) in (["box3/gpu0"], ["box3/gpu1"])


async def test_a_box_whose_catalog_has_not_the_model_is_named_with_those_that_have() -> None:
    lines = scripted_lines()
    box2 = engine_of(lines["box2"])
    box2.set_state(replace(box2.state, models={m: one for m, one in box2.state.models.items() if m != SMALL}))
    async with fleet_of(lines) as fleet:
        for command in (Load(SMALL, "box2/gpu0"), Evict(SMALL, "box2/gpu0"), SetPin(SMALL, "box2/gpu0")):
            refused = await fleet.plan(command)
            assert isinstance(refused, Refusal)
            assert refused.reason == f"the catalog of box2 has no {SMALL}"
            assert refused.advice == ("put it there, or name a device of box1, box3",)


# ── batches ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_over_several_boxes_is_done_by_each_for_itself() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        batch = Batch("both", (Load(SMALL, "box1/gpu0"), Load(LARGE, "box2/gpu0"), SetPin(SMALL, "box1/gpu0")))
        planned = await fleet.plan(batch)
        assert isinstance(planned, Plan)
        answer = await fleet.submit(Submission("1", batch, confirmed=planned.effects))
        assert isinstance(answer, Done)
        assert [len(sent) for sent in _sent(lines).values()] == [1, 1, 0]
        assert await _devices(fleet, LARGE) == ["box2/gpu0"]


async def test_a_batch_in_which_one_box_waits_for_another_is_refused_in_words() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        await _do(fleet, Load(SMALL, "box1/gpu0"))
        refused = await fleet.plan(Batch("two", (Move(SMALL, "box2/gpu0"), Load(LARGE, "box1/gpu0"))))
        assert isinstance(refused, Refusal)
        assert "one after the other, which a batch can't" in refused.reason
        assert refused.advice == ("ask for it by itself",)


async def test_a_batch_of_which_a_part_fails_says_which_was_done() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        engine_of(lines["box2"]).fail_next("out of memory")
        batch = Batch("both", (Load(SMALL, "box1/gpu0"), Load(LARGE, "box2/gpu0")))
        (answer,) = await _do(fleet, batch)
        assert answer == Failed("box1: done; box2: out of memory", partly=True)


async def test_a_load_that_has_changed_is_asked_about_as_a_whole() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        await _do(fleet, Load(SMALL, "box1/gpu0"), SetPin(SMALL))
        planned = await fleet.plan(Load(SMALL, "box2/gpu0"))
        assert isinstance(planned, Plan)
        box2 = engine_of(lines["box2"])
        planning = box2.plan

        async def overtaken(command: Command, *, now: bool = False) -> Plan | Refusal:
            found = await planning(command, now=now)
            await box2.submit(Submission("meanwhile", Load(LARGE, "gpu0"), "request"))
            return found

        box2.plan = overtaken  # type: ignore[method-assign]
        changed = await fleet.submit(Submission("1", Load(SMALL, "box2/gpu0"), confirmed=planned.effects))
        assert isinstance(changed, Changed)
        assert changed.plan.command == Load(SMALL, "box2/gpu0")
        assert f"evict {SMALL} from box1/gpu0" in changed.plan.effects
        assert await _devices(fleet, SMALL) == ["box1/gpu0"]


async def test_a_batch_that_has_changed_on_one_box_is_done_on_none() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        batch = Batch("both", (Load(SMALL, "box1/gpu0"), Load(LARGE, "box2/gpu0")))
        planned = await fleet.plan(batch)
        assert isinstance(planned, Plan)
        await _do(fleet, Load(OTHER_LARGE, "box2/gpu0"))
        answer = await fleet.submit(Submission("1", batch, confirmed=planned.effects))
        assert isinstance(answer, Changed)
        assert await _devices(fleet, SMALL) == []


# ── once ─────────────────────────────────────────────────────────────────────────────────────────


async def test_an_id_that_is_sent_again_goes_to_the_same_box_and_does_nothing_twice() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        first = await fleet.submit(Submission("1", Load(SMALL)))
        await _do(fleet, Evict(SMALL))
        assert await fleet.submit(Submission("1", Load(SMALL))) == first
        assert await _devices(fleet, SMALL) == []


async def test_an_id_of_another_command_is_refused() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        await fleet.submit(Submission("1", Load(SMALL)))
        with pytest.raises(BadRequest, match="was given to another command"):
            await fleet.submit(Submission("1", Load(LARGE)))


async def test_a_box_that_goes_within_a_load_leaves_it_unknown_and_does_it_once_when_it_is_back() -> None:
    clock = HandClock()
    lines = scripted_lines(3, clock)
    box2 = engine_of(lines["box2"])
    async with fleet_of(lines, clock) as fleet:
        box2.hold()
        submission = Submission("1", Load(SMALL, "box2/gpu0"))
        loading = asyncio.create_task(fleet.submit(submission))
        await box2.until(lambda: bool(box2.jobs))
        lines["box2"].cut("no route to host")
        with pytest.raises(EngineUnreachable, match=r"box2 does not answer, and what came of .* is unknown; ask again"):
            await loading
        with pytest.raises(EngineUnreachable, match="unknown"):
            await fleet.submit(submission)
        box2.release()
        lines["box2"].mend()
        await clock.pass_by(2.0)
        assert isinstance(await fleet.submit(submission), Done)
        assert _switches(box2) == 1


def _switches(engine: ScriptedEngine) -> int:
    return sum(isinstance(record.entry, Switch) for record in engine._records)


async def test_a_box_that_was_away_from_the_start_was_sent_nothing_and_that_is_said() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        lines["box2"].cut("switched off")
        await settled()
        with pytest.raises(EngineUnreachable, match=r"box2 is unreachable: switched off; it was not sent 'load"):
            await fleet.submit(Submission("1", Load(SMALL, "box2/gpu0")))


async def test_a_service_that_started_anew_finds_a_command_in_the_jobs_of_its_box() -> None:
    lines = scripted_lines()
    submission = Submission("1", Load(SMALL))
    async with fleet_of(lines) as first:
        chosen = await first.plan(Load(SMALL))
        assert isinstance(chosen, Plan)
        for line in lines.values():
            engine_of(line).hold()
        loading = asyncio.create_task(first.submit(submission))
        await settled()
        assert any(engine_of(line).jobs for line in lines.values())
        loading.cancel()
    async with fleet_of(lines, seed=9) as anew:
        again = asyncio.create_task(anew.submit(submission))
        await settled()
        for line in lines.values():
            engine_of(line).release()
        assert isinstance(await again, Done)
        assert sum(_switches(engine_of(line)) for line in lines.values()) == 1


async def test_a_service_that_started_anew_finds_how_a_command_ended_in_a_journal() -> None:
    lines = scripted_lines()
    submission = Submission("1", Load(SMALL))
    async with fleet_of(lines) as first:
        before = await first.submit(submission)
        await _do(first, Evict(SMALL))
    async with fleet_of(lines) as anew:
        after = await anew.submit(submission)
        assert isinstance(before, Done)
        assert isinstance(after, Done)
        assert after.switch == before.switch
        assert await _devices(anew, SMALL) == []


@pytest.mark.parametrize("has_ended", [False, True])
async def test_a_service_that_started_anew_has_the_rest_of_a_command_done(*, has_ended: bool) -> None:
    lines = scripted_lines()
    box1, box2 = engine_of(lines["box1"]), engine_of(lines["box2"])
    submission = Submission("1", Load(SMALL, "box2/gpu0"))
    await box1.submit(Submission("0", Load(SMALL, "gpu0")))
    box2.now_s += 10
    box2.hold()
    sent_by_the_first = asyncio.create_task(box2.submit(Submission("1", Load(SMALL, "gpu0"))))
    await box2.until(lambda: bool(box2.jobs))
    if has_ended:
        box2.release()
        await sent_by_the_first
    async with fleet_of(lines) as anew:
        again = asyncio.create_task(anew.submit(submission))
        await settled()
        box2.release()
        assert isinstance(await again, Done)
        assert await _devices(anew, SMALL) == ["box2/gpu0"]
        box1.now_s += 20
        assert isinstance(await anew.submit(Submission("2", Load(SMALL, "box1/gpu1", also=True))), Done)
    async with fleet_of(lines) as third:
        assert isinstance(await third.submit(submission), Done)
        assert await _devices(third, SMALL) == ["box1/gpu1", "box2/gpu0"]
    await sent_by_the_first


async def test_a_service_that_started_anew_finds_what_an_undo_has_done() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as first:
        await _do(first, Load(SMALL, "box1/gpu0"), Load(SMALL, "box2/gpu0"))
        submission = await _undoing(first, "undo")
        before = await first.submit(submission)
    async with fleet_of(lines) as anew:
        after = await anew.submit(submission)
        assert isinstance(before, Done)
        assert isinstance(after, Done)
        assert await _devices(anew, SMALL) == ["box1/gpu0"]


async def test_a_service_that_started_anew_has_the_rest_of_an_undo_done() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as first:
        await _do(first, Load(SMALL, "box1/gpu0"), Load(SMALL, "box2/gpu0"))
        submission = await _undoing(first, "undo")
    box1 = engine_of(lines["box1"])
    await box1.submit(await _undoing(box1, "undo"))
    async with fleet_of(lines) as anew:
        assert isinstance(await anew.submit(submission), Done)
        assert await _devices(anew, SMALL) == ["box1/gpu0"]


async def test_a_command_can_be_taken_back_wherever_it_is() -> None:
    lines = scripted_lines()
    box3 = engine_of(lines["box3"])
    async with fleet_of(lines) as fleet:
        box3.hold()
        loading = asyncio.create_task(fleet.submit(Submission("1", Load(SMALL, "box3/gpu0"))))
        await box3.until(lambda: bool(box3.jobs))
        assert await fleet.cancel("1") is True
        assert (await loading).__struct_config__.tag == "cancelled"
        assert await fleet.cancel("1") is False


# ── wishes ───────────────────────────────────────────────────────────────────────────────────────


async def test_undo_takes_back_the_newest_change_of_any_box() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        await _do(fleet, Load(SMALL, "box1/gpu0"))
        await _do(fleet, Load(LARGE, "box2/gpu0"))
        proposed = await fleet.propose(Undo())
        assert isinstance(proposed, Proposal)
        answer = await fleet.submit(Submission("undo", proposed.command, confirmed=proposed.plan.effects))
        assert isinstance(answer, Done)
        left = {resident.model for resident in (await fleet.snapshot()).state.residents}
        assert len(left) == 1


async def _undo(fleet: FleetEngine, submission_id: str) -> Answer:
    return await fleet.submit(await _undoing(fleet, submission_id))


@pytest.mark.parametrize(("before", "after"), [("box1", "box2"), ("box2", "box1")])
async def test_undo_of_a_load_that_took_a_model_from_another_box_brings_it_back_there(
    before: BoxName, after: BoxName
) -> None:
    async with fleet_of(scripted_lines()) as fleet:
        await _do(fleet, Load(SMALL, f"{before}/gpu1"), Load(SMALL, f"{after}/gpu0"))
        assert await _devices(fleet, SMALL) == [f"{after}/gpu0"]
        assert isinstance(await _undo(fleet, "undo"), Done)
        assert await _devices(fleet, SMALL) == [f"{before}/gpu1"]
        assert isinstance(await _undo(fleet, "undo the first as well"), Done)
        assert await _devices(fleet, SMALL) == []


async def test_undo_of_what_several_boxes_did_has_each_take_back_its_own() -> None:
    lines = scripted_lines()
    async with fleet_of(lines) as fleet:
        await _do(fleet, Load(SMALL, "box1/gpu0"), SetPin(SMALL), SetPin(SMALL, "box3/gpu1"), Unpin(SMALL))
        assert isinstance(await _undo(fleet, "undo"), Done)
        pins = {name: (await engine_of(line).snapshot()).state.models[SMALL].pin for name, line in lines.items()}
        assert pins == {"box1": Pin(None), "box2": None, "box3": Pin("gpu1")}


async def test_a_change_that_one_of_its_boxes_can_t_take_back_is_left_as_it_is_by_all() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        await _do(fleet, Load(LARGE, "box2/gpu0"), Load(LARGE, "box1/gpu0"))
        for gpu, model in (("gpu0", OTHER_LARGE), ("gpu1", SMALL)):
            await fleet.submit(Submission(f"request {gpu}", Load(model, f"box2/{gpu}"), "request"))
        refused = await fleet.propose(Undo())
        assert isinstance(refused, Refusal), refused
        assert await _devices(fleet, LARGE) == ["box1/gpu0"]


async def test_what_a_box_that_is_away_did_is_taken_back_when_it_is_back() -> None:
    clock = HandClock()
    lines = scripted_lines(2, clock)
    async with fleet_of(lines, clock) as fleet:
        await _do(fleet, Load(SMALL, "box1/gpu0"))
        for line in lines.values():
            engine_of(line).now_s += 10
        await _do(fleet, Load(SMALL, "box2/gpu0"))
        lines["box2"].cut()
        await settled()
        proposed = await fleet.propose(Undo())
        assert isinstance(proposed, Proposal)
        assert proposed.reasons == (
            "what box2 did of it stays, since box2 does not answer; undo again when it is back",
        )
        assert isinstance(await _undo(fleet, "undo"), Done)
        lines["box2"].mend()
        await clock.pass_by(5.0)
        assert await _devices(fleet, SMALL) == ["box1/gpu0", "box2/gpu0"]
        assert isinstance(await _undo(fleet, "undo again"), Done)
        assert await _devices(fleet, SMALL) == ["box1/gpu0"]


async def test_where_only_a_box_that_is_away_has_changed_anything_that_is_said_of_an_undo() -> None:
    lines = scripted_lines(2)
    async with fleet_of(lines) as fleet:
        await _do(fleet, Load(SMALL, "box2/gpu0"))
        lines["box2"].cut()
        await settled()
        refused = await fleet.propose(Undo())
        assert isinstance(refused, Refusal)
        assert refused.reason == "what may be taken back is on box2, which does not answer"


async def test_a_drain_concerns_the_device_of_its_box() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        await _do(fleet, Load(SMALL, "box2/gpu0"), Load(SMALL, "box1/gpu0", also=True))
        proposed = await fleet.propose(Drain("box2/gpu0"))
        assert isinstance(proposed, Proposal)
        answer = await fleet.submit(Submission("drain", proposed.command, confirmed=proposed.plan.effects))
        assert isinstance(answer, Done)
        devices = await _devices(fleet, SMALL)
        assert "box1/gpu0" in devices
        assert "box2/gpu0" not in devices


async def test_what_each_box_proposes_is_one_batch() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        proposed = await fleet.propose(Rebalance())
        assert isinstance(proposed, Proposal)
        assert proposed.command.title == "rebalance"
        packed = await fleet.propose(Pack())
        assert isinstance(packed, Proposal | Refusal)
        nothing = await fleet.propose(Undo())
        assert isinstance(nothing, Refusal)
        assert nothing.reason == "there is nothing to take back"


async def test_a_box_that_is_left_out_of_a_proposal_is_named() -> None:
    engine = ScriptedEngine()
    states = dict.fromkeys(("box1", "box2", "box3"), (await engine.snapshot()).state)
    said = {"box1": await engine.propose(Rebalance())}
    known = Known(states, ready=["box1", "box2"], drained=["box2", "box3"])
    made = proposed(Rebalance(), said, known)
    assert isinstance(made, Proposal)
    assert made.reasons[-2:] == ("box2 is left out: it takes nothing new", "box3 is left out: it does not answer")


async def test_declined_is_said_in_the_fleets_names() -> None:
    async with fleet_of(scripted_lines()) as fleet:
        await _do(fleet, Load(LARGE, "box1/gpu0"), SetPin(LARGE))
        (declined,) = await _do(fleet, Load(OTHER_LARGE, "box1/gpu0"))
        assert isinstance(declined, Declined)
        assert [(one.model, one.device) for one in declined.refusal.blockers] == [(LARGE, "box1/gpu0")]
        assert declined.refusal.reason == f"no room for {OTHER_LARGE} on box1/gpu0"
