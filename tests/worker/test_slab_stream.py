"""A load that copies behind the reading of its slab, in the worker that does it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import torch

from engine.core.models import Limits
from engine.core.sizes import MIB
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.worker.errors import SlabNotRead
from engine.worker.framing import receive
from engine.worker.main import Worker
from engine.worker.memory import RamBacking
from engine.worker.protocol import Bind, Bound, Failure, FromWorker, Release, Released, SlabGrew, SlabStopped
from engine.worker.residents import Residents
from engine.worker.slab_stream import SlabStream, all_read, follow
from tests.worker.models import Tier
from tests.worker.small_recipes import SMALL_EMBEDDER, prepare_small


class Parts:
    """Copies nothing, and lets the test say how far the reading is after each part."""

    def __init__(self, reading: SlabStream, then: list[int]) -> None:
        self.reading = reading
        self.then = then
        self.copied: list[tuple[int, int]] = []

    def copy(self, begin: int, end: int) -> float:
        self.copied.append((begin, end))
        if self.then:
            self.reading.advance(self.then.pop(0))
        return 0.5


def test_each_part_is_copied_as_soon_as_it_has_been_read() -> None:
    reading = SlabStream(100, 10)
    parts = Parts(reading, [40, 100])
    moved = follow(reading, 100, parts.copy)
    assert parts.copied == [(0, 10), (10, 40), (40, 100)]
    assert moved.copy_s == 1.5


def test_a_slab_that_rests_in_the_ram_tier_is_one_part() -> None:
    reading = all_read(100)
    parts = Parts(reading, [])
    follow(reading, 100, parts.copy)
    assert parts.copied == [(0, 100)]


def test_a_reading_that_is_given_up_ends_the_copy() -> None:
    reading = SlabStream(100, 10)

    def copy(begin: int, end: int) -> float:
        reading.stop("the disk is gone")
        return 0.0

    with pytest.raises(SlabNotRead, match="the disk is gone"):
        follow(reading, 100, copy)


class Loading(msgspec.Struct):
    """A worker in this process, and the engine's end of its stream."""

    worker: Worker
    stream: socket.socket
    residents: Residents
    backing: RamBacking

    def answer(self) -> FromWorker | None:
        said: FromWorker | None = receive(self.stream, FromWorker)
        return said


@pytest.fixture
def loading(tier: Tier) -> Iterator[Loading]:
    ours, theirs = socket.socketpair()
    backing = RamBacking(tier.mapping, 64 * MIB)
    residents = Residents(backing)
    with ours, theirs:
        yield Loading(Worker(residents, theirs), ours, residents, backing)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare_small(SMALL_EMBEDDER, tmp_path)


def bind(number: int, prepared: Prepared, region: Region, read_bytes: int | None) -> Bind:
    place = (region.offset, region.length, MIB)
    return Bind(
        number, f"m{number}", str(prepared.folder), prepared.layout_id, *place, "embedding", Limits(), read_bytes
    )


def test_a_load_whose_slab_comes_bit_by_bit_has_every_byte(loading: Loading, prepared: Prepared, tier: Tier) -> None:
    whole = tier.read(prepared)
    growing = tier.arena.allocate(whole.length)
    assert growing is not None
    loading.worker.take(bind(1, prepared, growing, 0))
    for done in range(0, whole.length, whole.length // 5):
        end = min(done + whole.length // 5, whole.length)
        tier.mapping[growing.offset + done : growing.offset + end] = tier.mapping[
            whole.offset + done : whole.offset + end
        ]
        loading.worker.take(SlabGrew(1, end))
    assert isinstance(loading.answer(), Bound)
    loading.worker.take(bind(2, prepared, whole, None))
    assert isinstance(loading.answer(), Bound)

    one, two = (loading.residents.find(f"m{number}") for number in (1, 2))
    for name, parameter in one.skeleton.module.named_parameters():
        assert torch.equal(parameter, two.skeleton.module.get_parameter(name))
    for bound in (one, two):
        bound.lane.close()


def test_a_load_whose_slab_does_not_come_fails_and_leaves_the_device_as_it_was(
    loading: Loading, prepared: Prepared, tier: Tier
) -> None:
    loading.worker.take(bind(1, prepared, tier.read(prepared), 4096))
    loading.worker.take(SlabStopped(1, "the reading of m1 was taken back"))
    assert loading.answer() == Failure(1, "not read", "the reading of m1 was taken back")
    assert loading.backing.used_bytes == 0


def test_a_load_that_waits_for_its_slab_holds_up_no_other_and_no_release(
    loading: Loading, prepared: Prepared, tier: Tier
) -> None:
    region = tier.read(prepared)
    loading.worker.take(bind(1, prepared, region, 0))
    loading.worker.take(bind(2, prepared, region, None))
    assert isinstance(loading.answer(), Bound)
    loading.worker.take(Release(3, "m2"))
    assert isinstance(loading.answer(), Released)
    loading.worker.take(SlabGrew(1, region.length))
    bound = loading.answer()
    assert isinstance(bound, Bound)
    assert bound.tail_s is not None
    loading.residents.find("m1").lane.close()


def test_news_of_a_load_that_has_ended_change_nothing(loading: Loading, prepared: Prepared, tier: Tier) -> None:
    region = tier.read(prepared)
    loading.worker.take(bind(1, prepared, region, region.length))
    assert isinstance(loading.answer(), Bound)
    loading.worker.take(SlabStopped(1, "too late"))
    loading.residents.find("m1").lane.close()
