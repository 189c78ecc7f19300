"""Measuring through the engine's API: what is switched how often, and what is left out and why."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.bench.measuring import Bench, Protocol
from engine.bench.records import FromTier, Omission, Series, Subject
from engine.core.commands import Load, Submission
from engine.core.models import Pin
from engine.core.state import Slab
from tests.scripted import ScriptedEngine


def bench(engine: ScriptedEngine, *may_leave: str, repeats: int = 2, warm_up: int = 1) -> Bench:
    return Bench(engine, Protocol(repeats, warm_up), may_leave, lambda _: None)


def subject(model: str, device: str = "gpu0", tier: FromTier = "ram") -> Subject:
    return Subject(model, device, tier)


def deeds(engine: ScriptedEngine) -> list[tuple[str, str]]:
    return [(str(s.command.__struct_config__.tag), s.command.model) for s in engine.submissions]


async def test_a_repeat_is_an_eviction_and_a_load_as_the_engine_timed_them() -> None:
    found = await bench(ScriptedEngine()).measure(subject("bge-base"))
    assert isinstance(found, Series)
    assert [repeat.switch_s for repeat in found.repeats] == pytest.approx([0.4, 0.4])
    assert found.repeats[0].load_phases.copy == 0.15
    assert found.repeats[0].efficiency == pytest.approx(0.75)
    assert found.synthetic


async def test_the_warm_up_is_switched_but_not_kept() -> None:
    engine = ScriptedEngine()
    found = await bench(engine, repeats=3, warm_up=2).measure(subject("e5-small"))
    assert isinstance(found, Series)
    assert len(found.repeats) == 3
    assert deeds(engine) == [
        ("load", "e5-small"),
        *[("evict", "e5-small"), ("load", "e5-small")] * 5,
        ("evict", "e5-small"),
    ]


async def test_a_model_that_nobody_agreed_to_evict_stays_and_the_subject_is_left_out() -> None:
    engine = ScriptedEngine()
    await engine.submit(Submission("1", Load("phi-3-mini", "gpu0")))
    found = await bench(engine).measure(subject("bge-base"))
    assert isinstance(found, Omission)
    assert "phi-3-mini would have to leave" in found.reason
    assert (await engine.snapshot()).state.find("phi-3-mini", "gpu0")


async def test_a_victim_that_was_agreed_to_makes_room() -> None:
    engine = ScriptedEngine()
    await engine.submit(Submission("1", Load("phi-3-mini", "gpu0")))
    assert isinstance(await bench(engine, "phi-3-mini").measure(subject("bge-base")), Series)


async def test_what_the_engine_refuses_is_left_out_with_its_reason() -> None:
    engine = ScriptedEngine()
    await engine.submit(Submission("1", Load("phi-3-mini", "gpu0")))
    state = (await engine.snapshot()).state
    pinned = replace(state.models["phi-3-mini"], pin=Pin())
    engine.set_state(replace(state, models=state.models | {"phi-3-mini": pinned}))
    found = await bench(engine, "phi-3-mini").measure(subject("bge-base"))
    assert found == Omission(subject("bge-base"), True, "no room for bge-base on gpu0")


async def test_a_load_that_breaks_leaves_its_subject_out() -> None:
    engine = ScriptedEngine()
    engine.fail_next("gpu0 ran out of memory")
    found = await bench(engine).measure(subject("bge-base"))
    assert isinstance(found, Omission)
    assert found.reason == "load bge-base: gpu0 ran out of memory"


async def test_figures_of_another_tier_are_not_taken_for_the_one_asked_for() -> None:
    found = await bench(ScriptedEngine()).measure(subject("bge-base", tier="disk"))
    assert isinstance(found, Omission)
    assert "started from ram" in found.reason
    assert "ram_tier.max_models" in found.reason


async def test_for_a_load_from_disk_other_models_crowd_it_out_of_the_ram_tier() -> None:
    engine = ScriptedEngine()
    state = (await engine.snapshot()).state
    kept = Slab("e5-small", 128 << 20, "kept", 0.0)
    engine.set_state(replace(state, ram=replace(state.ram, slabs=(kept,))))
    await bench(engine, repeats=1, warm_up=0).measure(subject("e5-small", tier="disk"))
    loaded = [model for verb, model in deeds(engine) if verb == "load"]
    assert loaded == ["e5-small", "all-MiniLM-L6-v2", "bge-base", "phi-3-mini", "e5-small"]
