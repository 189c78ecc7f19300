"""How long a model's queue may get: in rows, in texts to be written, and in seconds that somebody would wait."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.core.forecast.run_costs import ran
from engine.core.models import Limits
from engine.core.names import ModelName
from engine.core.state import State
from engine.scheduler.admission import full
from engine.scheduler.board import UNBOUNDED, Patience, QueueBounds
from tests.core.boxes import box, with_resident
from tests.scheduler.scripted_world import World

TEN_ROWS = Patience(queue=QueueBounds(rows=10))


def a_ready() -> State:
    return with_resident(box({"a": 20, "b": 20}), "a", "gpu0")


def writing(state: State, model: ModelName, places: int = 2) -> State:
    """`model` writes texts, so many at once."""
    known = state.models[model]
    spec = replace(known.spec, task="generation", limits=Limits(max_batch=places))
    return replace(state, models={**state.models, model: replace(known, spec=spec)})


def taking(state: State, work: int, device_s: float) -> State:
    """Runs of `a` for so much work have been seen to take so long."""
    for _ in range(3):
        state = ran(state, "a", "gpu0", work, device_s)
    return state


def test_rows_beyond_the_bound_are_told_how_long_the_queue_is_and_when_to_ask_again() -> None:
    world = World(taking(a_ready(), 4, 3.0), patience=TEN_ROWS)
    taken = [world.ask("a", 4), world.ask("a", 4)]
    refused = world.ask("a", 4)

    assert list(world.granted) == taken
    assert world.denied[refused] == (
        "a is overloaded: 8 rows of 2 requests wait or run, this one has 4, and 10 are taken at once; "
        "ask again in about 2 s"
    )
    assert world.retry_after_s[refused] == 2.0  # 2 of 8 rows must have gone, which take 6 s


def test_who_asks_again_once_there_is_room_is_taken() -> None:
    world = World(a_ready(), patience=TEN_ROWS)
    first, refused = world.ask("a", 8), world.ask("a", 8)
    world.give_back(refused)
    world.give_back(first)

    assert world.ask("a", 8) in world.granted


def test_requests_that_wait_for_their_model_count_too_and_other_models_have_queues_of_their_own() -> None:
    world = World(a_ready(), patience=TEN_ROWS)
    waiting = world.ask("b", 8)
    refused, other = world.ask("b", 8), world.ask("a", 8)

    assert refused in world.denied
    assert other in world.granted
    world.settle()
    assert waiting in world.granted


def test_a_request_alone_is_taken_however_large_and_one_that_is_too_large_is_told_to_come_in_parts() -> None:
    world = World(a_ready(), patience=TEN_ROWS)
    huge, small, next_huge = world.ask("a", 5000), world.ask("a", 1), world.ask("a", 5000)

    assert huge in world.granted
    assert small in world.denied
    assert "send it in parts" in world.denied[next_huge]
    assert "send it in parts" not in world.denied[small]


def test_texts_to_be_written_count_as_one_each_however_long_they_may_get() -> None:
    bounds = Patience(queue=QueueBounds(rows=10, generations=2))
    world = World(writing(a_ready(), "a"), patience=bounds)
    first, second, third = (world.ask("a", 4000) for _ in range(3))

    assert list(world.granted) == [first, second]
    assert world.denied[third].startswith("a is overloaded: 2 requests wait or run, and 2 are taken at once; ask again")


def test_a_short_request_waits_for_no_more_of_a_bulk_than_it_has_itself() -> None:
    bounds = Patience(queue=QueueBounds(wait_s=1.0))
    world = World(taking(a_ready(), 1000, 100.0), patience=bounds)
    world.ask("a", 1000)
    short, bulk = world.ask("a", 1), world.ask("a", 1000)

    assert short in world.granted
    assert "2 requests before this one would keep it waiting for about" in world.denied[bulk]
    assert "no more than 1 s are taken; ask again in about" in world.denied[bulk]


def test_texts_wait_for_nobody_as_long_as_there_are_places() -> None:
    bounds = Patience(queue=QueueBounds(wait_s=10.0))
    world = World(taking(writing(a_ready(), "a", places=2), 100, 30.0), patience=bounds)
    first, second, third = (world.ask("a", 100) for _ in range(3))

    assert list(world.granted) == [first, second]
    assert "about 30 s" in world.denied[third]
    assert world.retry_after_s[third] == 20.0


def test_two_copies_make_the_same_queue_half_as_long() -> None:
    bounds, ahead = QueueBounds(wait_s=20.0), Counter({4: 10})  # 30 s for one device
    one = taking(a_ready(), 4, 3.0)
    two = with_resident(one, "a", "gpu1")

    assert full(one, bounds, "a", 4, ahead) is not None
    assert full(two, bounds, "a", 4, ahead) is None
    texts, asked = QueueBounds(wait_s=10.0), Counter({4: 4})  # 3 s each, two or four of them at once
    assert full(writing(one, "a"), texts, "a", 4, Counter({4: 9})) is not None
    assert full(writing(two, "a"), texts, "a", 4, Counter({4: 9})) is None
    assert full(writing(two, "a", places=1), texts, "a", 4, asked) is None


def test_nobody_is_refused_by_a_guess() -> None:
    bounds = Patience(queue=QueueBounds(wait_s=0.001))
    world = World(a_ready(), patience=bounds)

    assert [world.ask("a", 50) for _ in range(4)] == list(world.granted)


def test_a_request_whose_worker_died_keeps_its_place_in_a_full_queue_and_is_no_new_demand() -> None:
    world = World(a_ready(), patience=TEN_ROWS)
    lost = world.ask("a", 8)
    world.kill_worker("gpu0")
    world.give_back(lost)
    newcomer, again = world.ask("a", 8), world.ask("a", 8, again=True)
    world.settle()

    assert {newcomer, again} <= set(world.granted)
    assert world.state.models["a"].demand.requests == 2


ASKED = st.lists(st.integers(0, 3000), max_size=30)


@given(ASKED, st.integers(0, 3000), st.integers(1, 20), st.floats(0.01, 1000), st.booleans())
def test_when_to_ask_again_is_a_time_to_wait_and_the_reason_is_given(
    ahead: list[int], work: int, most: int, device_s: float, texts: bool
) -> None:
    state = taking(a_ready(), 10, device_s)
    bounds = QueueBounds(rows=100 * most, generations=most, wait_s=60.0)
    refused = full(writing(state, "a") if texts else state, bounds, "a", work, Counter(ahead))

    if refused is not None:
        assert ahead
        assert 1 <= refused.retry_after_s <= 600
        assert refused.reason.startswith("a is overloaded: ")
    elif ahead and texts:
        assert len(ahead) < most
    elif ahead:
        assert sum(ahead) + work <= 100 * most


@given(ASKED, st.integers(0, 3000))
def test_without_bounds_everybody_is_taken(ahead: list[int], work: int) -> None:
    assert full(taking(a_ready(), 1, 100.0), UNBOUNDED, "a", work, Counter(ahead)) is None


@pytest.mark.parametrize("took_s", [0.5, 4.0])
def test_what_a_run_took_is_learned_when_its_lease_ends(took_s: float) -> None:
    world = World(a_ready())
    for _ in range(3):
        world.give_back(world.ask("a", 7), took_s)

    (rates,) = world.state.models["a"].run_rates.values()
    assert [(sample.size_bytes, sample.seconds) for sample in rates.samples] == [(7, took_s)] * 3


def test_a_run_that_came_to_nothing_teaches_nothing() -> None:
    world = World(a_ready())
    world.give_back(world.ask("a", 7))

    assert not world.state.models["a"].run_rates
