"""A preview says whose weights go back to the RAM tier, as a command and on the screen."""

from __future__ import annotations

from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.pages.plan import step_lines
from citadel_tui.words.plans import plan_text
from engine.core.commands import Load
from engine.core.plans import EvictStep, Plan
from engine.core.sizes import MIB

STEP = EvictStep("a", "gpu0", 60 * MIB, leases=2, written_back=True)
PLAN = Plan(Load("b"), (STEP,), ("gpu0 is the cheapest",))


def test_a_commands_preview_says_so() -> None:
    text = plan_text(PLAN, str)

    assert (
        "evict a from gpu0 (60 MiB), to make room, after its 2 running uses; its weights go back to the RAM tier"
        in text
    )


def test_the_screens_preview_says_so_on_a_line_of_its_own_where_that_is_narrow() -> None:
    wide, narrow = (["".join(s.text for s in line) for line in step_lines(PLAN, w, UNICODE)] for w in (100, 50))

    assert wide[0].endswith("after 2 running requests, back to the RAM tier")
    assert narrow[1].strip() == "after 2 running requests, back to the RAM tier"
