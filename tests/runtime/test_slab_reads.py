"""What a load hears of the reading that it follows, with a scripted RAM tier and a scripted worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.api import Cancelled, Done, Failed
from engine.core.commands import Load, Submission
from engine.weights.errors import BadCheckpoint
from engine.worker.protocol import SlabGrew, SlabStopped
from tests.runtime.live_engines import Box, scripted_engine

MODEL = "all-MiniLM-L6-v2"


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with scripted_engine(tmp_path) as box:
        box.store.may_fetch.clear()
        yield box


async def following(box: Box) -> asyncio.Task[object]:
    """A load whose worker copies behind a reading that does not move."""
    load: asyncio.Task[object] = asyncio.create_task(box.engine.submit(Submission("1", Load(MODEL, "gpu0"))))
    await box.spawner.workers["gpu0"].following.wait()
    return load


async def test_a_load_ends_when_the_worker_has_heard_that_all_was_read(box: Box) -> None:
    load = await following(box)
    box.store.may_fetch.set()

    assert isinstance(await load, Done)
    assert [type(news) for news in box.spawner.workers["gpu0"].heard] == [SlabGrew]
    assert (await box.engine.snapshot()).state.ram.slabs[0].stage == "kept"


async def test_the_worker_of_a_load_that_is_taken_back_hears_so_and_its_region_is_freed_after_its_answer(
    box: Box,
) -> None:
    load = await following(box)
    assert not box.store.given_up
    await box.engine.cancel("1")

    assert isinstance(await load, Cancelled)
    assert isinstance(box.spawner.workers["gpu0"].heard[0], SlabStopped)
    async for _ in box.engine.events():
        if box.store.given_up and not (await box.engine.snapshot()).state.ram.slabs:
            break


async def test_a_slab_that_breaks_in_the_middle_stops_the_copy_and_is_the_loads_reason(box: Box) -> None:
    load = await following(box)
    box.store.failure = BadCheckpoint("slab ends 90 bytes too soon; prepare it again")
    box.store.may_fetch.set()

    answer = await load
    assert isinstance(answer, Failed)
    assert answer.reason == "slab ends 90 bytes too soon; prepare it again"
    assert not box.spawner.workers["gpu0"].bound
    assert len(box.store.given_up) == 1


async def test_a_slab_that_is_gone_before_its_copy_has_begun_is_the_loads_reason(box: Box) -> None:
    box.store.failure = BadCheckpoint("slab is empty")
    box.store.may_fetch.set()

    answer = await box.engine.submit(Submission("1", Load(MODEL, "gpu0")))
    assert isinstance(answer, Failed)
    assert answer.reason == "slab is empty"


async def test_a_worker_that_dies_in_the_middle_leaves_the_reading_to_the_next_one(box: Box) -> None:
    load = await following(box)
    first = box.spawner.workers["gpu0"]
    first.kill()
    async for _ in box.engine.events():
        if box.spawner.workers["gpu0"] is not first:
            break
    await box.spawner.workers["gpu0"].following.wait()
    box.store.may_fetch.set()

    assert isinstance(await load, Done)
    assert MODEL in box.spawner.workers["gpu0"].bound
