"""One to sixteen cards, four to four hundred models, at five sizes, as the text of the painted screen: where each row goes.
Colours are in the pictures of the other files."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.tui.consoles import open_console
from tests.tui.crowded_engines import crowded_engine

SCREENS = (
    *((1, 4, (80, 24)), (1, 4, (160, 50)), (1, 40, (100, 30)), (1, 400, (237, 63))),
    *((2, 4, (160, 50)), (2, 40, (80, 24)), (2, 400, (120, 40))),
    *((8, 4, (80, 24)), (8, 4, (237, 63)), (8, 40, (80, 24)), (8, 40, (160, 50)), (8, 400, (100, 30))),
    *((16, 4, (80, 24)), (16, 40, (120, 40)), (16, 40, (237, 63)), (16, 400, (80, 24)), (16, 400, (160, 50))),
)


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
