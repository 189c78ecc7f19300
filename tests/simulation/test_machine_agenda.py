"""Events to come: in order of time, then of entry."""

from __future__ import annotations

import math

from engine.simulation.machine import Agenda


def test_events_come_in_order_of_time_and_those_of_one_instant_in_the_order_of_their_entry() -> None:
    agenda: Agenda[str] = Agenda()
    for at_s, event in [(2.0, "late"), (1.0, "first"), (1.0, "second"), (0.5, "early")]:
        agenda.put(at_s, event)

    assert [(agenda.next_s, agenda.take()) for _ in range(4)] == [
        (0.5, "early"),
        (1.0, "first"),
        (1.0, "second"),
        (2.0, "late"),
    ]
    assert agenda.next_s == math.inf


def test_what_is_forgotten_does_not_happen() -> None:
    agenda: Agenda[str] = Agenda()
    for at_s, event in [(3.0, "keep later"), (1.0, "drop"), (2.0, "keep")]:
        agenda.put(at_s, event)

    agenda.forget(lambda event: event == "drop")

    assert [agenda.take(), agenda.take()] == ["keep", "keep later"]
