"""How an engine ends while models run: nothing new is taken, what runs may end, and who waits hears who ended it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.api import Done, EngineError, EngineUnreachable, RunStopped
from engine.clock import SystemClock
from engine.core.commands import Evict, Load, Submission
from engine.core.plans import Plan
from engine.core.records import Notice
from engine.core.tasks import Generate
from engine.worker.protocol import LeaveRun
from tests.runtime.live_engines import Box, all_devices_up, scripted_engine
from tests.runtime.scripted_workers import ScriptedWorker

MINILM, PHI = "all-MiniLM-L6-v2", "phi-3-mini"
DRAIN_S = 60.0
"""As the settings have it. Nothing else sleeps for just so long."""


class HeldDeadline(SystemClock):
    """The drain's deadline passes when the test says so."""

    def __init__(self) -> None:
        self.is_waited_for = asyncio.Event()
        self.passes = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds == DRAIN_S:
            self.is_waited_for.set()
            await self.passes.wait()
        else:
            await super().sleep(seconds)


async def running(box: Box) -> tuple[ScriptedWorker, asyncio.Task[object]]:
    """A request that runs on gpu0 until its worker lets it end."""
    await box.engine.submit(Submission("load", Load(MINILM, "gpu0")))
    worker = box.spawner.workers["gpu0"]
    worker.may_finish.clear()
    request: asyncio.Task[object] = asyncio.create_task(box.engine.embed(MINILM, ["a"]))
    await worker.running.wait()
    return worker, request


async def test_what_runs_ends_first_and_nothing_new_is_taken_meanwhile(tmp_path: Path) -> None:
    clock = HeldDeadline()
    async with scripted_engine(tmp_path, engine_clock=clock) as box:
        worker, request = await running(box)
        stopping = asyncio.create_task(box.engine.stop())
        await clock.is_waited_for.wait()

        with pytest.raises(EngineUnreachable, match="the operator is ending the engine; nothing new is taken"):
            await box.engine.embed(MINILM, ["b"])
        with pytest.raises(EngineUnreachable, match="nothing new is taken"):
            await box.engine.submit(Submission("late", Load(PHI)))
        assert sum(r.leases for r in (await box.engine.snapshot()).state.residents) == 1
        assert not stopping.done()

        worker.may_finish.set()
        await request
        await stopping
        assert not any(isinstance(news, LeaveRun) for news in worker.heard)


async def test_a_second_word_ends_what_runs(tmp_path: Path) -> None:
    clock = HeldDeadline()
    async with scripted_engine(tmp_path, engine_clock=clock) as box:
        worker, request = await running(box)
        stopping = asyncio.create_task(box.engine.stop())
        await clock.is_waited_for.wait()
        await box.engine.stop(now=True)
        await stopping
        with pytest.raises(EngineUnreachable, match="the engine was ended by its operator") as ended:
            await request
        assert "ask again" not in str(ended.value)
        assert any(isinstance(news, LeaveRun) for news in worker.heard)


async def test_what_runs_for_too_long_is_ended(tmp_path: Path) -> None:
    clock = HeldDeadline()
    async with scripted_engine(tmp_path, engine_clock=clock) as box:
        _, request = await running(box)
        stopping = asyncio.create_task(box.engine.stop())
        await clock.is_waited_for.wait()
        clock.passes.set()
        await stopping
        with pytest.raises(EngineUnreachable, match="the engine was ended by its operator"):
            await request


async def test_an_engine_on_which_nothing_runs_ends_at_once(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path, engine_clock=HeldDeadline()) as box:
        await box.engine.submit(Submission("load", Load(MINILM, "gpu0")))
        await box.engine.stop()


async def test_a_request_that_is_in_the_way_of_an_eviction_hears_who_ended_it(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        worker, request = await running(box)
        found = await box.engine.plan(Evict(MINILM), now=True)
        assert isinstance(found, Plan)
        answer = await box.engine.submit(Submission("now", Evict(MINILM), confirmed=found.effects, now=True))
        assert isinstance(answer, Done)
        with pytest.raises(RunStopped, match=f"the run of {MINILM} was ended by the operator: evict {MINILM} --now"):
            await request
        assert any(isinstance(news, LeaveRun) for news in worker.heard)
        assert (await box.engine.snapshot()).state.residents == ()


async def test_a_worker_that_is_restarted_has_its_models_back(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        await box.engine.submit(Submission("load", Load(PHI, "gpu0")))
        before = box.spawner.workers["gpu0"]
        await box.engine.restart_worker("gpu0")
        assert box.spawner.workers["gpu0"] is not before
        await all_devices_up(box.engine)
        assert (await box.engine.result(PHI, Generate("abc"))).device == "gpu0"
        notices = [record.entry.text for record in await box.engine.records() if isinstance(record.entry, Notice)]
        assert f"the worker of gpu0 is restarted, as the operator asked; {PHI} will be loaded again" in notices

        with pytest.raises(EngineError, match="there is no device gpu7; the devices are gpu0, gpu1, cpu"):
            await box.engine.restart_worker("gpu7")
