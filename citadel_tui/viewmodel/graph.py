"""A filled graph in a few rows of text: the newest value at the right edge."""

from __future__ import annotations

from collections.abc import Sequence

from citadel_tui.viewmodel.paper import Paper


def graph(values: Sequence[float | None], top: float, paper: Paper, height: int) -> tuple[str, ...]:
    """`height` rows of `width` cells, from the highest. `top` fills a column; what is over zero is seen; None is blank."""
    shown = [None] * (paper.width - len(values)) + list(values[-paper.width :])
    steps = len(paper.glyphs.levels) - 1
    filled = [_steps(value, top, height * steps) for value in shown]
    return tuple(
        "".join(paper.glyphs.levels[max(min(column - below * steps, steps), 0)] for column in filled)
        for below in reversed(range(height))
    )


def _steps(value: float | None, top: float, most: int) -> int:
    if value is None or value <= 0 or top <= 0:
        return 0
    return max(round(min(value / top, 1.0) * most), 1)
