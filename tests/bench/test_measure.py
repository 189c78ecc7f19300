"""Measuring through the engine's API: what is switched how often, and what is left out and why."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.bench.measure import Bench, Progress, Schedule, Show, SlabFiles
from engine.bench.records import BenchSubject, FromTier, NotMeasured, Omission, Series
from engine.core.commands import Load, Submission, models_of
from engine.core.models import Pin
from engine.core.state import Slab
from tests.scripted_engine import ScriptedEngine


class NotedFiles:
    """Slab files of which only what was done to them is known."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []

    def warm(self, model: str) -> None:
        self.done.append(("warm", model))

    def drop(self, model: str) -> None:
        self.done.append(("drop", model))


def bench(
    engine: ScriptedEngine,
    *may_leave: str,
    repeats: int = 2,
    warm_up: int = 1,
    files: SlabFiles | None = None,
    show: Show = lambda _: None,
) -> Bench:
    return Bench(engine, Schedule(repeats, warm_up), may_leave, files or NotedFiles(), show)


def subject(model: str, device: str = "gpu0", tier: FromTier = "ram", leaving: str = "") -> BenchSubject:
    return BenchSubject(model, device, tier, leaving)


def deeds(engine: ScriptedEngine) -> list[tuple[str, str]]:
    commands = [submission.command for submission in engine.submissions]
    return [(str(command.__struct_config__.tag), models_of(command)[0]) for command in commands]


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
    files = NotedFiles()
    found = await bench(ScriptedEngine(), files=files).measure(subject("bge-base", tier="disk"))
    assert files.done == [("drop", "bge-base")]
    assert isinstance(found, Omission)
    assert "started from ram" in found.reason
    assert "ram_tier.budget" in found.reason


async def test_for_a_load_from_the_page_cache_other_models_crowd_it_out_of_the_ram_tier() -> None:
    engine = ScriptedEngine()
    state = (await engine.snapshot()).state
    kept = Slab("e5-small", 128 << 20, "kept", 0.0)
    engine.set_state(replace(state, ram=replace(state.ram, slabs=(kept,))))
    files = NotedFiles()
    await bench(engine, repeats=1, warm_up=0, files=files).measure(subject("e5-small", tier="page-cache"))
    assert files.done == [("warm", "e5-small")]
    loaded = [model for verb, model in deeds(engine) if verb == "load"]
    assert loaded == ["e5-small", "all-MiniLM-L6-v2", "bge-base", "phi-3-mini", "e5-small"]


async def test_on_a_resident_model_only_requests_are_measured() -> None:
    engine = ScriptedEngine()
    found = await bench(engine, repeats=3).measure(subject("phi-3-mini", tier="resident"))
    assert isinstance(found, Series)
    assert found.repeats == ()
    assert found.seconds == (0.01, 0.01, 0.01)
    assert deeds(engine) == [("load", "phi-3-mini"), ("evict", "phi-3-mini")]


async def test_a_model_that_could_not_be_measured_is_not_in_the_next_ones_way() -> None:
    engine = ScriptedEngine()
    found = await bench(engine).measure(subject("phi-3-mini", tier="disk"))
    assert isinstance(found, Omission)
    assert isinstance(await bench(engine).measure(subject("bge-base")), Series)


async def test_a_pair_is_the_one_out_and_the_other_in() -> None:
    engine = ScriptedEngine()
    pair = subject("e5-small", leaving="bge-base")
    found = await bench(engine, repeats=1, warm_up=0).measure(pair)
    assert isinstance(found, Series)
    assert found.subject == pair
    assert deeds(engine) == [
        ("load", "e5-small"),  # once, so that it is prepared
        *[("evict", "e5-small"), ("load", "bge-base")],
        *[("evict", "bge-base"), ("load", "e5-small")],  # this is measured
        ("evict", "e5-small"),
    ]


async def test_who_watches_sees_the_times_so_far() -> None:
    seen: list[Progress] = []
    await bench(ScriptedEngine(), repeats=2, warm_up=1, show=seen.append).measure(subject("e5-small"))
    assert [(now.turn, len(now.seconds)) for now in seen] == [("warming up", 0), ("1 of 2", 0), ("2 of 2", 1)]


async def test_a_file_that_the_kernel_keeps_leaves_its_subject_out() -> None:
    class KeptFiles(NotedFiles):
        def drop(self, model: str) -> None:
            raise NotMeasured("the kernel keeps 80% of its slab in memory")

    found = await bench(ScriptedEngine(), files=KeptFiles()).measure(subject("e5-small", tier="disk"))
    assert found == Omission(subject("e5-small", tier="disk"), True, "the kernel keeps 80% of its slab in memory")
