"""One, two, eight, sixteen cards, each with 4, 40, 400 models, at five sizes, as the text of the painted screen: where each row
goes. Colours are in the pictures of the other files."""

from __future__ import annotations

from itertools import product

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.tui.consoles import open_console
from tests.tui.crowded_engines import crowded_engine

SCREENS = tuple(product((1, 2, 8, 16), (4, 40, 400), ((80, 24), (100, 30), (120, 40), (160, 50), (237, 63))))


@pytest.mark.parametrize(
    ("cards", "models", "size"), SCREENS, ids=(f"{cards}x{models}-{w}x{h}" for cards, models, (w, h) in SCREENS)
)
async def test_rows_go_where_they_are_needed(
    snapshot: SnapshotAssertion, cards: int, models: int, size: tuple[int, int]
) -> None:
    async with open_console(await crowded_engine(cards, models), size=size) as console:
        await console.sees(f"MODELS {models}")
        await console.settles()
        assert console.painted == snapshot
