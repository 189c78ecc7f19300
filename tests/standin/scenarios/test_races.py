"""Every wait in the way of a copy is needed: without it wrong bytes are seen. With all of them a model answers right.

A wait is taken out by its name in torch, or by the name of what waits, so that the code under test stays as it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from engine.core.models import Limits
from engine.core.sizes import MIB
from engine.core.tasks import Embed
from engine.weights.slab import Prepared, open_prepared
from engine.worker.errors import NoAnswer
from engine.worker.protocol import Bind, Release, WriteBack
from engine.worker.residents import Residents
from engine.worker.slab_stream import SlabStream
from tests.standin.cards import STATE, Cards
from tests.standin.scenarios.workers import TEXTS
from tests.worker.available_card import slice_of_a_card
from tests.worker.lanes import embedded_in, ran_in
from tests.worker.models import Tier
from tests.worker.small_recipes import SMALL_EMBEDDER, prepare_small

SLOW_KB_PER_S = 200
LIMIT_BYTES = 1024 * MIB
LOADS = 3


class Loader:
    """A model that comes and goes on a slice of the first card, in this process."""

    def __init__(self, residents: Residents, tier: Tier, prepared: Prepared) -> None:
        self.residents = residents
        self.tier = tier
        self.prepared = prepared
        self.region = tier.read(prepared)

    def load(self, model: str, reading: SlabStream | None = None) -> None:
        made = (str(self.prepared.folder), self.prepared.layout_id)
        place = (self.region.offset, self.region.length, MIB)
        self.residents.bind(Bind(1, model, *made, *place, "embedding", Limits()), reading)

    def evict(self, model: str) -> None:
        self.residents.release(Release(2, model))

    def answer(self, model: str) -> torch.Tensor:
        return embedded_in(ran_in(self.residents.find(model).lane, Embed(tuple(TEXTS)))).vectors

    def answers_otherwise(self, model: str, expected: torch.Tensor) -> bool:
        """With other numbers, or not at all where it finds that its bytes can't be a model's."""
        try:
            return not torch.equal(self.answer(model), expected)
        except NoAnswer:
            return True

    def slab(self, offset: int) -> bytes:
        return self.tier.mapping[offset : offset + self.region.length]

    def copied_back(self, model: str) -> bytes:
        """The slab as it comes back from the card, to another region of the RAM tier."""
        target = self.tier.arena.allocate(self.region.length)
        assert target is not None
        self.residents.write_back(WriteBack(3, model, target.offset, target.length))
        return self.slab(target.offset)


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Loader]:
    """On a card whose copies are slow enough to be overtaken."""
    tier, cards = Tier(64 * MIB), Cards(os.environ[STATE])
    with slice_of_a_card(tier, LIMIT_BYTES) as backing:
        loader = Loader(Residents(backing), tier, open_prepared(prepare_small(SMALL_EMBEDDER, tmp_path).folder))
        loader.load("kept")
        loader.load("guest")
        loader.evict("guest")  # the first run of a model, which takes longest, is over
        cards.slow(0, SLOW_KB_PER_S)
        yield loader
        torch.cuda.synchronize()
        cards.reset()


def take_out_waits_for_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda.Event, "synchronize", lambda event: None)
    monkeypatch.setattr(torch.cuda.Event, "elapsed_time", lambda event, end: 1.0)  # or it would refuse


def test_a_model_answers_right_beside_loads_and_so_does_what_was_loaded(loader: Loader) -> None:
    expected, over = loader.answer("kept"), threading.Event()

    def answer_on() -> list[bool]:
        right = []
        while not over.is_set():
            right.append(torch.equal(loader.answer("kept"), expected))
        return right

    with ThreadPoolExecutor(1) as thread:
        beside = thread.submit(answer_on)
        for _ in range(LOADS):
            loader.load("guest")
            assert torch.equal(loader.answer("guest"), expected)
            loader.evict("guest")
        over.set()
        assert beside.result()
        assert all(beside.result())


def test_a_load_that_does_not_wait_for_its_copy_runs_on_other_bytes(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loader.answer("kept")
    take_out_waits_for_copies(monkeypatch)
    loader.load("guest")
    assert loader.answers_otherwise("guest", expected)


def test_a_slab_that_is_copied_back_is_whole_and_without_the_wait_it_is_not(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loader.copied_back("kept") == loader.slab(loader.region.offset)
    take_out_waits_for_copies(monkeypatch)
    assert loader.copied_back("kept") != loader.slab(loader.region.offset)


def test_a_load_waits_for_bytes_that_are_still_read_and_without_the_wait_runs_on_others(
    loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = loader.answer("kept")
    whole, reading = loader.slab(loader.region.offset), SlabStream(loader.region.length, 0)
    begin, end = loader.region.offset, loader.region.offset + loader.region.length
    loader.tier.mapping[begin:end] = bytes(loader.region.length)
    with ThreadPoolExecutor(1) as thread:
        load = thread.submit(loader.load, "guest", reading)
        loader.tier.mapping[begin:end] = whole
        reading.advance(loader.region.length)
        load.result()
    assert torch.equal(loader.answer("guest"), expected)

    loader.evict("guest")
    loader.tier.mapping[begin:end] = bytes(loader.region.length)
    monkeypatch.setattr(SlabStream, "beyond", lambda stream, done_bytes: loader.region.length)
    loader.load("guest", SlabStream(loader.region.length, 0))
    assert loader.answers_otherwise("guest", expected)
