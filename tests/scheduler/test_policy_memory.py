"""Policies that remember: the scheduler tells the one in force of each request, and of each model that leaves."""

from __future__ import annotations

import pytest

from engine.core.policy import Eviction, Policy
from tests.core.boxes import box
from tests.scheduler.scripted_world import World

ONCE = "bcdefghijklm"


def after_a_favourite_and_then_others(eviction: Eviction) -> World:
    """`a` is asked for three times and then no more; each of many others once. There is room for two."""
    world = World(box(dict.fromkeys("a" + ONCE, 30), {"gpu0": 100}, max_models=20), Policy(eviction))
    for model in "a" * 3 + ONCE:
        lease = world.ask(model)
        world.settle()
        world.give_back(lease)
        world.pass_time(5.0)
        world.settle()
    return world


@pytest.mark.parametrize(("eviction", "still_there"), [("lfu", True), ("gdsf", False)])
def test_gdsf_forgets_in_the_end_what_was_asked_for_often_and_lfu_never(eviction: Eviction, still_there: bool) -> None:
    world = after_a_favourite_and_then_others(eviction)

    assert ("a" in world.where()) is still_there
    assert len(world.where()) == 2
