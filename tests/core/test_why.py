"""Why a model is where it is: which record decided it, and what part the model had in it."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.commands import Command, Evict, Load, SetPin
from engine.core.insight.why import Explanation, explain
from engine.core.planning.planner import plan
from engine.core.plans import Plan, Refusal
from engine.core.policy import Policy
from engine.core.records import Entry, Notice, Phases, Pinned, Record, Refused, Switch
from engine.core.state import State
from tests.core.boxes import NOW_S, box, with_demand, with_pin, with_resident

FULL = with_demand(
    with_demand(
        with_resident(with_resident(box({"busy": 60, "idle": 60, "new": 60}), "busy", "gpu0"), "idle", "gpu1"),
        "busy",
        50,
    ),
    "idle",
    1,
)


def switch_of(state: State, command: Command) -> Switch:
    found = plan(state, command, Policy(), NOW_S)
    assert isinstance(found, Plan)
    return Switch("1", found, "request", NOW_S, 0.5, Phases(copy=0.5))


def why(model: str, *entries: Entry, state: State = FULL) -> Explanation:
    return explain(state, [Record(seq, entry) for seq, entry in enumerate(entries, 1)], model)


def parts(explained: Explanation) -> tuple[str | None, str | None]:
    return tuple(d.part if d else None for d in (explained.last, explained.placed))  # type: ignore[return-value]


def test_one_switch_is_told_from_the_side_of_each_model_in_it() -> None:
    switch = switch_of(FULL, Load("new"))

    assert [parts(why(model, switch))[0] for model in ("new", "idle", "busy")] == ["came", "victim", "spared"]


def test_the_decision_has_the_figures_that_it_was_made_by() -> None:
    (victim,) = switch_of(FULL, Load("new")).plan.victims
    rooms = switch_of(FULL, Load("new")).plan.rooms

    assert victim.loss_s is not None
    assert victim.reload_s is not None
    assert victim.loss_s > victim.reload_s > 0  # asked for more than once, it is expected to be asked for again
    assert [(room.device, room.free_bytes >> 20) for room in rooms] == [("gpu1", 20), ("gpu0", 20)]


def test_a_later_decision_that_moved_nothing_leaves_the_one_that_did() -> None:
    coming, pin = switch_of(FULL, Load("new")), plan(FULL, SetPin("new"), Policy(), NOW_S)
    assert isinstance(pin, Plan)
    explained = why("new", coming, Pinned("2", pin, "operator", NOW_S + 1))

    assert parts(explained) == ("pinned", "came")
    assert explained.placed is not None
    assert explained.placed.seq == 1


def test_a_switch_that_failed_is_the_last_word_but_placed_nothing() -> None:
    failed = replace(switch_of(FULL, Load("new")), outcome="failed", reason="the card was lost")

    assert parts(why("new", failed)) == ("came", None)
    assert parts(why("new", switch_of(FULL, Load("new")), failed)) == ("came", "came")


def test_a_pinned_model_is_told_of_as_in_the_way_of_what_was_refused() -> None:
    state = with_pin(with_resident(box({"a": 60, "new": 60}, {"gpu0": 100}), "a", "gpu0"), "a")
    refusal = plan(state, Load("new"), Policy(cpu_fallback=False), NOW_S)
    assert isinstance(refusal, Refusal)
    refused = Refused("1", refusal, "request", NOW_S)

    assert parts(why("a", refused, state=state)) == ("in the way", None)
    assert parts(why("new", refused, state=state)) == ("refused", None)


def test_what_was_evicted_by_a_person_was_taken_off_and_is_no_victim() -> None:
    assert parts(why("idle", switch_of(FULL, Evict("idle")))) == ("taken off", None)


def test_what_happened_since_to_its_device_is_told_and_what_happened_elsewhere_is_not() -> None:
    died = Notice(NOW_S, "error", "the worker of gpu1 was killed", "gpu1")
    explained = why(
        "new", replace(died, text="before"), switch_of(FULL, Load("new")), died, replace(died, device="gpu0")
    )

    assert explained.since == (died,)


def test_without_a_record_it_says_so() -> None:
    assert parts(why("busy")) == (None, None)
