"""Workers killed in the middle of a copy to the card: the card gets all of their memory back, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from engine.worker.client import WorkerDied
from tests.standin.cards import Cards
from tests.standin.scenarios.workers import Workers

pytestmark = pytest.mark.asyncio(loop_scope="session")

KILLS = 200
SLOW_KB_PER_S = 200


@pytest.mark.timeout(300)
async def test_two_hundred_kills_in_mid_copy_leave_nothing_on_the_card_and_a_neighbour_as_it_was(
    workers: Workers, worker_cards: Cards
) -> None:
    neighbour = await workers.start()
    await neighbour.bind()
    expected, used_bytes = await neighbour.answer(), worker_cards.card(0).used_bytes
    worker_cards.slow(0, SLOW_KB_PER_S)
    for _ in range(KILLS):
        worker = await workers.start()
        load = asyncio.create_task(worker.bind())
        await asyncio.to_thread(worker_cards.wait_for_copy, worker.pid, workers.region.length)
        worker.process.kill()
        with contextlib.suppress(WorkerDied):
            raise AssertionError(f"the load was over: {await load}")
        await worker.process.died()
        assert worker_cards.card(0).used_bytes == used_bytes
    worker_cards.slow(0, 0)
    assert await neighbour.answer() == expected
