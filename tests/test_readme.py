"""What the README says of the keys is what the console does."""

from __future__ import annotations

from pathlib import Path

from citadel_tui.actions import ACTIONS

README = Path(__file__).parents[1] / "README.md"


def test_the_key_table_is_the_action_registry() -> None:
    rows = [f"| `{action.key_text}` | {action.word}: {action.help} |" for action in ACTIONS]
    table = README.read_text().split("<!-- keys: from the action registry -->")[1].split("<!-- /keys -->")[0]

    assert table.strip().splitlines() == ["| key | does |", "|---|---|", *rows]
