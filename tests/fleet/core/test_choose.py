"""Which box a request goes to, and whose bid is taken."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from engine.core.commands import Load
from engine.core.plans import EvictStep, LoadStep, Plan
from engine.core.prediction import Prediction
from fleet.core.choose import Ask, Bid, Choice, Ready, bid_of, cheapest, choose, enough, price, submission_id
from fleet.core.view import Digest, FleetView, Member, Rule, Rules
from tests.fleet.core.views import GIB, MODELS, copy, view_of


def chosen(view: FleetView, model: str = "m1", now_s: float = 0.0, without: str = "") -> Choice:
    return choose(view, model, Random(1), now_s, frozenset(without.split()))


def asked(choice: Choice) -> list[str]:
    assert isinstance(choice, Ask), choice
    return [box for boxes in choice.rounds for box in boxes]


def bid(box: str, load_s: float = 1.0, loss_s: float = 0.0, wait_s: float = 0.0) -> Bid:
    return Bid(box, "gpu0", wait_s, load_s, loss_s)


def test_a_ready_copy_is_taken() -> None:
    view = view_of("a", "b", "c")
    view.heard("b", Digest((copy("m1", "gpu1", wait_s=0.3),)), 0.0)

    assert chosen(view) == Ready("b", "gpu1", 0.3)


def test_of_two_copies_the_one_that_answers_first_is_taken_each_time() -> None:
    view = view_of("a", "b", "c")
    view.heard("a", Digest((copy("m1", wait_s=0.3),)), 0.0)
    view.heard("c", Digest((copy("m1", wait_s=0.2),)), 0.0)

    assert {choose(view, "m1", Random(seed), 0.0) for seed in range(20)} == {Ready("c", "gpu0", 0.2)}


def test_a_slower_box_is_taken_only_when_it_answers_first_all_the_same() -> None:
    view = view_of("fast", "slow")
    view.heard("fast", Digest((copy("m1", wait_s=0.2),)), 0.0)
    view.heard("slow", Digest((replace(copy("m1"), service_s=0.5),)), 0.0)

    assert chosen(view) == Ready("fast", "gpu0", 0.2)


def test_of_many_copies_two_at_random_are_compared() -> None:
    view = view_of(*"abcdefgh")
    for box in "abcdefgh":
        view.heard(box, Digest((copy("m1", wait_s=0.005 * ord(box)),)), -1.0)
    taken = [choose(view, "m1", Random(seed), -1.0) for seed in range(300)]

    boxes = {choice.box for choice in taken if isinstance(choice, Ready)}
    assert boxes == {*"abcdefg"}, "the longest queue is never the shorter one"


def test_without_a_copy_the_box_with_the_slab_is_asked_first_and_then_the_homes() -> None:
    view = view_of(*"abcdefghij")
    homes = view.homes("m1")
    elsewhere = next(box for box in "abcdefghij" if box not in homes)
    view.heard(elsewhere, Digest(slabs=frozenset({"m1"})), 0.0)

    assert chosen(view) == Ask(((elsewhere,), homes))


def test_without_copy_and_slab_the_three_homes_are_asked() -> None:
    view = view_of(*"abcdefghij")

    assert chosen(view) == Ask((view.homes("m1"),))
    assert len(view.homes("m1")) == 3


def test_copies_that_are_behind_have_strangers_asked_too() -> None:
    view = view_of(*(f"b{n}" for n in range(100)))
    view.heard("b1", Digest((copy("m1", wait_s=0.9),)), 0.0)
    choice = chosen(view)

    assert isinstance(choice, Ask)
    assert choice.instead == Ready("b1", "gpu0", 0.9)
    assert len(asked(choice)) == 5
    assert asked(choice)[:3] == [*view.homes("m1")]


@pytest.mark.parametrize(("wait_s", "is_behind"), [(0.8, False), (0.81, True)])
def test_a_copy_is_behind_when_more_than_a_load_and_eight_requests_wait(wait_s: float, is_behind: bool) -> None:
    view = view_of("a", "b")
    view.heard("a", Digest((copy("m1", wait_s=wait_s),)), 0.0)

    assert isinstance(chosen(view), Ask) == is_behind


def test_a_long_load_is_what_one_more_copy_would_take_as_well() -> None:
    view = view_of("a", "b")
    view.heard("a", Digest((replace(copy("m1", wait_s=3.0), load_s=4.0),)), 0.0)

    assert chosen(view) == Ready("a", "gpu0", 3.0)


def test_a_load_under_way_is_joined_however_long_it_takes() -> None:
    view = view_of("a", "b")
    view.heard("a", Digest((copy("m1", loading_s=9.0),)), 0.0)

    assert chosen(view, now_s=1.0) == Ready("a", "gpu0", 8.0)


def test_a_load_that_was_begun_is_joined_before_its_box_says_so() -> None:
    view = view_of("a", "b")
    view.begun("b", copy("m1", loading_s=2.0), 10.0)
    view.heard("b", Digest(), 9.5)

    assert chosen(view, now_s=11.0) == Ready("b", "gpu0", 1.0)
    view.heard("b", Digest(), 10.5)
    assert isinstance(chosen(view, now_s=11.0), Ask), "the box has not taken it"


def test_what_was_sent_counts_until_the_box_knows_of_it() -> None:
    view = view_of("a")
    view.heard("a", Digest((copy("m1"),)), 10.0)
    for _ in range(3):
        view.sent("a", "m1", "gpu0", 10.2)
    view.heard("a", Digest((copy("m1", wait_s=0.05),)), 10.15)

    assert view.copies("m1")[0].queue_s(10.2) == pytest.approx(0.3)
    view.heard("a", Digest((copy("m1", wait_s=0.25),)), 10.25)
    assert view.copies("m1")[0].queue_s(10.25) == pytest.approx(0.25)


def test_a_box_that_just_failed_is_left_out() -> None:
    view = view_of("a", "b", "c")
    view.heard("a", Digest((copy("m1"),), frozenset({"m1"})), 0.0)

    assert chosen(view) == Ready("a", "gpu0")
    assert sorted(asked(chosen(view, without="a"))) == ["b", "c"]
    assert chosen(view, without="a b c") == Ask(())


def test_a_closed_box_is_left_out_with_all_that_it_has_and_comes_back_with_it() -> None:
    view = view_of("a", "b")
    view.heard("a", Digest((copy("m1"),), frozenset({"m2"})), 0.0)
    members = {box: Member(8 * GIB, MODELS) for box in ("a", "b")}

    view.join({**members, "a": replace(members["a"], is_ready=False)})
    view.heard("a", Digest((copy("m1"), copy("m3")), frozenset({"m2"})), 1.0)
    assert [asked(chosen(view, model)) for model in ("m1", "m2", "m3")] == [["b"]] * 3
    view.join(members)
    assert [chosen(view, model, now_s=1.0) for model in ("m1", "m3")] == [Ready("a", "gpu0")] * 2
    assert chosen(view, "m2") == Ask((("a",), ("b",)))


def test_a_drained_box_answers_until_a_copy_elsewhere_is_ready_and_is_asked_for_nothing() -> None:
    view = view_of("a", "b")
    view.heard("a", Digest((copy("m1"), copy("m2", wait_s=0.9)), frozenset({"m3"})), 0.0)
    view.join({"a": Member(8 * GIB, MODELS, is_drained=True), "b": Member(8 * GIB, MODELS)})

    assert chosen(view) == Ready("a", "gpu0")
    assert asked(chosen(view, "m2")) == asked(chosen(view, "m3")) == ["b"]
    view.heard("b", Digest((copy("m1", loading_s=2.0),)), 0.0)
    assert {choose(view, "m1", Random(seed), 9.0) for seed in range(20)} == {Ready("a", "gpu0")}, "it takes long"
    view.heard("b", Digest((copy("m1", wait_s=0.25),)), 2.0)
    assert {choose(view, "m1", Random(seed), 2.0) for seed in range(20)} == {Ready("b", "gpu0", 0.25)}
    assert chosen(view, now_s=2.0, without="b") == Ready("a", "gpu0")


def test_what_a_box_that_left_the_fleet_had_is_forgotten() -> None:
    view = view_of("a", "b")
    view.heard("a", Digest((copy("m1"),)), 0.0)
    view.join({"b": Member(8 * GIB, MODELS)})
    view.heard("a", Digest((copy("m1"),)), 1.0)
    view.join({box: Member(8 * GIB, MODELS) for box in ("a", "b")})

    assert isinstance(chosen(view), Ask)


def test_a_model_goes_only_where_the_operator_lets_it() -> None:
    view = view_of(*"abcd", rules=Rules(models={"m1": Rule(only=("c",))}))
    assert asked(chosen(view)) == ["c"]

    view.heard("a", Digest((copy("m1"),), frozenset({"m1"})), 0.0)
    assert asked(chosen(view)) == ["c"], "though another has it still"
    view.heard("c", Digest((copy("m1"),)), 0.0)
    assert chosen(view) == Ready("c", "gpu0")


def test_a_model_goes_only_where_the_catalog_has_it() -> None:
    view = view_of(*"abcd")
    view.join({box: Member(8 * GIB, MODELS | ({"rare"} if box == "d" else set())) for box in "abcd"})

    assert asked(chosen(view, "rare")) == ["d"]
    assert chosen(view, "unheard of") == Ask(())


def test_a_preferred_box_is_passed_over_only_when_it_is_behind_or_away() -> None:
    view = view_of(*"abc", rules=Rules(order=("b",)))
    for box, wait_s in (("a", 0.0), ("b", 0.7), ("c", 0.0)):
        view.heard(box, Digest((copy("m1", wait_s=wait_s),)), 0.0)
    assert chosen(view) == Ready("b", "gpu0", 0.7)

    view.heard("b", Digest((copy("m1", wait_s=0.9),)), 0.0)
    assert chosen(view) in (Ready("a", "gpu0"), Ready("c", "gpu0"))
    view.heard("b", Digest((copy("m1"),)), 0.0)
    assert chosen(view, without="b") in (Ready("a", "gpu0"), Ready("c", "gpu0"))


def test_preferred_boxes_are_asked_first_and_win_whatever_they_bid() -> None:
    rules = Rules(order=("a",), models={"m1": Rule(order=("i", "h"))})
    view = view_of(*"abcdefghi", rules=rules)
    view.heard("g", Digest(slabs=frozenset({"m1"})), 0.0)
    choice = chosen(view)

    assert isinstance(choice, Ask)
    assert len(choice.rounds) == 1
    assert asked(choice)[:3] == ["i", "h", "g"]
    assert [b.box for b in cheapest([bid("g", 0.1), bid("h", 5.0), bid("i", 9.0)], choice)] == ["i", "h", "g"]


def test_the_cheapest_bid_is_of_wait_load_loss_and_transfer() -> None:
    bids = [bid("a", 1.0, wait_s=3.0), bid("b", 1.0, loss_s=2.0), bid("c", 2.5), replace(bid("d"), transfer_s=4.0)]

    assert [b.box for b in cheapest(bids, Ask(()))] == ["c", "b", "a", "d"]
    assert [price(b) for b in bids] == [4.0, 3.0, 2.5, 5.0]


def test_one_more_copy_may_cost_three_times_the_wait_for_those_that_are_behind() -> None:
    behind = Ask((), instead=Ready("a", "gpu0", 1.0))

    assert [b.box for b in cheapest([bid("b", 2.9), bid("c", 3.1)], behind)] == ["b"]


def test_the_box_with_the_slab_is_enough_unless_it_costs_as_much_as_a_reading_from_disk() -> None:
    assert enough(bid("a", load_s=0.5, loss_s=2.5))
    assert not enough(bid("a", load_s=0.5, loss_s=2.6))
    assert enough(Bid("a", None, 0.0, 0.0, 0.0)), "it has it already"


def test_a_bid_is_what_the_plan_says() -> None:
    seconds = Prediction(0.1, 0.2)
    victim = EvictStep("m2", "gpu1", 10, leases=1, predicted=seconds, loss_s=0.7, drain=Prediction(4.0, 5.0))
    load = LoadStep("m1", "gpu1", 10, "ram", predicted=seconds)
    plan = Plan(Load("m1"), (victim, load), ())

    assert bid_of("a", plan, 2.0) == Bid("a", "gpu1", 4.0, 0.2, 0.7, 2.0, plan.effects)
    assert bid_of("a", Plan(Load("m1"), (), (), joins=True)) == Bid("a", None, 0.0, 0.0, 0.0)


def test_who_asks_at_once_submits_under_one_id_and_who_asks_after_a_change_under_another() -> None:
    view = view_of("a", "b")
    first = submission_id(view, "m1")
    view.begun("a", copy("m2"), 0.0)
    assert submission_id(view, "m1") == first

    view.ended("m1")
    ended = submission_id(view, "m1")
    view.heard("a", Digest((copy("m1"),)), 1.0)
    come = submission_id(view, "m1")
    view.heard("a", Digest(), 2.0)
    assert len({first, ended, come, submission_id(view, "m1")}) == 4
