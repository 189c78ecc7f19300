"""Two engines' exchanges: what one has prepared the other has afterwards, its scheduler told, and nobody listens for longer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from engine.api import EngineError, UnknownModel
from engine.core.names import ModelName
from engine.runtime import slab_exchange
from engine.runtime.slab_exchange import OFFERED_S
from engine.scheduler.messages import SlabCame
from engine.slab_peer import SlabFetched
from engine.weights.errors import WeightsError
from engine.weights.integrity import verify_checksum
from engine.weights.slab import open_prepared
from tests.hand_clock import HandClock, settled
from tests.runtime.slab_boxes import MODEL, Box, prepare, slab_box

HERE = "127.0.0.1"


class Two(NamedTuple):
    donor: Box
    other: Box
    clock: HandClock


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    clock = HandClock()
    boxes = Two(slab_box(tmp_path / "box1", clock), slab_box(tmp_path / "box2", clock), clock)
    prepare(boxes.donor)
    yield boxes
    await boxes.donor.exchange.close()
    await boxes.other.exchange.close()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((HERE, port), timeout=20).close()
        return True
    return False


async def test_what_one_has_prepared_the_other_has_afterwards(two: Two) -> None:
    offer = await two.donor.exchange.offer_slab(MODEL, HERE, (0,))
    fetched = await two.other.exchange.fetch_slab(MODEL, offer)
    assert fetched.came_bytes == sum(file.size_bytes for file in offer.files)
    verify_checksum(open_prepared(two.other.folder), lambda _: None)
    assert two.other.posted == [SlabCame(MODEL)]
    assert [note[:47] for note in two.other.notes] == ["info: the slab of m was fetched from 127.0.0.1:"]
    assert (await two.other.exchange.fetch_slab(MODEL, offer)).came_bytes == 0
    assert len(two.other.notes) == 1


async def test_nobody_listens_once_nothing_is_on_offer_any_more(two: Two) -> None:
    offer = await two.donor.exchange.offer_slab(MODEL, HERE, (0,))
    again = await two.donor.exchange.offer_slab(MODEL, HERE, (0,))
    assert again.port == offer.port
    assert again.ticket != offer.ticket
    assert listens(offer.port)
    await settled()
    await two.clock.pass_by(OFFERED_S - 1)
    assert listens(offer.port)
    while listens(offer.port):
        await two.clock.pass_by(1)
        await asyncio.sleep(0.01)  # its end is waited for in a thread
    assert (await two.donor.exchange.offer_slab(MODEL, HERE, (0,))).port != 0


async def test_the_first_free_port_is_taken_and_where_none_is_it_is_said(two: Two) -> None:
    with socket.create_server((HERE, 0)) as taken:
        busy = int(taken.getsockname()[1])
        with pytest.raises(
            EngineError, match=f"nothing can listen at 127.0.0.1 to give slabs away .port {busy}: Address"
        ):
            await two.donor.exchange.offer_slab(MODEL, HERE, (busy,))
        assert (await two.donor.exchange.offer_slab(MODEL, HERE, (busy, 0))).port != busy


@pytest.mark.parametrize("host", ["", "box1.example", "0.0.0.0", "8.8.8.8", "::", "224.0.0.1"])
async def test_nothing_is_offered_or_fetched_where_strangers_are(two: Two, host: str) -> None:
    offer = await two.donor.exchange.offer_slab(MODEL, HERE, (0,))
    with pytest.raises(EngineError, match=r"m is not offered there: .*(no IP address|reached from everywhere)"):
        await two.donor.exchange.offer_slab(MODEL, host, (0,))
    with pytest.raises(EngineError, match=r"nothing is fetched from there: .*(no IP address|reached from everywhere)"):
        await two.other.exchange.fetch_slab(MODEL, replace(offer, host=host))


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        (MODEL, EngineError, "m is not offered: .* is not a whole prepared model"),
        ("nobody", UnknownModel, "the catalog has no nobody"),
        ("broken", EngineError, "broken can't be loaded here: its files are gone"),
    ],
)
async def test_what_is_not_prepared_here_is_not_offered(
    two: Two, model: ModelName, kind: type[EngineError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        await two.other.exchange.offer_slab(model, HERE, (0,))
    assert two.other.exchange._servers == {}


async def test_a_fetch_that_fails_says_why_and_the_scheduler_hears_nothing(two: Two) -> None:
    offer = await two.donor.exchange.offer_slab(MODEL, HERE, (0,))
    with pytest.raises(EngineError, match=r"m is not fetched: 127\.0\.0\.1 has m in float16"):
        await two.other.exchange.fetch_slab(MODEL, replace(offer, dtype="float16"))
    assert not two.other.posted
    assert not two.other.notes


class Held:
    """A fetch that lasts until a test ends it, or somebody stops it."""

    def __init__(self) -> None:
        self.begun = 0
        self.has_begun = threading.Event()
        self.was_stopped = threading.Event()
        self.may_end = threading.Event()

    def fetch(self, *arguments: object) -> SlabFetched:
        self.begun += 1
        self.has_begun.set()
        stop = arguments[-1]
        assert isinstance(stop, threading.Event)
        while not self.may_end.wait(0.01):
            if stop.is_set():
                self.was_stopped.set()
                raise WeightsError("fetching was taken back")
        return SlabFetched(1, 0.1)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """In the place of each fetch of a test."""
    fetch = Held()
    monkeypatch.setattr(slab_exchange, "fetch_slab", fetch.fetch)
    return fetch


async def test_who_wants_the_same_slab_waits_for_one_fetch_which_ends_with_the_last(two: Two, held: Held) -> None:
    offer = await two.donor.exchange.offer_slab(MODEL, HERE, (0,))
    first, second = (asyncio.create_task(two.other.exchange.fetch_slab(MODEL, offer)) for _ in range(2))
    await asyncio.to_thread(held.has_begun.wait)
    first.cancel()
    await asyncio.wait({first})
    assert not second.done()
    held.may_end.set()
    assert (await second).came_bytes == 1
    assert (held.begun, held.was_stopped.is_set()) == (1, False)


async def test_a_fetch_that_nobody_waits_for_is_stopped(two: Two, held: Held) -> None:
    offer = await two.donor.exchange.offer_slab(MODEL, HERE, (0,))
    only = asyncio.create_task(two.other.exchange.fetch_slab(MODEL, offer))
    await asyncio.to_thread(held.has_begun.wait)
    only.cancel()
    await asyncio.to_thread(held.was_stopped.wait)
    assert not two.other.posted


async def test_who_comes_while_a_fetch_ends_that_all_have_left_has_one_of_its_own(two: Two, held: Held) -> None:
    offer = await two.donor.exchange.offer_slab(MODEL, HERE, (0,))
    only = asyncio.create_task(two.other.exchange.fetch_slab(MODEL, offer))
    await asyncio.to_thread(held.has_begun.wait)
    only.cancel()
    await asyncio.wait({only})
    another = asyncio.create_task(two.other.exchange.fetch_slab(MODEL, offer))
    await asyncio.to_thread(held.was_stopped.wait)
    held.may_end.set()
    assert (await another).came_bytes == 1
    assert held.begun == 2


async def test_offers_that_are_made_at_once_have_one_server(two: Two) -> None:
    offers = await asyncio.gather(*(two.donor.exchange.offer_slab(MODEL, HERE, (0,)) for _ in range(8)))
    assert len({offer.port for offer in offers}) == 1
    assert len({offer.ticket for offer in offers}) == 8
    assert [thread.name for thread in threading.enumerate()].count("slabs") == 1


async def test_the_end_stops_what_is_under_way(two: Two, held: Held) -> None:
    offer = await two.donor.exchange.offer_slab(MODEL, HERE, (0,))
    waiting = asyncio.create_task(two.other.exchange.fetch_slab(MODEL, offer))
    await asyncio.to_thread(held.has_begun.wait)
    await two.other.exchange.close()
    assert held.was_stopped.is_set()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
