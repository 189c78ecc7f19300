"""Whatever the boxes said, in any order: a choice is made, of boxes that may take it, and it costs nothing that grows with the
fleet."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from engine.core.names import BoxName, ModelName
from fleet.core.choose import Ask, Ready, choose
from fleet.core.view import Copy, Digest, FleetView, Member, Rule, Rules
from tests.fleet.core.views import GIB, MODELS

BOXES = [f"b{n}" for n in range(8)]
SOME_MODELS = ["m1", "m2", "m3"]
boxes = st.sampled_from(BOXES)
models = st.sampled_from(SOME_MODELS)
some_boxes = st.lists(boxes, unique=True, max_size=8).map(tuple)
seconds = st.floats(0.0, 10.0)
members = st.builds(
    Member,
    st.integers(0, 48).map(lambda gib: gib * GIB),
    st.frozensets(models),
    st.booleans(),
    st.booleans(),
)
copies = st.builds(Copy, models, st.sampled_from(["gpu0", "gpu1", "cpu"]), seconds, seconds, seconds, seconds)
digests = st.builds(Digest, st.lists(copies, unique_by=lambda c: (c.model, c.device)).map(tuple), st.frozensets(models))
rules = st.builds(
    Rules, some_boxes, st.dictionaries(models, st.builds(Rule, st.none() | some_boxes, st.none() | some_boxes))
)
joined = st.tuples(st.just("join"), st.dictionaries(boxes, members))
heard = st.tuples(st.just("heard"), boxes, digests)
sent = st.tuples(st.just("sent"), boxes, models)
begun = st.tuples(st.just("begun"), boxes, copies)


def told(view: FleetView, events: list[tuple[object, ...]]) -> dict[BoxName, Member]:
    """`view` after `events`, a second apart; who is in the fleet then."""
    members: dict[BoxName, Member] = {}
    for now_s, event in enumerate(events):
        match event:
            case ("join", dict(new)):
                view.join(members := new)
            case ("heard", str(box), Digest() as digest):
                view.heard(box, digest, now_s - 0.5)
            case ("sent", str(box), str(model)):
                view.sent(box, model, "gpu0", now_s)
            case ("begun", str(box), Copy() as copy):
                view.begun(box, copy, now_s)
    return members


@given(rules, st.lists(joined | heard | sent | begun, max_size=25), models, some_boxes, st.integers(0, 99))
def test_a_choice_is_of_open_boxes_that_may_take_it_and_at_most_five(
    rules: Rules, events: list[tuple[object, ...]], model: ModelName, without: tuple[BoxName, ...], seed: int
) -> None:
    view = FleetView(rules)
    members = told(view, events)
    only = rules.models.get(model, Rule()).only

    choice = choose(view, model, Random(seed), float(len(events)), frozenset(without))

    found = [choice.box] if isinstance(choice, Ready) else [box for boxes in choice.rounds for box in boxes]
    assert len(found) == len(set(found)) <= 5
    assert all(members[box].is_ready and box not in without and (only is None or box in only) for box in found)
    if isinstance(choice, Ask):
        assert all(choice.rounds)
        may = [b for b, m in members.items() if m.is_open and model in m.models and b not in without]
        may = [box for box in may if only is None or box in only]
        assert set(found) <= set(may)
        assert bool(found) == bool(may), "whoever may hold it is found"


@given(st.lists(joined | heard | sent | begun, max_size=25))
def test_a_view_has_what_the_open_boxes_said_last(events: list[tuple[object, ...]]) -> None:
    view = FleetView()
    members = told(view, events)
    again = FleetView()
    again.join({box: members[box] for box in members})
    for box in members:
        again.heard(box, _last_digest(events, box), 0.0)

    for model in SOME_MODELS:
        assert sorted(view.with_slab(model)) == sorted(again.with_slab(model))
        told_of = {(place.box, place.device) for place in again.copies(model)}
        begun_or_told = {(place.box, place.device) for place in view.copies(model)}
        assert told_of <= begun_or_told


def _last_digest(events: list[tuple[object, ...]], box: BoxName) -> Digest:
    """What the box said last since it is in the fleet."""
    last, is_member = Digest(), False
    for event in events:
        match event:
            case ("join", dict(new)):
                is_member, last = box in new, last if box in new else Digest()
            case ("heard", str(who), Digest() as digest) if who == box and is_member:
                last = digest
    return last


class _Counting(FleetView):
    """Counts the questions that grow with whom they are asked about."""

    looks = 0

    def may_hold(self, box: BoxName, model: ModelName) -> bool:
        self.looks += 1
        return super().may_hold(box, model)


def test_a_choice_looks_at_as_many_boxes_in_a_large_fleet_as_in_a_small_one() -> None:
    looks = {}
    for count in (10, 3000):
        view = _Counting()
        view.join({f"b{n}": Member(GIB, MODELS) for n in range(count)})
        view.heard("b3", Digest((Copy("m1", "gpu0"), Copy("m2", "gpu0", 9.0)), frozenset({"m3"})), 0.0)
        for model in ("m1", "m2", "m3", "m4"):
            choose(view, model, Random(1), 0.0)
        looks[count] = view.looks

    assert looks[3000] <= looks[10] + 3 <= 40
