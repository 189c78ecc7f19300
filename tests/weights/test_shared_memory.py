from __future__ import annotations

import itertools

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.weights.shared_memory import PAGE_BYTES, Region, Regions

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
