"""A thousand switches over two cards: after each, the cards and the worker show one and the same figures."""

from __future__ import annotations

import pytest

from engine.core.sizes import MIB
from engine.worker.protocol import Bound
from tests.standin.cards import Cards
from tests.standin.scenarios.workers import Workers

SWITCHES = 1000
ASKED_EVERY = 100


pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_thousand_switches_over_two_cards_leave_one_set_of_figures_at_rest(
    workers: Workers, worker_cards: Cards
) -> None:
    both = [await workers.start(0), await workers.start(1)]
    answers, at_rest = set(), set()
    for number in range(SWITCHES):
        card, worker = number % 2, both[number % 2]
        bound = await worker.bind()
        assert isinstance(bound, Bound), bound
        assert worker_cards.card(card).used_bytes > 100 * MIB
        if number % ASKED_EVERY < 2:
            answers.add(await worker.answer())
        released = await worker.released()
        assert released.card is not None
        at_rest.add(
            (released.used_bytes, released.leaked_bytes, released.card.free_bytes, worker_cards.card(card).used_bytes)
        )

    assert len(answers) == 1
    assert len(at_rest) == 1
    assert {leaked_bytes for _, leaked_bytes, _, _ in at_rest} == {0}
    assert [process.stale_copies for process in worker_cards.processes()] == [0, 0]
