"""The engine's loop, its leases and its restarts, on scripted workers."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.api import CannotServe, Done, EngineUnreachable, Recorded, UnknownModel, Updated
from engine.clock import SystemClock
from engine.core.commands import Evict, Load, SetPin, Submission
from engine.core.models import Pin
from engine.core.records import Notice, Switch
from engine.core.tasks import Continuation, Generate, RunResult, TextPart
from engine.recording.demand import DEMAND_FILE, own_demand
from engine.runtime.initial_state import ModelLook
from engine.runtime.listed_models import LOOK_S
from engine.scheduler.messages import ModelMended
from engine.worker.protocol import LeaveRun
from tests.runtime.live_engines import Box, all_devices_up, scripted_engine

MINILM, PHI = "all-MiniLM-L6-v2", "phi-3-mini"


async def lease_count(box: Box, model: str) -> int:
    return sum(r.leases for r in (await box.engine.snapshot()).state.of(model))


async def test_a_request_loads_its_model_and_runs_it(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        found = await box.engine.embed(MINILM, ["a", "b"])

        assert found.vectors == [pytest.approx([0.6, 0.8])] * 2
        assert found.device in ("gpu0", "gpu1")
        assert not found.synthetic


async def test_what_a_synthetic_model_says_is_labelled(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        assert (await box.engine.generate(PHI, "abc")).synthetic


async def test_what_runs_took_is_learned_and_kept_when_the_engine_ends(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        box.spawner.workers["gpu0"].device_s = 0.25
        await box.engine.embed(MINILM, ["a", "b"])
        known = (await box.engine.snapshot()).state
        rates = known.models[MINILM].run_rates[known.devices["gpu0"].spec.title]

        assert [(sample.size_bytes, sample.seconds) for sample in rates.samples] == [(2, 0.25)]
        await box.engine.stop()
        assert box.footprints.kept_rates == {MINILM: known.models[MINILM].run_rates}


async def test_parts_come_while_the_model_still_runs(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(PHI, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        run = box.engine.run(PHI, Generate("abc"))
        assert await anext(run) == TextPart(0, "c")
        assert await lease_count(box, PHI) == 1

        worker.may_finish.set()
        *parts, ran = [event async for event in run]
        assert parts == [TextPart(1, "b"), TextPart(2, "a")]
        assert isinstance(ran, RunResult)
        assert (ran.device, ran.result) == ("gpu0", Continuation("cba", 3))
        assert await lease_count(box, PHI) == 0


async def test_whoever_stops_listening_ends_the_run_and_its_lease(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(PHI, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        run = box.engine.run(PHI, Generate("abc"))
        await anext(run)
        await run.aclose()
        assert any(isinstance(news, LeaveRun) for news in worker.heard)

        assert isinstance(await box.engine.submit(Submission("2", Evict(PHI))), Done)
        assert await lease_count(box, PHI) == 0


async def test_a_run_that_begins_anew_elsewhere_says_its_text_from_the_beginning(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(PHI, "gpu0")))
        box.spawner.workers["gpu0"].runs_out_of_memory = True
        *parts, ran = [event async for event in box.engine.run(PHI, Generate("abc"))]

        assert parts == [TextPart(0, "c"), TextPart(0, "c"), TextPart(1, "b"), TextPart(2, "a")]
        assert isinstance(ran, RunResult)
        assert ran.device != "gpu0"
        assert ran.result == Continuation("cba", 3)


async def test_a_text_whose_worker_dies_is_written_anew_and_says_so(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(PHI, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        run = box.engine.run(PHI, Generate("abc"))
        assert await anext(run) == TextPart(0, "c")
        worker.kill()

        *anew, ran = [event async for event in run]
        assert anew == [TextPart(0, "c"), TextPart(1, "b"), TextPart(2, "a")]
        assert isinstance(ran, RunResult)
        assert ran.result == Continuation("cba", 3)
        assert await lease_count(box, PHI) == 0


async def test_a_request_that_two_workers_died_of_is_not_tried_a_third_time(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        for worker in box.spawner.workers.values():
            worker.dies_of_runs = True
        box.spawner.dies_of_runs = True
        with pytest.raises(CannotServe, match=r"killed by SIGKILL while it ran .* so did the one before"):
            await box.engine.embed(MINILM, ["a"])

        box.spawner.dies_of_runs = False
        for worker in box.spawner.workers.values():
            worker.dies_of_runs = False
        assert (await box.engine.embed(MINILM, ["a"])).vectors


async def test_an_engine_that_its_operator_ends_says_so_to_whoever_waits(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(PHI, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        running = box.engine.run(PHI, Generate("abc"))
        await anext(running)
        box.store.may_fetch.clear()
        box.store.fetching.clear()
        waiting = asyncio.create_task(box.engine.embed(MINILM, ["a"]))
        await box.store.fetching.wait()
        await box.engine.stop(now=True)

        with pytest.raises(EngineUnreachable, match="ended by its operator"):
            await waiting
        with pytest.raises(EngineUnreachable, match="ended by its operator"):
            await anext(running)


class HastyClock(SystemClock):
    """Nobody waits for files."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(0 if seconds == LOOK_S else seconds)


async def test_files_that_cannot_be_looked_at_in_time_keep_no_request_waiting(tmp_path: Path) -> None:
    may_end = threading.Event()

    def hanging(model: str) -> ModelLook:
        may_end.wait()
        raise AssertionError("nobody waited for it")

    async with scripted_engine(tmp_path, engine_clock=HastyClock(), look=hanging) as box:
        known = (await box.engine.snapshot()).state.models[MINILM]
        box.engine.post(ModelMended(replace(known, trouble="its files are gone")))
        try:
            async for event in box.engine.events():
                if isinstance(event, Updated) and event.snapshot.state.models[MINILM].trouble:
                    break
            with pytest.raises(CannotServe, match="its files are gone"):
                await box.engine.embed(MINILM, ["a"])
        finally:
            may_end.set()


async def test_a_caller_who_is_cancelled_ends_the_run_and_its_lease(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        run = asyncio.create_task(box.engine.embed(MINILM, ["a"]))
        await worker.running.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

        assert isinstance(await box.engine.submit(Submission("2", Evict(MINILM))), Done)
        assert await lease_count(box, MINILM) == 0


async def test_a_run_whose_worker_dies_is_answered_all_the_same_and_its_model_comes_back(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        worker = box.spawner.workers["gpu0"]
        worker.may_finish.clear()
        run = asyncio.create_task(box.engine.embed(MINILM, ["a"]))
        await worker.running.wait()
        worker.kill()
        assert (await run).vectors
        await all_devices_up(box.engine)

        (resident,) = (await box.engine.snapshot()).state.of(MINILM)
        assert resident.stage == "ready"
        assert (resident.leases, resident.work) == (0, 0)
        assert any(isinstance(r.entry, Notice) for r in await box.engine.records())


async def test_a_restarted_engine_has_its_residents_and_pins_again(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu1")))
        await box.engine.submit(Submission("2", SetPin(MINILM)))

    async with scripted_engine(tmp_path) as box:
        state = (await box.engine.snapshot()).state
        assert [(r.model, r.device, r.stage) for r in state.residents] == [(MINILM, "gpu1", "ready")]
        assert state.models[MINILM].pin == Pin()
        assert any(isinstance(r.entry, Switch) and r.entry.id == "1" for r in await box.engine.records())


async def test_subscribers_get_the_newest_state_and_every_record(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        events = box.engine.events()
        first = await anext(events)
        assert isinstance(first, Updated)
        await box.engine.submit(Submission("1", Load(MINILM)))

        switches = []
        async for event in events:
            if isinstance(event, Recorded) and isinstance(event.record.entry, Switch):
                switches.append(event.record.entry.id)
                break
        assert switches == ["1"]


async def test_stopping_ends_workers_streams_and_waiting_calls(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        box.store.may_fetch.clear()
        waiting = asyncio.create_task(box.engine.submit(Submission("1", Load(MINILM))))
        stream = box.engine.events()
        await anext(stream)
        await box.engine.stop()

        with pytest.raises(EngineUnreachable):
            await waiting
        with pytest.raises(EngineUnreachable):
            async for _ in stream:
                pass
        assert box.spawner.closed
        with pytest.raises(EngineUnreachable):
            await box.engine.snapshot()


async def test_what_cannot_be_journalled_is_told_once_and_the_engine_goes_on(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        journal = tmp_path / "journal.jsonl"
        journal.unlink(missing_ok=True)
        journal.mkdir()
        for number, device in enumerate(("gpu0", "gpu1", "gpu0")):
            await box.engine.submit(Submission(str(number), Load(MINILM, device)))
        await asyncio.sleep(0)

        async for _ in box.engine.events():
            notices = [r.entry for r in await box.engine.records() if isinstance(r.entry, Notice)]
            if notices:
                break
        assert len(notices) == 1
        assert "switches are not recorded" in notices[0].text
        journal.rmdir()


async def test_a_run_without_room_goes_to_another_device_with_a_larger_workspace(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        before = (await box.engine.snapshot()).state.models[MINILM].footprint
        box.spawner.workers["gpu0"].runs_out_of_memory = True
        found = await box.engine.embed(MINILM, ["a"])
        after = (await box.engine.snapshot()).state.models[MINILM].footprint

        assert found.device == "gpu1"
        assert after.label == "learned"
        assert 0 <= after.workspace_bytes - 2 * before.workspace_bytes < 4096  # in whole pages


async def test_a_run_that_finds_room_nowhere_fails_with_the_figures(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        for worker in box.spawner.workers.values():
            worker.runs_out_of_memory = True
        with pytest.raises(CannotServe, match="1 row needs 40 MiB, 10 MiB are free"):
            await box.engine.embed(MINILM, ["a"])


async def test_a_pinned_model_keeps_its_pin_and_place_when_a_run_finds_no_room(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("1", Load(MINILM, "gpu0")))
        await box.engine.submit(Submission("2", SetPin(MINILM)))
        box.spawner.workers["gpu0"].runs_out_of_memory = True
        with pytest.raises(CannotServe):
            await box.engine.embed(MINILM, ["a"])

        state = (await box.engine.snapshot()).state
        assert state.models[MINILM].pin == Pin()
        assert state.find(MINILM, "gpu0") is not None


async def test_every_request_for_a_model_of_the_catalog_is_recorded_with_what_it_asked_for(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.embed(MINILM, ["a", "b", "c"])
        await box.engine.generate(PHI, "abc", max_tokens=8)
        with pytest.raises(UnknownModel):
            await box.engine.embed("nobody", ["a"])

    assert [(request.model, request.work) for request in own_demand(tmp_path).requests] == [(MINILM, 3), (PHI, 8)]


async def test_requests_are_answered_though_they_cannot_be_recorded(tmp_path: Path) -> None:
    (tmp_path / DEMAND_FILE).mkdir()
    async with scripted_engine(tmp_path) as box:
        found = await box.engine.embed(MINILM, ["a"])

        assert found.vectors
    assert not (tmp_path / DEMAND_FILE).is_file()
