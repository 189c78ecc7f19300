"""A thousand switches over two cards: after each, the cards and the worker show one and the same figures."""

from __future__ import annotations

from engine.core.sizes import MIB
from engine.worker.protocol import Bound
from tests.standin.cards import Cards
from tests.standin.scenarios.workers import Workers

SWITCHES = 1000
ASKED_EVERY = 100


async def test_a_thousand_switches_over_two_cards_leave_one_set_of_figures_at_rest(
    workers: Workers, cards: Cards
) -> None:
    both = [await workers.start(0), await workers.start(1)]
    answers, at_rest = set(), set()
    for number in range(SWITCHES):
        card, worker = number % 2, both[number % 2]
        bound = await worker.bind()
        assert isinstance(bound, Bound), bound
        assert cards.card(card).used_bytes > 100 * MIB
        if number % ASKED_EVERY < 2:
            answers.add(await worker.answer())
        released = await worker.released()
        assert released.card is not None
        at_rest.add((released.used_bytes, released.leaked_bytes, released.card.free_bytes, cards.card(card).used_bytes))

    assert len(answers) == 1
    assert len(at_rest) == 1
    assert {leaked_bytes for _, leaked_bytes, _, _ in at_rest} == {0}
    assert [process.stale_copies for process in cards.processes()] == [0, 0]
