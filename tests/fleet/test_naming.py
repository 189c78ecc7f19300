"""Devices as the fleet calls them, and as their boxes do."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from engine.api import Answer, JobView
from engine.core.commands import Batch, Command, Evict, Load, Move, SetPin
from engine.core.insight.request_figures import RequestUnderWay
from engine.core.plans import EvictStep, LoadStep, Plan, Refusal, Room
from engine.core.prediction import Rates
from engine.core.proposals import Proposal, Wish
from engine.core.records import Notice, Record
from engine.core.state import Change
from engine.core.tasks import Continuation, RunEvent, RunResult
from fleet.naming import effects_within, on, record_on, within

PLAN = Plan(
    Load("m", "gpu0"),
    (EvictStep("x", "gpu0", 1, stays=("gpu1", "cpu")), LoadStep("m", "gpu0", 3, "ram")),
    ("gpu0 has room; the CPU of my-gpu0 and gpu10 have not",),
    rooms=(Room("gpu1", 2, 1, "cpu is full"),),
)


def test_a_plan_is_in_the_fleets_names_from_its_command_to_its_words() -> None:
    named = on("box2", PLAN)
    assert named.effects == "evict x from box2/gpu0; load m on box2/gpu0"
    assert named.steps[0] == EvictStep("x", "box2/gpu0", 1, stays=("box2/gpu1", "box2/cpu"))
    assert named.command == Load("m", "box2/gpu0")
    assert named.reasons == ("box2/gpu0 has room; the CPU of my-gpu0 and box2/gpu10 have not",)
    assert named.rooms == (Room("box2/gpu1", 2, 1, "box2/cpu is full"),)


@pytest.mark.parametrize(
    "said",
    [PLAN, Move("m", "gpu1"), Batch("free gpu0", (Evict("m", "gpu0"), SetPin("m"))), Refusal(Load("m"), "no gpu0")],
)
def test_what_is_asked_of_a_box_is_what_it_would_have_said(said: Any) -> None:  # noqa: ANN401
    assert within("box2", on("box2", said)) == said


def test_effects_are_said_as_the_box_says_them() -> None:
    assert effects_within("box2", on("box2", PLAN).effects) == PLAN.effects
    assert effects_within("box2", "load m on box22/gpu0") == "load m on box22/gpu0"


def test_devices_of_other_boxes_keep_their_name() -> None:
    assert within("box2", Load("m", "box1/gpu0")) == Load("m", "box1/gpu0")


def test_what_a_model_wrote_is_nobodys_to_change() -> None:
    ran = RunResult("m", "gpu0", Continuation("use gpu0 then", 3), 1.0)
    assert on("box2", ran) == RunResult("m", "box2/gpu0", Continuation("use gpu0 then", 3), 1.0)


def test_a_notice_says_whose_it_is() -> None:
    of_device = record_on("box2", Record(1, Notice(1.0, "error", "gpu0 is lost", "gpu0")))
    of_box = record_on("box2", Record(2, Notice(1.0, "error", "the disk is full", condition="disk")))
    assert of_device.entry == Notice(1.0, "error", "box2/gpu0 is lost", "box2/gpu0")
    assert of_box.entry == Notice(1.0, "error", "box2: the disk is full", condition="box2: disk")


_SAID = (Answer, Command, Wish, Proposal, Plan, Refusal, JobView, Change, RequestUnderWay, RunEvent, Record)
_KNOWN = {"device", "stays", "source", "target", "preferred_device", "residents", "pins"}
"""The last two are those of a record of earlier versions, which is named by itself."""


def _structs(kind: Any, seen: set[Any]) -> Iterator[type[msgspec.Struct]]:  # noqa: ANN401
    """All that may be part of a value of that type."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind not in seen:
            seen.add(kind)
            yield kind
            for hint in typing.get_type_hints(kind).values():
                yield from _structs(hint, seen)
    else:
        for part in get_args(kind):
            yield from _structs(part, seen)


def test_no_struct_that_a_box_says_names_a_device_in_another_field() -> None:
    """`DeviceId` is only a name for text: the sources tell where it stands."""
    seen: set[Any] = {Rates}
    for kind in [struct for said in _SAID for struct in _structs(said, seen)]:
        named = {name for name, hint in kind.__annotations__.items() if "DeviceId" in str(hint)}
        assert named <= _KNOWN, kind
