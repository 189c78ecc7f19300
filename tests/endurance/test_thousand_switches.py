"""A thousand switches leave everything as it was: memory, answers, and what the engine believes of its devices."""

from __future__ import annotations

from typing import Final

import pytest

from engine.client import RemoteEngine
from engine.core.commands import Evict
from engine.runtime.history import HISTORY_RECORDS
from tests.endurance.processes import family, holding, ram_tier_bytes
from tests.endurance.switching import NAMES, alternate, answers, switched

ENDING: Final = 20
"""Connections of calls and threads of runners that may be about to end; a leak would make it a thousand."""


async def test_a_thousand_switches_leave_memory_answers_and_books_as_they_were(engine: RemoteEngine) -> None:
    pid = (await engine.hello()).pid
    first = await answers(engine)
    await alternate(engine, HISTORY_RECORDS)  # the engine's log of its last records grows until then, and no longer
    processes = family(pid)
    before = {process: holding(process) for process in processes}
    tier_bytes = ram_tier_bytes(pid)

    for _ in range(10):
        await alternate(engine, 100)
        assert await answers(engine) == first

    assert family(pid) == processes
    after = {process: holding(process) for process in processes}
    for process in processes:
        assert after[process].resident_kib == pytest.approx(before[process].resident_kib, rel=0.02)
        assert after[process].descriptors < before[process].descriptors + ENDING
        assert after[process].threads < before[process].threads + ENDING
    own_before, own_after = (sum(found.own_kib for found in each.values()) for each in (before, after))
    assert own_after == pytest.approx(own_before, rel=0.02)
    assert ram_tier_bytes(pid) == tier_bytes


async def test_when_the_last_model_has_left_the_devices_are_empty_and_nothing_is_leaked(engine: RemoteEngine) -> None:
    await alternate(engine, 101)
    await switched(engine, Evict(NAMES[0]))
    state = (await engine.snapshot()).state
    assert state.residents == ()
    assert state.devices["gpu0"].reading.used_bytes == 0
    assert state.devices["gpu0"].leaked_bytes == 0
    assert {slab.model for slab in state.ram.slabs} == set(NAMES)
