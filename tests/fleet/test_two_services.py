"""Two fleet services over the same boxes, which know nothing of each other: real schedulers on scripted workers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from engine.api import EngineError
from engine.core.ledger import budget, charged
from engine.core.names import BoxName, ModelName
from engine.core.records import Switch
from engine.core.tasks import sample_task
from engine.runtime.engine import Engine
from fleet.engine import FleetEngine
from tests.fleet.fleets import Line, fleet_of
from tests.runtime.live_engines import scripted_engine

SMALL: Final = "all-MiniLM-L6-v2"
MODELS: Final = (SMALL, "e5-small", "bge-base", "phi-3-mini")


@contextlib.asynccontextmanager
async def _boxes(folder: Path, count: int = 2) -> AsyncIterator[dict[BoxName, Engine]]:
    async with contextlib.AsyncExitStack() as stack:
        engines = {}
        for number in range(1, count + 1):
            journal = folder / f"box{number}"
            journal.mkdir()
            engines[f"box{number}"] = (await stack.enter_async_context(scripted_engine(journal))).engine
        yield engines


@contextlib.asynccontextmanager
async def _two_fleets(engines: dict[BoxName, Engine]) -> AsyncIterator[tuple[FleetEngine, FleetEngine]]:
    async with contextlib.AsyncExitStack() as stack:
        lines = [{name: Line(engine) for name, engine in engines.items()} for _ in range(2)]
        one, other = [await stack.enter_async_context(fleet_of(mine, seed=seed)) for seed, mine in enumerate(lines)]
        yield one, other


async def _switches(engines: dict[BoxName, Engine], model: ModelName) -> int:
    records = [record for engine in engines.values() for record in await engine.records(1000)]
    switches = [one.entry for one in records if isinstance(one.entry, Switch) and one.entry.outcome == "done"]
    return sum(load.model == model for switch in switches for load in switch.plan.loads)


async def test_both_want_a_model_at_once_and_it_is_loaded_once(tmp_path: Path) -> None:
    async with _boxes(tmp_path) as engines, _two_fleets(engines) as fleets:
        for model in MODELS[:2]:
            answers = await asyncio.gather(*(fleet.embed(model, ["a"]) for fleet in fleets for _ in range(3)))
            assert len({answer.device for answer in answers}) == 1
            assert await _switches(engines, model) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_both_want_no_budget_is_exceeded_and_everybody_is_answered(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    async with _boxes(tmp_path) as engines, _two_fleets(engines) as fleets:
        watching = [asyncio.create_task(_watch(engine)) for engine in engines.values()]

        async def ask(fleet: FleetEngine, model: ModelName, turns: int) -> str:
            for _ in range(turns):
                await asyncio.sleep(0)
            kind = (await fleet.snapshot()).state.models[model].spec.task
            try:
                await fleet.result(model, sample_task(kind, str, 1))
            except EngineError as error:
                return type(error).__name__
            return "answered"

        wanted = [(random.choice(fleets), random.choice(MODELS), random.randrange(200)) for _ in range(24)]
        outcomes = Counter(await asyncio.gather(*(ask(*one) for one in wanted)))
        assert outcomes == {"answered": 24}
        for watch in watching:
            assert not watch.done(), watch.exception()
            watch.cancel()


async def _watch(engine: Engine) -> None:
    """Fails once the engine's models have more of a device than its budget."""
    events = engine.events()
    async for _event in events:
        state = (await engine.snapshot()).state
        for device in state.devices:
            assert charged(state, device) <= budget(state, device)
