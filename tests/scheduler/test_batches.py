"""Batches as they are carried out, and undo against the truth: after any commands, what was before comes back or is refused."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api import Cancelled, Done, Failed
from engine.core.commands import Batch, Evict, Load, Move, SetPin
from engine.core.models import Pin
from engine.core.plans import Refusal
from engine.core.policy import Policy
from engine.core.proposals import Undo
from engine.core.proposing.propose import propose
from engine.core.records import Switch
from engine.scheduler.effects import BindModel, ReadSlab
from tests.core.boxes import NOW_S, box, with_resident
from tests.scheduler.scripted_world import World
from tests.scheduler.test_any_order import COMMANDS
from tests.scheduler.test_any_order import SIZES as ANY_SIZES

SIZES = {"a": 50, "b": 50, "c": 50, "tiny": 5}


def test_two_models_change_places_and_one_record_tells_of_it() -> None:
    world = World(with_resident(with_resident(box(SIZES), "a", "gpu0"), "b", "gpu1"))

    name = world.submit(Batch("rebalance", (Evict("a"), Move("b", "gpu0"), Load("a", "gpu1"))))
    world.settle()

    assert world.where() == {"b": "gpu0 ready", "a": "gpu1 ready"}
    answer = world.answers[name]
    assert isinstance(answer, Done)
    switches = [entry for entry in world.written if isinstance(entry, Switch)]
    assert [s.plan.effects for s in switches] == [answer.plan.effects]


def test_a_batch_that_breaks_half_way_brings_back_what_it_had_taken_off() -> None:
    world = World(with_resident(box(SIZES), "a", "gpu0"))

    name = world.submit(Batch("shuffle", (Evict("a"), Load("b", "gpu0"), Load("a", "gpu1"))))
    while world.find(BindModel) is None:
        world.perform(world.waiting[0])
    world.fail_bind("b", "the card is out of luck")
    world.settle()

    assert isinstance(world.answers[name], Failed)
    assert world.where() == {"a": "gpu0 ready"}


def test_a_batch_can_be_taken_back_while_it_runs() -> None:
    world = World(box(SIZES))

    name = world.submit(Batch("load 2 models", (Load("a"), Load("b"))))
    world.perform(world.expect(ReadSlab))
    world.withdraw(name)
    world.settle()

    assert isinstance(world.answers[name], Cancelled)
    assert "b" not in world.where()


def test_undo_takes_back_what_the_operator_did_and_is_no_change_itself() -> None:
    world = World(with_resident(box(SIZES, {"gpu0": 100}), "a", "gpu0"))
    world.submit(Load("b", "gpu0"))
    world.settle()

    assert undo(world)

    assert world.where() == {"a": "gpu0 ready"}
    assert world.state.changes == ()


def test_pins_that_changed_are_taken_back_too() -> None:
    world = World(box(SIZES))
    world.submit(SetPin("a"))

    assert undo(world)

    assert world.state.models["a"].pin is None


@settings(deadline=None, max_examples=150)
@given(st.lists(COMMANDS, min_size=1, max_size=5))
def test_after_any_commands_each_undo_restores_what_was_before_or_says_why_not(commands: list[object]) -> None:
    world = World(box(ANY_SIZES, cpu=150))
    before = {}
    for command in commands:
        seen, arranged = [change.id for change in world.state.changes], arrangement(world)
        world.submit(command)  # type: ignore[arg-type]  # hypothesis loses the union
        world.settle()
        newest = world.state.changes[-1:]
        if newest and newest[0].id not in seen:
            before[newest[0].id] = arranged

    while change := undo(world):
        assert arrangement(world) == before[change]


def undo(world: World) -> str | None:
    """Take the last change back: which one; None when that is refused, with a reason."""
    found = propose(world.state, Undo(), Policy(min_residency_s=0.0), NOW_S + world.now_s)
    if isinstance(found, Refusal):
        assert found.reason
        return None
    name = world.submit(found.command, confirmed=found.plan.effects)
    world.settle()
    answer = world.answers[name]
    assert isinstance(answer, Done), answer
    assert answer.plan.effects == found.plan.effects
    return found.command.undoes


def arrangement(world: World) -> tuple[dict[str, list[str]], dict[str, Pin]]:
    """Who is where, copies in any order, and who is pinned."""
    where = {model: sorted(places.split(", ")) for model, places in world.where().items()}
    return where, {name: known.pin for name, known in world.state.models.items() if known.pin is not None}
