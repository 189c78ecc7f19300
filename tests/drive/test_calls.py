"""Who plays whom, and what a trace's request becomes."""

from __future__ import annotations

import pytest

from engine.core.models import Limits, ModelSpec
from engine.core.tasks import Embed, Generate
from engine.drive.calls import MOST_TOKENS, Cast, by_rank, calls, in_turn, read_cast
from engine.recording.trace import TraceError, TraceRequest

SPECS = {
    "small": ModelSpec("small", (), "embedding", limits=Limits(max_batch=4)),
    "writer": ModelSpec("writer", (), "generation", limits=Limits(max_batch=1, max_sequence=24)),
}


def requests(models: str, works: tuple[float, ...] = ()) -> list[TraceRequest]:
    """One a second for each letter."""
    return [TraceRequest(10.0 + at_s, m, works[at_s] if works else 1.0) for at_s, m in enumerate(models)]


def test_the_most_wanted_models_come_first_and_the_catalog_goes_round() -> None:
    assert in_turn(requests("abbcccd"), ["one", "two"]).parts == {"c": "one", "b": "two", "a": "one", "d": "two"}


def test_by_rank_each_plays_one_and_who_nobody_plays_is_named() -> None:
    cast = by_rank(requests("abbcccd"), ["one", "two"])
    assert (cast.parts, cast.left_out) == ({"c": "one", "b": "two"}, ("a", "d"))


def test_a_table_says_who_plays_whom() -> None:
    cast = read_cast(["trace,model", "a, one", "", "z,two"], requests("abba"), ["one", "two"])
    assert (cast.parts, cast.left_out) == ({"a": "one"}, ("b",))


@pytest.mark.parametrize(
    ("line", "said"),
    [("a", "line 1: 'a' is not a trace's model"), ("a,three", "'three' can't be loaded here"), ("z,one", "no model")],
)
def test_a_table_that_makes_no_sense_is_refused(line: str, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        read_cast([line], requests("ab"), ["one", "two"])


def test_without_a_loadable_model_nothing_is_cast() -> None:
    with pytest.raises(TraceError, match="no model of the catalog can be loaded"):
        in_turn(requests("a"), [])


def test_calls_keep_the_order_and_the_pauses_at_the_speed_asked_for() -> None:
    made = calls(requests("aab"), Cast({"a": "small", "b": "small"}), SPECS, speed=4.0, limit=None)
    assert [call.due_s for call in made] == [0.0, 0.25, 0.5]


def test_only_the_first_requests_that_somebody_plays_are_made() -> None:
    made = calls(requests("abab"), Cast({"b": "small"}), SPECS, speed=1.0, limit=1)
    assert [(call.due_s, call.model) for call in made] == [(0.0, "small")]
    assert calls(requests("aa"), Cast({"b": "small"}), SPECS, speed=1.0, limit=None) == ()


def test_work_becomes_texts_or_tokens_as_many_as_the_model_takes() -> None:
    cast = Cast({"a": "small", "b": "writer"})
    made = calls(requests("aabb", (0.2, 300.0, 5.0, 300.0)), cast, SPECS, speed=1.0, limit=None)
    assert [call.task.work for call in made] == [1, 4, 5, min(12, MOST_TOKENS)]
    assert [type(call.task) for call in made] == [Embed, Embed, Generate, Generate]


def test_the_same_requests_always_say_the_same() -> None:
    cast = Cast({"a": "small", "b": "writer"})
    once, again = (calls(requests("abab"), cast, SPECS, speed=1.0, limit=None) for _ in range(2))
    assert once == again
    assert once[0].task != once[2].task
