"""The shell and the console's pages say the same of a plan, a proposal or a refusal: they lay out the same parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, get_args

import msgspec
import pytest
from msgspec.structs import replace

from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.log import log_lines
from citadel_tui.viewmodel.pages.plan import plan_lines, proposal_lines, refusal_lines, step_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line
from citadel_tui.words.plans import (
    IN_THE_WAY,
    ending_text,
    plan_text,
    plan_words,
    proposal_text,
    proposal_words,
    refusal_text,
    refusal_words,
    restart_words,
)
from citadel_tui.words.records import record_text
from engine.api import Failed
from engine.core.commands import Batch, Evict, Load, Move, SetPin
from engine.core.plans import (
    Alternative,
    Blocker,
    BlockerWhy,
    EvictStep,
    LoadStep,
    PinStep,
    Plan,
    Refusal,
    Room,
    UnpinStep,
)
from engine.core.prediction import Prediction
from engine.core.proposals import Gain, Proposal, Rebalance
from engine.core.records import Phases, Pinned, Record, Refused, Switch
from engine.core.sizes import MIB
from tests.core.boxes import box, with_resident
from tests.scripted_plans import START_S

WIDE: Final = 200
LEAVES: Final = EvictStep(
    "a",
    "gpu0",
    60 * MIB,
    leases=2,
    predicted=Prediction(0.01, 0.02),
    written_back=True,
    drain=Prediction(3.1, 6.0),
)
PLAN: Final = Plan(
    Load("b"),
    (
        LEAVES,
        EvictStep("c", "gpu1", 70 * MIB, victim=False),
        LoadStep("b", "gpu0", 80 * MIB, "disk", Prediction(0.3, 0.5)),
        PinStep("b", "gpu0"),
        UnpinStep("d"),
    ),
    ("no device has room", "gpu0 gives it up cheapest", "no device has room"),
    (Alternative("gpu1", ("c", "e"), Prediction(0.4, 0.6), 1.2, "it would cost 1.20 s"),),
)
PROPOSAL: Final = Proposal(
    Rebalance(),
    Batch("rebalance", (Move("a", "gpu1"), Evict("c"))),
    PLAN,
    (
        Gain("a", "gpu0", "gpu1", 0.84, 0.21, "gpu0 is left to b"),
        Gain("c", "gpu1", None, -0.03, 0.0, "it is asked for least"),
    ),
    ("switches should become rarer by a third",),
)
REFUSAL: Final = Refusal(
    Load("b", "gpu0"),
    "no device has room for b",
    80 * MIB,
    (Room("gpu0", 512 * MIB, 70 * MIB), Room("gpu1", 512 * MIB, 90 * MIB, "it is lost")),
    tuple(Blocker(f"model-{number}", "gpu0", 60 * MIB, why) for number, why in enumerate(get_args(BlockerWhy))),
    ("unpin model-0", "wait"),
)


def texts_of(words: msgspec.Struct) -> Iterator[str]:
    """All that the parts say."""
    for value in msgspec.structs.astuple(words):
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, msgspec.Struct):
                yield from texts_of(part)
            else:
                yield part


def page_text(lines: Iterable[Line]) -> str:
    return "\n".join("".join(span.text for span in line) for line in lines)


def missing(words: msgspec.Struct, text: str) -> Sequence[str]:
    return [part for part in texts_of(words) if part not in text]


def test_a_plan_has_the_same_parts_in_the_shell_and_on_its_page() -> None:
    words = plan_words(PLAN, str)
    assert missing(words, plan_text(PLAN, str)) == []
    assert missing(words, page_text(plan_lines(PLAN, Paper(WIDE, UNICODE), changed=False))) == []


def test_a_proposal_has_the_same_parts_in_the_shell_and_on_its_page() -> None:
    words = proposal_words(PROPOSAL, str)
    assert missing(words, proposal_text(PROPOSAL, str)) == []
    assert missing(words, page_text(proposal_lines(PROPOSAL, Paper(WIDE, UNICODE)))) == []


def test_a_refusal_has_the_same_parts_in_the_shell_and_on_its_page() -> None:
    words = refusal_words(REFUSAL, str)
    assert missing(words, refusal_text(REFUSAL, str)) == []
    assert missing(words, page_text(refusal_lines(REFUSAL, Paper(WIDE, UNICODE)))) == []


def test_there_are_plain_words_for_every_reason_to_stay() -> None:
    assert set(IN_THE_WAY) == set(get_args(BlockerWhy))
    assert "model-1 on gpu0 (60 MiB), running a request" in refusal_text(REFUSAL, str)


def test_a_plan_as_the_shell_prints_it() -> None:
    assert plan_text(PLAN, lambda model: f"{model} (synthetic)").splitlines() == [
        "LEAVES a (synthetic) from gpu0 (60 MiB), after 2 running requests, back to the RAM tier",
        "leaves c (synthetic) from gpu1 (70 MiB)",
        "loads b (synthetic) on gpu0 (80 MiB), from disk",
        "pins b (synthetic) on gpu0",
        "UNPINS d (synthetic)",
        "takes 0.31 to 0.51 s, once the running requests have ended in 3.10 to 6.00 s",
        "or, with --now, ends 2 running requests of a (synthetic) at once",
        "because no device has room",
        "because gpu0 gives it up cheapest",
        "instead: gpu1, c (synthetic), e (synthetic) leaving: 0.40 to 0.60 s; it would cost 1.20 s",
    ]


def test_a_plan_that_ends_runs_says_so_instead() -> None:
    ends = replace(PLAN, steps=(replace(LEAVES, at_once=True), *PLAN.steps[1:]))
    text = plan_text(ends, str)
    assert "LEAVES a from gpu0 (60 MiB), ends 2 running requests, back to the RAM tier" in text
    assert "takes 0.31 to 0.51 s\n" in text
    assert "--now" not in text


def test_another_worker_is_told_by_what_it_does_to_whatever_is_there() -> None:
    state = with_resident(box({"a": 60, "b": 10}), "a", "gpu0", leases=2)
    ended, back = restart_words(state, "gpu0", str)
    assert ended == "2 running requests there: ended, and tried once more"
    assert back.startswith("a leaves gpu0 and is loaded again: ")
    assert restart_words(state, "gpu1", str) == ()


def test_a_refusal_as_the_shell_prints_it() -> None:
    assert refusal_text(REFUSAL, str).splitlines()[:5] == [
        "refused: no device has room for b",
        "  80 MiB needed",
        "  gpu0: 70 MiB free of a budget of 512 MiB, 10 MiB short",
        "  gpu1: 90 MiB free of a budget of 512 MiB; it is lost",
        "  in the way: model-0 on gpu0 (60 MiB), pinned",
    ]


def test_what_is_done_but_not_kept_is_not_said_to_have_changed_nothing() -> None:
    assert ending_text(Failed("gpu0 ran out")) == "failed, everything is as it was: gpu0 ran out"
    assert ending_text(Failed("the disk is full", holds=True)) == "done, but not for good: the disk is full"
    assert ending_text(Failed("a: done; b: gpu0 ran out", partly=True)) == "done in part: a: done; b: gpu0 ran out"


def test_a_proposal_as_the_shell_prints_it() -> None:
    assert proposal_text(PROPOSAL, str).splitlines()[:2] == [
        "a: gpu0 → gpu1, gains 0.84 s, costs 0.21 s; gpu0 is left to b",
        "c: gpu1 → no device, gains -0.03 s, costs <0.01 s; it is asked for least",
    ]
    assert "\nbecause switches should become rarer by a third\nbecause no device has room\n" in proposal_text(
        PROPOSAL, str
    )


def test_how_a_step_is_done_stands_on_a_line_of_its_own_where_the_screen_is_narrow() -> None:
    words = plan_words(Plan(Load("b"), (LEAVES,), ()), str)
    wide, narrow = (page_text(step_lines(words, Paper(width, UNICODE))).split("\n") for width in (100, 50))
    assert wide[0].endswith("after 2 running requests, back to the RAM tier")
    assert narrow[1].strip() == "after 2 running requests, back to the RAM tier"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (Refused("1", REFUSAL, "operator", START_S), "refused: load b on gpu0: no device has room for b"),
        (Pinned("2", Plan(SetPin("b"), (PinStep("b", "gpu0"),), ()), "operator", START_S), "pin b on gpu0"),
        (Switch("3", Plan(Evict("c"), PLAN.steps[1:2], ()), "operator", START_S, 0.1, Phases()), "evict c from gpu1"),
        (
            Switch(
                "4", Plan(Batch("drain gpu1", (Evict("c"),)), PLAN.steps[1:2], ()), "operator", START_S, 0.1, Phases()
            ),
            "drain gpu1: evict c from gpu1",
        ),
    ],
)
def test_a_line_of_the_log_says_the_same_in_the_shell_and_on_the_dashboard(
    entry: Refused | Pinned | Switch, said: str
) -> None:
    record = Record(1, entry)
    assert said in record_text(record, str)
    assert said in page_text(log_lines((record,), Paper(WIDE, UNICODE)).values())
