"""What our own workers take of a card is never taken for somebody else's."""

from __future__ import annotations

import asyncio

import pytest

from engine.api import Done, Updated
from engine.client import RemoteEngine
from engine.core.commands import Load
from engine.core.sizes import MIB
from tests.endurance.switching import until
from tests.standin.cards import Cards
from tests.standin.scenarios.engines import MODELS, TEXTS, told

LOOKS = 15
"""At readings that the engine takes while a load is under way, or after a run."""


@pytest.fixture
def traits() -> dict[str, str]:
    return {"STANDIN_CARD_BYTES": str(512 * MIB)}


async def test_a_load_that_is_under_way_is_nobody_elses(engine: RemoteEngine, cards: Cards) -> None:
    cards.slow(0, 50)
    load = asyncio.create_task(told(engine, Load("one", "gpu0")))
    await until(engine, lambda now: bool(now.state.devices["gpu0"].reading.used_bytes))
    seen = await looks(engine, LOOKS)
    cards.slow(0, 0)
    assert isinstance(await load, Done)
    assert {external_bytes for _, external_bytes in seen} == {0}
    assert all(used_bytes > 0 for used_bytes, _ in seen)


async def test_what_a_run_has_taken_is_nobody_elses(engine: RemoteEngine, cards: Cards) -> None:
    for name in MODELS:
        await told(engine, Load(name, "gpu0"))
    for name in MODELS:
        await engine.embed(name, TEXTS)
    seen = await looks(engine, LOOKS)
    assert {external_bytes for _, external_bytes in seen} == {0}


async def looks(engine: RemoteEngine, number: int) -> list[tuple[int, int]]:
    """Used and external bytes of gpu0 at so many readings from now on."""
    seen: dict[float, tuple[int, int]] = {}
    async for event in engine.events():
        if isinstance(event, Updated):
            reading = event.snapshot.state.devices["gpu0"].reading
            seen[reading.at_s] = (reading.used_bytes or 0, reading.external_bytes or 0)
        if len(seen) == number:
            return list(seen.values())
    raise AssertionError("the engine's events ended")
