"""What every `EngineAPI` must do, in this process or over the socket. To hold another engine to it, add it to `_ENGINES`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest

from engine.api import (
    PROTOCOL,
    CannotServe,
    Changed,
    Declined,
    Done,
    EngineAPI,
    EngineError,
    EngineUnreachable,
    Event,
    Recorded,
    UnknownModel,
    Updated,
)
from engine.client import connect
from engine.core.commands import Batch, Command, Evict, ForceCpu, Load, Move, SetPin, Submission, Unpin
from engine.core.models import Pin
from engine.core.names import CPU
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Proposal, Undo
from engine.core.records import Pinned, Switch
from engine.core.tasks import Continuation, Embed, Generate, Message, RunResult, TextPart
from engine.paths import Paths
from tests.fleet.boxless import BOX, Boxless
from tests.fleet.fleets import At, Line, fleet_of
from tests.runtime.live_engines import scripted_engine
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving

Opener: TypeAlias = Callable[[Paths], AbstractAsyncContextManager[EngineAPI]]

SMALL, LARGE, OTHER_LARGE = "all-MiniLM-L6-v2", "phi-3-mini", "bge-base"


@contextlib.asynccontextmanager
async def _scripted(_paths: Paths) -> AsyncIterator[EngineAPI]:
    yield ScriptedEngine()


@contextlib.asynccontextmanager
async def _scripted_over_the_socket(paths: Paths) -> AsyncIterator[EngineAPI]:
    async with serving(ScriptedEngine(), paths):
        yield await connect(paths)


@contextlib.asynccontextmanager
async def _real(paths: Paths) -> AsyncIterator[EngineAPI]:
    paths.journal.mkdir(parents=True)
    async with scripted_engine(paths.journal) as box:
        yield box.engine


@contextlib.asynccontextmanager
async def _real_over_the_socket(paths: Paths) -> AsyncIterator[EngineAPI]:
    async with _real(paths) as engine, serving(engine, paths):
        yield await connect(paths)


@contextlib.asynccontextmanager
async def _fleet_of_a_box(paths: Paths) -> AsyncIterator[EngineAPI]:
    async with _real(paths) as engine, fleet_of({BOX: Line(engine)}) as fleet:
        yield Boxless(fleet)


@contextlib.asynccontextmanager
async def _fleet_over_sockets(paths: Paths) -> AsyncIterator[EngineAPI]:
    async with _scripted_over_the_socket(paths), fleet_of({BOX: At(paths.socket)}) as fleet:
        yield Boxless(fleet)


_ENGINES: dict[str, Opener] = {
    "scripted engine": _scripted,
    "scripted engine over the socket": _scripted_over_the_socket,
    "engine on scripted workers": _real,
    "engine on scripted workers over the socket": _real_over_the_socket,
    "fleet of an engine on scripted workers": _fleet_of_a_box,
    "fleet of a scripted engine over the socket": _fleet_over_sockets,
}


@pytest.fixture(params=_ENGINES)
async def api(request: pytest.FixtureRequest, paths: Paths) -> AsyncIterator[EngineAPI]:
    async with _ENGINES[request.param](paths) as engine:
        yield engine


def _submission(command: Command, confirmed: str | None = None) -> Submission:
    return Submission(f"test-{command!r}-{confirmed}", command, confirmed=confirmed)


async def test_hello_says_which_protocol_the_engine_speaks(api: EngineAPI) -> None:
    hello = await api.hello()
    assert hello.protocol == PROTOCOL
    assert hello.pid > 0


async def test_a_snapshot_shows_devices_models_and_budgets(api: EngineAPI) -> None:
    snapshot = await api.snapshot()
    assert {"gpu0", "gpu1", CPU} == set(snapshot.budgets) == set(snapshot.state.devices)
    assert {SMALL, LARGE, OTHER_LARGE} <= set(snapshot.state.models)


async def test_planning_changes_nothing(api: EngineAPI) -> None:
    before = await api.snapshot()
    planned = await api.plan(Load(SMALL))
    assert isinstance(planned, Plan)
    assert planned.load is not None
    assert (await api.snapshot()).state.residents == before.state.residents == ()


async def test_a_load_makes_the_model_ready_where_the_plan_said(api: EngineAPI) -> None:
    planned = await api.plan(Load(SMALL, "gpu1"))
    answer = await api.submit(_submission(Load(SMALL, "gpu1")))
    assert isinstance(planned, Plan)
    assert isinstance(answer, Done)
    assert answer.plan.effects == planned.effects
    resident = (await api.snapshot()).state.find(SMALL, "gpu1")
    assert resident is not None
    assert resident.stage == "ready"


async def test_the_plan_names_the_victim_that_then_leaves(api: EngineAPI) -> None:
    await api.submit(_submission(Load(LARGE, "gpu0")))
    planned = await api.plan(Load(OTHER_LARGE, "gpu0"))
    assert isinstance(planned, Plan)
    assert [victim.model for victim in planned.victims] == [LARGE]
    assert planned.has_side_effects
    await api.submit(_submission(Load(OTHER_LARGE, "gpu0"), planned.effects))
    state = (await api.snapshot()).state
    assert [resident.model for resident in state.on("gpu0")] == [OTHER_LARGE]


async def test_a_plan_that_is_no_longer_the_confirmed_one_is_not_carried_out(api: EngineAPI) -> None:
    answer = await api.submit(_submission(Load(SMALL), "load something else on gpu7"))
    assert isinstance(answer, Changed)
    assert (await api.snapshot()).state.residents == ()


async def test_a_pinned_model_is_no_victim_and_the_refusal_says_so(api: EngineAPI) -> None:
    await api.submit(_submission(Load(LARGE, "gpu0")))
    await api.submit(_submission(SetPin(LARGE)))
    planned = await api.plan(Load(OTHER_LARGE, "gpu0"))
    answer = await api.submit(_submission(Load(OTHER_LARGE, "gpu0")))
    assert isinstance(planned, Refusal)
    assert isinstance(answer, Declined)
    assert [(blocker.model, blocker.why) for blocker in answer.refusal.blockers] == [(LARGE, "pinned")]


async def test_an_id_that_was_sent_before_does_nothing_twice(api: EngineAPI) -> None:
    first = await api.submit(_submission(Load(SMALL)))
    await api.submit(_submission(Evict(SMALL)))
    assert await api.submit(_submission(Load(SMALL))) == first
    assert (await api.snapshot()).state.of(SMALL) == ()


async def test_pins_come_and_go(api: EngineAPI) -> None:
    await api.submit(_submission(SetPin(SMALL)))
    assert (await api.snapshot()).state.models[SMALL].pin == Pin()
    await api.submit(_submission(Unpin(SMALL)))
    assert (await api.snapshot()).state.models[SMALL].pin is None


async def test_forcing_a_model_to_the_cpu_takes_it_off_the_gpu_and_pins_it(api: EngineAPI) -> None:
    await api.submit(_submission(Load(SMALL, "gpu0")))
    await api.submit(_submission(ForceCpu(SMALL)))
    state = (await api.snapshot()).state
    assert [resident.device for resident in state.of(SMALL)] == [CPU]
    assert state.models[SMALL].pin == Pin(CPU)


async def test_a_moved_model_is_in_one_place_after_it(api: EngineAPI) -> None:
    await api.submit(_submission(Load(SMALL, "gpu0")))
    await api.submit(_submission(Move(SMALL, "gpu1")))
    assert [resident.device for resident in (await api.snapshot()).state.of(SMALL)] == ["gpu1"]


async def test_a_batch_is_planned_as_a_whole_and_carried_out_in_order(api: EngineAPI) -> None:
    batch = Batch("two at once", (Load(SMALL, "gpu1"), SetPin(SMALL), Load(LARGE, "gpu0")))
    planned = await api.plan(batch)
    answer = await api.submit(_submission(batch))
    assert isinstance(planned, Plan)
    assert isinstance(answer, Done)
    assert answer.plan.effects == planned.effects
    residents = (await api.snapshot()).state.residents
    assert {(r.model, r.device, r.stage) for r in residents} == {(SMALL, "gpu1", "ready"), (LARGE, "gpu0", "ready")}


async def test_the_last_change_can_be_taken_back_as_a_proposed_plan(api: EngineAPI) -> None:
    await api.submit(_submission(Load(LARGE, "gpu0")))
    await api.submit(_submission(Load(OTHER_LARGE, "gpu0")))
    proposed = await api.propose(Undo())
    assert isinstance(proposed, Proposal)
    answer = await api.submit(_submission(proposed.command, proposed.plan.effects))
    assert isinstance(answer, Done)
    assert [(r.model, r.device) for r in (await api.snapshot()).state.residents] == [(LARGE, "gpu0")]


async def test_a_wish_that_nothing_answers_is_refused_in_words(api: EngineAPI) -> None:
    refused = await api.propose(Undo())
    assert isinstance(refused, Refusal)
    assert refused.reason == "there is nothing to take back"


async def test_an_evicted_model_is_nowhere(api: EngineAPI) -> None:
    await api.submit(_submission(Load(SMALL)))
    await api.submit(_submission(Evict(SMALL)))
    assert (await api.snapshot()).state.of(SMALL) == ()


async def test_what_was_done_is_recorded_oldest_first(api: EngineAPI) -> None:
    await api.submit(_submission(Load(SMALL)))
    await api.submit(_submission(SetPin(SMALL)))
    entries = [record.entry for record in await api.records() if isinstance(record.entry, Switch | Pinned)]
    assert [type(entry) for entry in entries] == [Switch, Pinned]


async def test_no_more_records_come_than_were_asked_for(api: EngineAPI) -> None:
    await api.submit(_submission(Load(SMALL)))
    await api.submit(_submission(Evict(SMALL)))
    assert [record.seq for record in await api.records(1)] == [max(record.seq for record in await api.records())]


async def test_events_begin_with_the_newest_snapshot_and_go_on_with_changes(api: EngineAPI) -> None:
    events = api.events()
    first = await anext(events)
    assert isinstance(first, Updated)
    await api.submit(_submission(Load(SMALL)))
    assert await _until_recorded(events) == 1
    await _close(events)


async def test_events_resume_after_the_record_that_the_caller_has(api: EngineAPI) -> None:
    await api.submit(_submission(Load(SMALL)))
    newest = (await api.records())[-1].seq
    await api.submit(_submission(Evict(SMALL)))
    events = api.events(after=newest)
    assert isinstance(await anext(events), Updated)
    assert await _until_recorded(events) == newest + 1
    await _close(events)


@pytest.mark.parametrize("command", [Load("nobody"), Evict("nobody")])
async def test_a_model_that_is_not_in_the_catalog_is_named_in_the_error(api: EngineAPI, command: Command) -> None:
    with pytest.raises(UnknownModel, match="nobody"):
        await api.submit(_submission(command))


async def test_embedding_loads_the_model_and_gives_one_vector_a_text(api: EngineAPI) -> None:
    answer = await api.embed(SMALL, ["a cat", "a kitten"])
    assert len(answer.vectors) == 2
    assert answer.device in (await api.snapshot()).state.devices
    assert (await api.snapshot()).state.find(SMALL, answer.device) is not None


async def test_what_a_model_writes_comes_in_parts_and_then_whole_with_why_it_ended_and_what_it_took(
    api: EngineAPI,
) -> None:
    *parts, last = [event async for event in api.run(LARGE, Generate("née 🙂!", max_tokens=6))]
    assert isinstance(last, RunResult)
    assert isinstance(last.result, Continuation)
    written = ""
    for part in parts:
        assert isinstance(part, TextPart)
        assert part.begin == len(written)
        written += part.text
    assert len(parts) >= 3
    assert last.result.text == written
    assert (last.result.ended, last.result.tokens) == ("length", 6)


async def test_a_result_says_where_the_model_ran_and_whether_it_means_anything(api: EngineAPI) -> None:
    small, large = await api.result(SMALL, Embed(("a cat",))), await api.result(LARGE, Generate("Once"))
    state = (await api.snapshot()).state
    for ran in (small, large):
        assert state.find(ran.model, ran.device) is not None
        assert ran.seconds >= 0
    assert (small.model, small.synthetic, large.model, large.synthetic) == (SMALL, False, LARGE, True)


async def test_a_task_that_the_model_is_not_for_is_refused_in_words(api: EngineAPI) -> None:
    with pytest.raises(CannotServe, match=f"{SMALL} is for embedding, not for generation"):
        await api.generate(SMALL, "hello")
    with pytest.raises(CannotServe, match=f"{LARGE} is for generation, not for embedding"):
        await api.embed(LARGE, ["hello"])


async def test_a_request_for_a_model_that_is_not_in_the_catalog_names_it(api: EngineAPI) -> None:
    with pytest.raises(UnknownModel, match="nobody"):
        await api.embed("nobody", ["a cat"])


async def test_who_leaves_after_the_first_part_leaves_an_engine_that_goes_on(api: EngineAPI) -> None:
    run = api.run(LARGE, Generate("Once", max_tokens=8))
    assert isinstance(await anext(run), TextPart)
    await run.aclose()
    assert (await api.generate(LARGE, "Once", max_tokens=3)).tokens == 3
    evicted = await api.submit(_submission(Evict(LARGE)))
    assert isinstance(evicted, Done)


async def test_who_leaves_after_two_parts_gives_back_what_the_run_held(api: EngineAPI) -> None:
    run = api.run(LARGE, Generate("Once", max_tokens=8))
    parts = [await anext(run), await anext(run)]
    assert all(isinstance(part, TextPart) for part in parts)
    await run.aclose()
    events = api.events()
    async for event in events:
        if isinstance(event, Updated) and not any(resident.leases for resident in event.snapshot.state.of(LARGE)):
            break
    await _close(events)


async def test_settings_that_can_t_be_meant_are_refused_in_words(api: EngineAPI) -> None:
    with pytest.raises(CannotServe, match=rf"{LARGE}.*temperature must be 0 or more"):
        await api.generate(LARGE, "Once", temperature=-1.0)
    with pytest.raises(CannotServe, match="no UTF-8"):
        await api.generate(LARGE, [Message("user", "caf\udce9")])


async def test_generation_stops_at_the_tokens_asked_for(api: EngineAPI) -> None:
    answer = await api.generate(LARGE, "Once", max_tokens=3)
    assert 0 < answer.tokens <= 3


async def test_an_engine_that_keeps_quiet_says_how_often_it_reads_its_devices_until_that_ends(api: EngineAPI) -> None:
    assert (await api.snapshot()).quiet_sample_s is None
    sample_s = await api.keep_quiet(30)
    assert sample_s == 10
    await _until_quiet(api, sample_s)
    await api.keep_quiet(0)
    await _until_quiet(api, None)


async def test_commands_are_carried_out_in_the_quiet_as_ever(api: EngineAPI) -> None:
    await api.keep_quiet(30)
    await api.submit(_submission(Load(LARGE, "gpu0")))
    answer = await api.submit(_submission(Load(OTHER_LARGE, "gpu0")))
    assert isinstance(answer, Done)
    assert (await api.embed(SMALL, ["a cat"])).vectors


async def test_cancelling_what_is_not_there_says_so(api: EngineAPI) -> None:
    assert await api.cancel("never sent") is False


async def test_a_stopped_engine_ends_its_events_and_answers_no_more(api: EngineAPI) -> None:
    events = api.events()
    await anext(events)
    await api.stop()
    with pytest.raises(EngineUnreachable):
        async for _event in events:
            pass
    with pytest.raises(EngineUnreachable):
        await api.snapshot()


async def _until_quiet(api: EngineAPI, sample_s: float | None) -> None:
    """Waits for a snapshot that says so."""
    events = api.events()
    async for event in events:
        if isinstance(event, Updated) and event.snapshot.quiet_sample_s == sample_s:
            break
    await _close(events)


async def _until_recorded(events: AsyncIterator[Event]) -> int:
    """Sequence number of the next record."""
    async for event in events:
        if isinstance(event, Recorded):
            return event.record.seq
    raise AssertionError("the events ended without a record")


async def _close(events: AsyncIterator[Event]) -> None:
    """An iterator of events that is left half read holds a connection open."""
    assert isinstance(events, AsyncGenerator)
    await events.aclose()


async def test_a_model_is_meant_by_any_of_its_names(api: EngineAPI) -> None:
    answer = await api.submit(Submission("1", Load("ALL-minilm-l6-v2:latest", "gpu0")))

    assert isinstance(answer, Done)
    assert [resident.model for resident in (await api.snapshot()).state.residents] == [SMALL]
    planned = await api.plan(Evict("all-minilm-l6-v2:latest"))
    assert isinstance(planned, Plan)
    assert [step.model for step in planned.steps] == [SMALL]


async def test_a_name_that_nobody_has_is_answered_with_the_nearest(api: EngineAPI) -> None:
    with pytest.raises(UnknownModel, match=f"did you mean {SMALL}"):
        await api.submit(Submission("1", Load("all-minilm")))


async def test_reading_an_unchanged_catalog_changes_nothing(api: EngineAPI) -> None:
    assert (await api.reload()).is_empty


async def test_a_worker_is_restarted_by_hand_and_an_unknown_device_is_named(api: EngineAPI) -> None:
    await api.restart_worker("gpu0")
    with pytest.raises(EngineError, match="there is no device gpu7; the devices are gpu0, gpu1, cpu"):
        await api.restart_worker("gpu7")


async def test_a_plan_that_may_end_runs_says_that_its_evictions_are_at_once(api: EngineAPI) -> None:
    await api.submit(Submission("load", Load(SMALL)))
    waits, ends = await api.plan(Evict(SMALL)), await api.plan(Evict(SMALL), now=True)
    assert isinstance(waits, Plan)
    assert isinstance(ends, Plan)
    assert "at once" not in waits.effects
    assert "at once" in ends.effects
    done = await api.submit(Submission("evict", Evict(SMALL), confirmed=ends.effects, now=True))
    assert isinstance(done, Done)


async def test_an_engine_can_be_stopped_without_waiting(api: EngineAPI) -> None:
    await api.stop(now=True)
    with pytest.raises(EngineUnreachable):
        await api.snapshot()


async def test_requests_that_have_ended_are_not_listed_and_can_not_be_cancelled(api: EngineAPI) -> None:
    await api.embed(SMALL, ["a"])
    assert (await api.requests()).count == 0
    with pytest.raises(EngineError, match="no request under way has the number 7"):
        await api.cancel_request(7)
