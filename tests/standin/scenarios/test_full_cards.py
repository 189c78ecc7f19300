"""Cards that others fill: loads go elsewhere or are refused in words that help, and every card is used again once it can be."""

from __future__ import annotations

import random
from collections.abc import Awaitable

import pytest

from engine.api import Answer, Cancelled, Declined, Done, Failed
from engine.client import RemoteEngine
from engine.core.commands import Evict, Load
from engine.core.sizes import MIB
from tests.endurance.switching import until
from tests.standin.cards import EVER, Cards
from tests.standin.scenarios.engines import GPUS, MODELS, TEXTS, device, told

CARD_BYTES = 512 * MIB
STEPS = 1000


@pytest.fixture
def traits() -> dict[str, str]:
    return {"STANDIN_CARD_BYTES": str(CARD_BYTES)}


async def test_a_card_that_was_full_while_its_context_was_made_is_used_at_the_next_load(
    engine: RemoteEngine, cards: Cards
) -> None:
    cards.refuse(0, first=1, times=EVER)
    assert not isinstance(await told(engine, Load("one", "gpu0")), Done)
    cards.refuse(0, first=0)
    assert isinstance(await told(engine, Load("one", "gpu0")), Done)


async def test_whichever_request_for_memory_of_a_load_fails_the_load_is_done_or_refused_clearly_and_goes_later(
    engine: RemoteEngine, cards: Cards
) -> None:
    await with_contexts(engine)
    expected = (await engine.embed("one", TEXTS)).vectors
    asks = await asks_of_a_load(engine, cards)
    for times in (1, 2, EVER):
        for first in range(1, asks + 1):
            await told(engine, Evict("one"))
            cards.refuse(0, first, times)
            assert_clear(await told(engine, Load("one", "gpu0")))
            cards.refuse(0, first=0)
            assert isinstance(await told(engine, Load("one", "gpu0")), Done)
            assert (await engine.embed("one", TEXTS)).vectors == expected
    assert (await device(engine, "gpu0")).leaked_bytes == 0


@pytest.mark.timeout(300)
async def test_others_that_take_and_give_back_memory_at_random_lose_no_card_and_break_no_load(
    engine: RemoteEngine, cards: Cards
) -> None:
    await with_contexts(engine)
    expected = {name: (await engine.embed(name, TEXTS)).vectors for name in MODELS}
    chance = random.Random(13)
    for _ in range(STEPS):
        index = chance.randrange(len(GPUS))
        card = cards.card(index)
        cards.outside(index, chance.randrange(card.total_bytes - card.used_bytes + card.outside_bytes))
        name = chance.choice(MODELS)
        assert_clear(await told(engine, Load(name, chance.choice([*GPUS, None]))))
        if chance.random() < 0.2:
            await told(engine, Evict(name))

    for index in range(len(GPUS)):
        cards.outside(index, 0)
    await until(engine, lambda now: all(now.state.devices[gpu].reading.external_bytes == 0 for gpu in GPUS))
    for gpu in GPUS:
        for name in MODELS:
            assert isinstance(await told(engine, Load(name, gpu)), Done)
            assert (await engine.embed(name, TEXTS)).vectors == expected[name]
        assert (await device(engine, gpu)).leaked_bytes == 0
    assert {process.stale_copies for process in cards.processes()} == {0}


async def test_a_refusal_names_the_others_that_hold_the_card(engine: RemoteEngine, cards: Cards) -> None:
    cards.outside(0, CARD_BYTES - MIB)
    await until(engine, lambda now: (now.state.devices["gpu0"].reading.external_bytes or 0) > 500 * MIB)
    answer = await told(engine, Load("one", "gpu0"))
    assert isinstance(answer, Declined)
    words = " ".join((answer.refusal.reason, *answer.refusal.advice))
    assert "other" in words
    assert "GPU_MEMORY_FRACTION" not in words


async def with_contexts(engine: RemoteEngine) -> None:
    """Each worker has its context, and has run each model once."""
    for gpu in GPUS:
        for name in MODELS:
            await done(told(engine, Load(name, gpu)))
            await engine.embed(name, TEXTS)
    for name in MODELS:
        await told(engine, Evict(name))


async def asks_of_a_load(engine: RemoteEngine, cards: Cards) -> int:
    await told(engine, Evict("one"))
    cards.refuse(0, first=0)
    await done(told(engine, Load("one", "gpu0")))
    return cards.card(0).asks


async def done(answer: Awaitable[Answer]) -> None:
    assert isinstance(given := await answer, Done), given


def assert_clear(answer: Answer) -> None:
    """Done, or not done for want of memory and said in a person's words."""
    match answer:
        case Failed(reason) | Cancelled(reason):
            assert "out of memory" in reason, reason
            assert len(reason) < 600
        case Declined(refusal):
            assert len(refusal.reason) < 600
        case _:
            assert isinstance(answer, Done), answer
