"""Which parts of a memory are taken, that it never holds more than it may, and touching it ahead of its first use."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.core.sizes import MIB
from engine.weights.shared_memory import (
    PAGE_BYTES,
    TOUCH_PIECE_BYTES,
    Region,
    Regions,
    SparseMemory,
    Touching,
)

SIZE_BYTES = 64 * PAGE_BYTES


class RegionsMachine(RuleBasedStateMachine):
    """Any order of taking and freeing."""

    def __init__(self) -> None:
        super().__init__()
        self.regions = Regions(SIZE_BYTES)
        self.taken: list[Region] = []

    @rule(length=st.integers(1, SIZE_BYTES + PAGE_BYTES))
    def take(self, length: int) -> None:
        largest_bytes = max((span for _, span in self.regions.free_parts), default=0)
        region = self.regions.allocate(length)
        assert (region is None) == (length > largest_bytes)
        if region is not None:
            assert region.length == length
            self.taken.append(region)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        region = data.draw(st.sampled_from(self.taken))
        self.taken.remove(region)
        self.regions.free(region)

    @invariant()
    def every_byte_is_free_or_taken_once(self) -> None:
        parts = sorted([*self.regions.free_parts, *((r.offset, r.span_bytes) for r in self.taken)])
        assert [offset for offset, _ in parts] == [sum(span for _, span in parts[:i]) for i in range(len(parts))]
        assert self.regions.free_bytes + self.regions.taken_bytes == SIZE_BYTES

    @invariant()
    def free_neighbours_are_one(self) -> None:
        parts = self.regions.free_parts
        assert all(a[0] + a[1] < b[0] for a, b in itertools.pairwise(parts))


TestAnyOrderOfTakingAndFreeing = RegionsMachine.TestCase


def test_regions_begin_on_pages() -> None:
    regions = Regions(SIZE_BYTES)
    taken = [regions.allocate(length) for length in (1, PAGE_BYTES + 1, 7)]
    assert [region.offset for region in taken if region] == [0, PAGE_BYTES, 3 * PAGE_BYTES]


def test_a_region_can_not_be_freed_twice() -> None:
    regions = Regions(SIZE_BYTES)
    region = regions.allocate(10)
    assert region is not None
    regions.free(region)
    with pytest.raises(KeyError):
        regions.free(region)


def test_a_region_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        Regions(SIZE_BYTES).allocate(0)


PAGES = 8


@pytest.fixture
def memory() -> Iterator[SparseMemory]:
    memory = SparseMemory("test", PAGES * PAGE_BYTES)
    yield memory
    memory.close()


def taken(memory: SparseMemory, pages: int) -> Region:
    """A region of so many pages, with bytes in it."""
    region = memory.allocate(pages * PAGE_BYTES)
    assert region is not None
    memory.mapping[region.offset : region.offset + region.length] = b"x" * region.length
    return region


def held_bytes(memory: SparseMemory) -> int:
    """Of the host's memory, as the kernel counts it."""
    return os.fstat(memory.fd).st_blocks * 512


def test_nothing_is_given_out_over_the_limit(memory: SparseMemory) -> None:
    taken(memory, PAGES - 1)
    assert memory.free_bytes == PAGE_BYTES
    assert memory.allocate(PAGE_BYTES + 1) is None
    assert memory.allocate(PAGE_BYTES) is not None
    assert memory.allocate(1) is None


def test_holes_between_regions_do_not_keep_out_what_fits_their_sum(memory: SparseMemory) -> None:
    regions = [taken(memory, 1) for _ in range(PAGES)]
    for region in regions[::2]:
        memory.free(region)
    kept = regions[1]
    taken(memory, PAGES // 2)
    assert memory.mapping[kept.offset : kept.offset + kept.length] == b"x" * PAGE_BYTES
    assert memory.free_bytes == 0


def test_addresses_beyond_the_limit_hold_no_more_memory_than_the_limit(memory: SparseMemory) -> None:
    regions = [taken(memory, 1) for _ in range(PAGES)]
    for region in regions[::2]:
        memory.free(region)
    taken(memory, PAGES // 2)
    assert held_bytes(memory) <= memory.limit_bytes


def test_what_was_touched_is_used_first(memory: SparseMemory) -> None:
    first = taken(memory, 3)
    memory.free(first)
    assert taken(memory, 2).offset == first.offset


def test_a_memory_that_keeps_no_pages_gives_them_back_as_soon_as_they_are_free() -> None:
    memory = SparseMemory("test", PAGES * PAGE_BYTES, keeps_pages=False)
    first, second = taken(memory, 3), taken(memory, 2)
    memory.free(first)
    assert held_bytes(memory) == 2 * PAGE_BYTES
    assert memory.mapping[second.offset : second.offset + second.length] == b"x" * second.length
    memory.close()


@pytest.fixture
def roomy() -> Iterator[SparseMemory]:
    roomy = SparseMemory("test", 16 * MIB)
    yield roomy
    roomy.close()


def test_what_is_asked_for_is_there_before_its_first_use_and_no_more(roomy: SparseMemory) -> None:
    touching = Touching(roomy, 5 * MIB)
    touching.start()
    touching.wait()
    assert held_bytes(roomy) == 5 * MIB


def test_never_more_than_the_memory_may_hold(roomy: SparseMemory) -> None:
    touching = Touching(roomy, 1 << 40)
    touching.start()
    touching.wait()
    assert held_bytes(roomy) == 16 * MIB


def test_what_a_region_holds_already_stays(roomy: SparseMemory) -> None:
    roomy.mapping[MIB : MIB + 4] = b"kept"
    touching = Touching(roomy, 2 * MIB)
    touching.start()
    touching.wait()
    assert roomy.mapping[MIB : MIB + 4] == b"kept"


def test_nothing_is_touched_while_it_is_paused(roomy: SparseMemory) -> None:
    touching = Touching(roomy, 16 * MIB)
    with touching.paused():
        touching.start()
        assert held_bytes(roomy) == 0
    touching.wait()
    assert held_bytes(roomy) == 16 * MIB


def test_it_ends_at_the_next_piece_when_it_is_told(roomy: SparseMemory) -> None:
    touching = Touching(roomy, 16 * MIB)
    with touching.paused():
        touching.start()
        touching.end()
    assert held_bytes(roomy) <= TOUCH_PIECE_BYTES


def test_nothing_to_touch_is_nothing_to_wait_for(roomy: SparseMemory) -> None:
    touching = Touching(roomy, 0)
    touching.start()
    touching.end()
    assert held_bytes(roomy) == 0
