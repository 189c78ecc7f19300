from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from engine.weights.shared_memory import PAGE_BYTES, Region, SparseMemory

PAGES = 8


@pytest.fixture
def memory() -> Iterator[SparseMemory]:
    memory = SparseMemory("test", PAGES * PAGE_BYTES)
    yield memory
    memory.close()


def take(memory: SparseMemory, pages: int) -> Region:
    region = memory.allocate(pages * PAGE_BYTES)
    assert region is not None
    memory.mapping[region.offset : region.offset + region.length] = b"x" * region.length
    return region


def held_bytes(memory: SparseMemory) -> int:
    return os.fstat(memory.fd).st_blocks * 512


def test_nothing_is_given_out_over_the_limit(memory: SparseMemory) -> None:
    take(memory, PAGES - 1)
    assert memory.free_bytes == PAGE_BYTES
    assert memory.allocate(PAGE_BYTES + 1) is None
    assert memory.allocate(PAGE_BYTES) is not None
    assert memory.allocate(1) is None


def test_holes_between_regions_do_not_keep_out_what_fits_their_sum(memory: SparseMemory) -> None:
    regions = [take(memory, 1) for _ in range(PAGES)]
    for region in regions[::2]:
        memory.free(region)
    kept = regions[1]
    take(memory, PAGES // 2)
    assert memory.mapping[kept.offset : kept.offset + kept.length] == b"x" * PAGE_BYTES
    assert memory.free_bytes == 0


def test_addresses_beyond_the_limit_hold_no_more_memory_than_the_limit(memory: SparseMemory) -> None:
    regions = [take(memory, 1) for _ in range(PAGES)]
    for region in regions[::2]:
        memory.free(region)
    take(memory, PAGES // 2)
    assert held_bytes(memory) <= memory.limit_bytes


def test_what_was_touched_is_used_first(memory: SparseMemory) -> None:
    first = take(memory, 3)
    memory.free(first)
    assert take(memory, 2).offset == first.offset
