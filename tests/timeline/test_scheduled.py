"""The timeline of what the engine's own scheduler writes down: nothing but its records, no look at it."""

from __future__ import annotations

from citadel_tui.timeline.chronicle import Chronicle
from engine.core.commands import Evict, Load, Move
from engine.core.policy import Policy
from engine.core.records import Record
from tests.core.boxes import box
from tests.scheduler.scripted_world import World


def test_the_engines_records_alone_say_who_is_where() -> None:
    world = World(box({"a": 60, "b": 60, "c": 10}, {"gpu0": 100, "gpu1": 100}), Policy(min_residency_s=0.0))
    chronicle = Chronicle()
    told = 0
    steps = (
        lambda: world.submit(Load("a", "gpu0")),
        lambda: world.submit(Load("b", "gpu0")),
        lambda: world.submit(Load("c", "gpu0")),
        lambda: world.kill_worker("gpu0"),
        lambda: world.submit(Move("c", "gpu1")),
        lambda: world.submit(Evict("b")),
    )
    for step in steps:
        world.pass_time(10.0)
        step()
        world.settle()
        for seq, entry in enumerate(world.written[told:], told + 1):
            chronicle.record(Record(seq, entry))
        told = len(world.written)
        there = {(stay.model, stay.device) for stay in chronicle.stays if stay.ended_s is None}
        assert there == {(r.model, r.device) for r in world.state.residents}
    assert [stay.end for stay in chronicle.stays if stay.ended_s] == [
        "victim",
        "lost",
        "lost",
        "taken off",
        "taken off",
    ]
