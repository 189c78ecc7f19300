"""How requests fare, in words."""

from __future__ import annotations

import pytest

from citadel_tui.words.requests import answered_text, at_work_text, latency_text, nothing_text, rate_text
from engine.core.insight.request_figures import KEPT_ANSWERS, RequestFigures

BUSY = RequestFigures(12, 3, 118.0, 0.05, 0.21, 0.8, 480, failed=2, refused=5, left=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0004, "<1 ms"),
        (0.0084, "8.4 ms"),
        (0.00996, "10 ms"),
        (0.2104, "210 ms"),
        (0.9996, "1.00 s"),
        (9.996, "10.0 s"),
        (99.97, "100 s"),
        (600.0, "600 s"),
    ],
)
def test_a_latency_takes_six_characters_at_most(seconds: float | None, text: str) -> None:
    assert latency_text(seconds) == text
    assert len(text) <= 6


@pytest.mark.parametrize(
    ("per_s", "text"), [(0.0, ""), (0.04, ""), (0.25, "0.2"), (9.96, "10"), (118.0, "118"), (9999.7, "10k")]
)
def test_a_rate_takes_four_characters_at_most(per_s: float, text: str) -> None:
    assert rate_text(per_s) == text
    assert len(text) <= 4


def test_rows_are_told_from_tokens() -> None:
    assert at_work_text(BUSY, "rerank") == "3 in flight, 12 waiting, 118 rows a second in the last minute"
    assert at_work_text(BUSY, "generation").endswith("118 tokens a second in the last minute")
    assert at_work_text(RequestFigures(), "classify") == "0 in flight, 0 waiting"


def test_times_say_of_how_many_answers_they_are_and_what_they_leave_out() -> None:
    assert answered_text(BUSY, "embedding") == "p50 210 ms, p95 800 ms; of 480 answers in the last 5 minutes"
    assert "first token 50 ms" in answered_text(BUSY, "generation")
    many = RequestFigures(p50_s=1.0, p95_s=1.0, first_part_s=1.0, answered=KEPT_ANSWERS)
    assert answered_text(many, "embedding").endswith("of the newest 512 answers in the last 5 minutes")
    assert answered_text(RequestFigures(left=1), "embedding") == ""
    assert nothing_text(BUSY) == "2 failed, 5 refused, 1 left since the engine started; not in the times"
    assert nothing_text(RequestFigures(answered=3)) == ""
