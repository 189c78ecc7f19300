"""Sharing a row's cells among sizes, so that the cells always add up and nothing that exists vanishes."""

from __future__ import annotations

from collections.abc import Sequence


def share(sizes: Sequence[int], cells: int) -> list[int]:
    """Cells for each size by largest remainder; every size over zero gets one while there are enough."""
    total = sum(sizes)
    if total <= 0 or cells <= 0:
        return [0] * len(sizes)
    given = [size * cells // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (-(sizes[i] * cells % total), i))
    for index in by_remainder[: cells - sum(given)]:
        given[index] += 1
    return _with_small_ones_seen(sizes, given)


def _with_small_ones_seen(sizes: Sequence[int], given: list[int]) -> list[int]:
    for index, size in enumerate(sizes):
        if size <= 0 or given[index]:
            continue
        richest = max(range(len(given)), key=given.__getitem__)
        if given[richest] < 2:
            break
        given[richest] -= 1
        given[index] = 1
    return given
