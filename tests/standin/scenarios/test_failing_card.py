"""A card that fails and comes back: its models answer elsewhere meanwhile, and the card is used again by itself."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from engine.answers import Embeddings
from engine.api import CannotServe, Done, Snapshot
from engine.client import RemoteEngine
from engine.core.commands import Load
from engine.core.devices import Health
from engine.core.names import DeviceId
from tests.endurance.switching import until
from tests.standin.cards import BUSY, Cards
from tests.standin.scenarios.engines import TEXTS, device, told


async def asked_again(engine: RemoteEngine) -> Embeddings:
    """What the model answers, asked until it does: what meets a dead context is refused."""
    while True:
        with suppress(CannotServe):
            return await engine.embed("one", TEXTS)


def is_at_rest(snapshot: Snapshot, name: DeviceId, health: Health) -> bool:
    known = snapshot.state.devices[name]
    return known.reading.health == health and known.worker_pid is not None and not snapshot.jobs


async def test_a_card_that_is_lost_while_a_model_is_on_it_answers_elsewhere_and_is_used_again(
    engine: RemoteEngine, cards: Cards
) -> None:
    assert isinstance(await told(engine, Load("one", "gpu1")), Done)
    expected = (await engine.embed("one", TEXTS)).vectors
    for _ in range(2):
        cards.fail(1)
        await until(engine, lambda now: now.state.devices["gpu1"].reading.health != "ok")
        meanwhile = await asked_again(engine)
        assert meanwhile.device != "gpu1"
        assert np.array(meanwhile.vectors) == pytest.approx(np.array(expected), abs=1e-5)

        cards.fail(1, 0)
        await until(engine, lambda now: is_at_rest(now, "gpu1", "ok"))
        assert isinstance(await told(engine, Load("one", "gpu1")), Done)
        assert (await engine.embed("one", TEXTS)).vectors == expected
    assert (await device(engine, "gpu1")).leaked_bytes == 0


async def test_a_run_that_meets_a_dead_context_is_refused_in_few_words(engine: RemoteEngine, cards: Cards) -> None:
    assert isinstance(await told(engine, Load("one", "gpu1")), Done)
    cards.fail(1)
    with pytest.raises(CannotServe) as refused:
        await engine.embed("one", TEXTS)
    assert len(str(refused.value)) < 300
    assert "http" not in str(refused.value)


async def test_a_card_that_was_busy_for_a_moment_is_used_at_the_next_load(engine: RemoteEngine, cards: Cards) -> None:
    cards.fail(0, BUSY)
    assert not isinstance(await told(engine, Load("one", "gpu0")), Done)
    cards.fail(0, 0)
    assert isinstance(await told(engine, Load("one", "gpu0")), Done)
