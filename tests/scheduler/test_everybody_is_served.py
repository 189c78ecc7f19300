"""Every request for a model that fits is granted in the end, in whatever order requests come, runs end and bytes move."""

from __future__ import annotations

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.policy import Policy
from engine.core.records import Switch
from engine.scheduler.board import Patience
from tests.core.boxes import box, with_slab
from tests.scheduler.scripted_world import World

MODELS: Final = {"a": 60, "b": 60, "c": 50, "d": 30}
"""A GPU has a budget of 80: of the first three it holds one at a time."""
RESIDENCIES: Final = st.sampled_from([0.0, 0.5, 2.0])
GPUS: Final = st.sampled_from([{"gpu0": 100}, {"gpu0": 100, "gpu1": 100}])
ACTIONS: Final = st.one_of(st.sampled_from(sorted(MODELS)), st.sampled_from(["perform", "end"]))
"""A request for a model, one effect performed, or the oldest run's end."""


class Demand:
    """Requests to a world that has all the patience it takes, and ends each run once it is told to."""

    def __init__(self, residency_s: float, gpus: dict[str, int]) -> None:
        policy = Policy(cpu_fallback=False, min_residency_s=residency_s)
        self.world = World(box(MODELS, gpus), policy, Patience(queue_s=1e9, in_use_s=1e9, drain_s=1e9))
        self.asked: list[int] = []
        self._ended: list[int] = []

    def act(self, action: str) -> None:
        if action == "perform":
            if self.world.waiting:
                self.world.perform(self.world.waiting[0])
        elif action == "end":
            self.end_oldest_run()
        else:
            self.asked.append(self.world.ask(action))

    def end_oldest_run(self) -> None:
        running = [lease for lease in self.world.granted if lease in self.asked and lease not in self._ended]
        if running:
            self._ended.append(running[0])
            self.world.give_back(running[0])

    def go_on(self) -> None:
        """Whatever was asked for happens, runs end and time passes, for so many turns as each request could take."""
        for _ in range(10 * len(self.asked) + 10):
            self.act("perform")
            self.end_oldest_run()
            if not self.world.waiting:
                self.world.pass_time(0.25)


@settings(max_examples=150, deadline=None)
@given(RESIDENCIES, GPUS, st.lists(ACTIONS, max_size=30))
def test_every_request_is_granted_in_any_order_of_arrival(
    residency_s: float, gpus: dict[str, int], actions: list[str]
) -> None:
    demand = Demand(residency_s, gpus)
    for action in actions:
        demand.act(action)
    demand.go_on()

    assert demand.world.denied == {}
    assert set(demand.world.granted) == set(demand.asked)


def test_two_models_without_a_minimum_residency_are_loaded_once_for_a_request_each() -> None:
    demand = Demand(0.0, {"gpu0": 100})
    demand.act("a")
    demand.act("b")
    demand.go_on()

    assert set(demand.world.granted) == set(demand.asked)
    assert [entry.plan.effects for entry in demand.world.written if isinstance(entry, Switch)] == [
        "load a on gpu0",
        "evict a from gpu0; load b on gpu0",
    ]


def test_all_who_wait_for_a_model_get_it_together_before_it_may_leave_for_another() -> None:
    state = with_slab(with_slab(box({"a": 60, "b": 60}, {"gpu0": 100}, cpu=1), "a"), "b")
    world = World(state, Policy(min_residency_s=0.0, cpu_fallback=False))
    of_a, of_b = [world.ask("a")], [world.ask("b")]
    for _ in range(5):
        of_a.append(world.ask("a"))
        of_b.append(world.ask("b"))
    world.settle()

    [first, second] = (of_a, of_b) if of_a[0] in world.granted else (of_b, of_a)
    assert set(world.granted) == set(first), "in the order of arrival there would have been eleven switches"
    for lease in first:
        assert not set(second) & set(world.granted)
        world.give_back(lease)
    world.settle()
    assert set(world.granted) == {*first, *second}
