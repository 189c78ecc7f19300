"""Models that displace each other again and again are told apart from a demand that merely changes."""

from __future__ import annotations

from engine.core.commands import Load, Origin
from engine.core.insight.thrash import Alarm, Displacement, displacements, find_thrash
from engine.core.plans import EvictStep, LoadStep, Plan
from engine.core.records import Phases, Switch
from engine.core.sizes import MIB
from tests.core.boxes import NOW_S, box, with_resident

STATE = box({"a": 50, "b": 40, "c": 30, "d": 20, "e": 10})


def displaced(text: str, device: str = "gpu0") -> list[Displacement]:
    """Ten seconds apart, the last one now: "ab" is a model a that comes for b."""
    pairs = text.split()
    return [Displacement(device, p[0], p[1], NOW_S - 10 * (len(pairs) - 1 - at)) for at, p in enumerate(pairs)]


def alarms(displaced: list[Displacement], now_s: float = NOW_S) -> list[Alarm]:
    return list(find_thrash(STATE, displaced, now_s))


def switch(origin: Origin) -> Switch:
    steps = (EvictStep("b", "gpu0", MIB), LoadStep("a", "gpu0", MIB, "ram"))
    return Switch("1", Plan(Load("a"), steps, ()), origin, NOW_S, 0.1, Phases())


def test_two_models_that_take_turns_are_an_alarm_with_its_cause() -> None:
    (alarm,) = alarms(displaced("ab ba ab ba ab ba"))

    assert alarm.text == (
        "a and b have displaced each other 6 times in 50 s on gpu0: together they need 90 MiB of 80 MiB; run one on the"
        " CPU, or pin the one that matters"
    )


def test_what_others_hold_is_not_room_for_them() -> None:
    state = with_resident(STATE, "d", "gpu0")

    assert find_thrash(state, displaced("ab ba ab ba"), NOW_S)[0].room_bytes == 60 * MIB


def test_a_ring_of_three_is_the_same_trouble() -> None:
    (alarm,) = alarms(displaced("ab bc ca ab bc ca"))

    assert (alarm.models, alarm.times) == (("a", "b", "c"), 6)


def test_a_ring_over_two_devices_is_found_too() -> None:
    turns = [
        Displacement(f"gpu{at % 2}", one.mover, one.victim, one.at_s)
        for at, one in enumerate(displaced("ab bc ca ab bc"))
    ]
    (alarm,) = alarms(turns)

    assert (alarm.devices, alarm.room_bytes) == (("gpu0", "gpu1"), 160 * MIB)


def test_two_pairs_that_have_nothing_to_do_with_each_other_are_two_alarms() -> None:
    apart = [*displaced("ab ba ab ba"), *displaced("cd dc cd dc", "gpu1")]

    assert [alarm.models for alarm in alarms(apart)] == [("a", "b"), ("c", "d")]


def test_models_that_leave_and_stay_away_are_none() -> None:
    assert alarms(displaced("ab bc cd de")) == [] == alarms(displaced("ab ac ad ae"))


def test_a_few_turns_or_turns_long_ago_are_none() -> None:
    assert alarms(displaced("ab ba ab")) == []
    assert alarms(displaced("ab ba ab ba"), NOW_S + 121) == []


def test_turns_before_the_clock_was_set_back_do_not_count_until_it_is_that_late_again() -> None:
    assert not alarms(displaced("ab ba ab ba ab ba"), NOW_S - 3600)


def test_what_a_person_asks_for_is_no_thrash() -> None:
    assert displacements(switch("operator")) == []
    assert displacements(switch("request")) == [Displacement("gpu0", "a", "b", NOW_S)]
