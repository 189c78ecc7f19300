"""Out of memory at each place where memory is asked for: the n-th request is refused, for all n of a load and of a run.

Each time the answer is right or the refusal clear, nothing is leaked, and the same worker does the same right after.
"""

from __future__ import annotations

import pytest

from engine.worker.protocol import Bound, Reply
from tests.standin.cards import EVER, Cards
from tests.standin.scenarios.workers import CardWorker, Workers, figures_of, is_clear_shortage

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("times", [1, 2, EVER], ids=["once", "twice", "from then on"]),
]
"""PyTorch asks a second time, once it has given back what is unused."""


async def test_a_first_load_is_refused_clearly_and_goes_later_whichever_request_for_memory_fails(
    workers: Workers, worker_cards: Cards, times: int
) -> None:
    worker_cards.refuse(0, first=0)
    expected = await load_and_run(await workers.start())
    troubles = []
    for first in range(1, worker_cards.card(0).asks + 1):
        worker = await workers.start()
        worker_cards.refuse(0, first, times)
        trouble = await trouble_of_a_load(worker, expected)
        worker_cards.refuse(0, first=0)
        again = await trouble_of_a_load(worker, expected, refusals=False)
        troubles += [f"request {first}: {text}" for text in (trouble, again) if text]
    assert not troubles


async def test_a_load_beside_another_model_is_refused_clearly_and_the_other_answers_on(
    workers: Workers, worker_cards: Cards, times: int
) -> None:
    worker = await workers.start()
    await worker.bind("other")
    expected = await load_and_run(worker)
    worker_cards.refuse(0, first=0)
    await worker.unlock()
    await load_and_run(worker)
    asks = worker_cards.card(0).asks
    assert await worker.answer("other") == expected
    await load_and_run(worker)
    used_bytes = worker_cards.card(0).used_bytes
    troubles = []
    for first in range(1, asks + 1):
        await worker.unlock()
        worker_cards.refuse(0, first, times)
        trouble = await trouble_of_a_load(worker, expected)
        worker_cards.refuse(0, first=0)
        again = await trouble_of_a_load(worker, expected, refusals=False)
        troubles += [f"request {first}: {text}" for text in (trouble, again) if text]
        assert await worker.answer("other") == expected
        await load_and_run(worker)
        assert worker_cards.card(0).used_bytes <= used_bytes
    assert not troubles


async def test_a_run_is_right_or_refused_clearly_whichever_request_for_memory_fails(
    workers: Workers, worker_cards: Cards, times: int
) -> None:
    worker = await workers.start()
    await worker.bind()
    expected = await worker.answer()
    await give_back_what_is_unused(worker)
    worker_cards.refuse(0, first=0)
    await worker.answer()
    for first in range(1, worker_cards.card(0).asks + 1):
        await give_back_what_is_unused(worker)
        worker_cards.refuse(0, first, times)
        assert not trouble_of_a_run(await worker.embed(), expected)
        worker_cards.refuse(0, first=0)
        assert await worker.answer() == expected


async def load_and_run(worker: CardWorker) -> bytes:
    """A load, what the model answers, and an eviction that gives everything back."""
    bound = await worker.bind()
    assert isinstance(bound, Bound), bound
    vectors = await worker.answer()
    assert (await worker.released()).leaked_bytes == 0
    return vectors


async def trouble_of_a_load(worker: CardWorker, expected: bytes, refusals: bool = True) -> str:
    """What is wrong with a load, a run and an eviction, in words; with `refusals`, a clear shortage is right."""
    bound = await worker.bind()
    if not isinstance(bound, Bound):
        return "" if refusals and is_clear_shortage(bound) else f"load: {bound}"
    trouble = trouble_of_a_run(await worker.embed(), expected)
    leaked_bytes = (await worker.released()).leaked_bytes
    return trouble or (f"{leaked_bytes} bytes leaked" if leaked_bytes else "")


def trouble_of_a_run(reply: Reply, expected: bytes) -> str:
    figures = figures_of(reply)
    if is_clear_shortage(reply) or figures == expected:
        return ""
    return f"run: {reply}" if figures is None else "run: another answer"


async def give_back_what_is_unused(worker: CardWorker) -> None:
    """So that the next run has to ask: an eviction collects."""
    await worker.bind("guest")
    await worker.released("guest")
