"""Figures as cells: a filled graph in a few rows of text, and a row's cells shared among sizes."""

from __future__ import annotations

from collections.abc import Sequence

from citadel_tui.viewmodel.paper import Paper


def graph(values: Sequence[float | None], top: float, paper: Paper, height: int) -> tuple[str, ...]:
    """`height` rows of `width` cells, from the highest. `top` fills a column; what is over zero is seen; None is blank."""
    levels, steps = paper.glyphs.levels, len(paper.glyphs.levels) - 1
    shown = [None] * (paper.width - len(values)) + list(values[-paper.width :])
    columns = (_column(_steps(value, top, height * steps), levels, height) for value in shown)
    return tuple(map("".join, zip(*columns, strict=True)))[::-1]


def _column(filled: int, levels: str, height: int) -> str:
    """Its cells, from the lowest."""
    whole, part = divmod(filled, len(levels) - 1)
    return f"{levels[-1] * whole}{levels[part] if part else ''}".ljust(height, levels[0])


def _steps(value: float | None, top: float, most: int) -> int:
    if value is None or value <= 0 or top <= 0:
        return 0
    # At least one step: a little must not look like nothing.
    return max(round(min(value / top, 1.0) * most), 1)


def share_cells(sizes: Sequence[int], cells: int) -> list[int]:
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
