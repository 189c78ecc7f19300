"""What a model can be asked, and what comes back, as it travels."""

from __future__ import annotations

from array import array
from sys import byteorder
from typing import Any, get_args

import msgspec
import pytest

from engine.core.tasks import (
    KIND_OF,
    Embed,
    Generate,
    Message,
    RunEvent,
    RunResult,
    Task,
    TaskKind,
    TextPart,
    Vectors,
    sample_task,
)

FIGURES = array("f", [0.6, 0.8, 1.0, 0.0])
if byteorder == "big":
    FIGURES.byteswap()
VECTORS = Vectors(2, FIGURES.tobytes())


def test_every_kind_in_the_catalog_has_a_task_and_every_task_a_kind() -> None:
    assert set(KIND_OF) == set(get_args(Task))
    assert set(KIND_OF.values()) == set(get_args(TaskKind))


@pytest.mark.parametrize("kind", get_args(TaskKind))
@pytest.mark.parametrize("work", [1, 5, 100])
def test_a_sample_asks_for_the_work_that_was_wanted_within_what_was_allowed(kind: TaskKind, work: int) -> None:
    task = sample_task(kind, str, work, most_rows=5, most_tokens=5)
    assert KIND_OF[type(task)] == kind
    assert task.work == min(work, 5)


def test_vectors_are_read_row_by_row() -> None:
    assert VECTORS.rows() == [[pytest.approx(0.6), pytest.approx(0.8)], [1.0, 0.0]]
    assert Vectors(384, b"").rows() == []


@pytest.mark.parametrize("event", [TextPart(3, "ché"), RunResult("m", "gpu0", VECTORS, 0.1, True)])
def test_what_a_run_says_travels_as_it_is(event: RunEvent) -> None:
    assert msgspec.json.decode(msgspec.json.encode(event), type=RunEvent) == event


@pytest.mark.parametrize("task", [Embed(("a", "")), Generate("a", 3)])
def test_a_task_travels_as_it_is(task: Task) -> None:
    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(task), type=Task) == task


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"max_tokens": 0}, "at least one token"),
        ({"temperature": float("inf")}, "temperature must be"),
        ({"top_p": float("nan")}, "top_p must be"),
        ({"seed": 1 << 64}, "seed must be"),
        ({"repetition_penalty": 1e-300}, "repetition_penalty must be from 0.000001 to 1000000"),
        ({"stop": ("a", "")}, "a stop string is empty"),
        ({"template": "rag"}, "a raw prompt has none"),
        ({"prompt": ()}, "at least one message"),
        ({"prompt": "caf\udce9"}, r"no UTF-8, at 'caf\\udce9'"),
        ({"prompt": (Message("user", "\ud800"),)}, "no UTF-8"),
        ({"stop": ("\udcff",)}, "no UTF-8"),
    ],
)
def test_a_request_that_can_t_be_meant_can_t_be_made_or_sent(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Generate(**({"prompt": "a"} | wrong))


def test_tokens_are_drawn_where_a_setting_of_drawing_is_asked_for() -> None:
    assert not Generate("a", seed=1, repetition_penalty=2.0).draws
    assert not Generate("a", sample=True, temperature=0.0, top_p=0.5).draws
    assert all(Generate("a", **asked).draws for asked in ({"sample": True}, {"top_k": 0}, {"min_p": 0.0}))
