"""The model's page says how its footprint is known, and whether its runs tell anything of its limits."""

from __future__ import annotations

from typing import Literal

import pytest

from citadel_tui.viewmodel.pages.model import runs_text
from engine.core.models import Footprint, RunRange
from engine.core.sizes import MIB


@pytest.mark.parametrize(
    ("near_limits", "label", "expected"),
    [
        (21, "learned", "380–412 MiB with weights, 25 measured; 21 of the newest came near the limits"),
        (0, "learned", "380–412 MiB with weights, 25 measured; none of the newest came near the limits"),
        (
            0,
            "measured",
            "380–412 MiB with weights, 25 measured; none of the newest came near the limits: the estimate stays, lower"
            " limits would give room back",
        ),
    ],
)
def test_measured_runs_are_shown_with_their_worth(
    near_limits: int, label: Literal["measured", "learned"], expected: str
) -> None:
    runs = RunRange(25, near_limits, 0, 32 * MIB)

    assert runs_text(Footprint(380 * MIB, 40 * MIB, label, runs)) == expected


def test_without_measured_runs_there_is_nothing_to_say() -> None:
    assert runs_text(Footprint(380 * MIB, 40 * MIB)) == ""
