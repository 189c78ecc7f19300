"""Names that differ at their ends alone stay apart wherever there is too little room for them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.screens.palette import Palette
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.log import log_lines
from citadel_tui.viewmodel.pages.plan import step_lines
from citadel_tui.viewmodel.pages.switch import waterfall
from citadel_tui.viewmodel.pages.tier import tier_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.spans import Line
from citadel_tui.words.plans import plan_words
from engine.core.commands import Evict, Load
from engine.core.plans import EvictStep, LoadStep, Plan
from engine.core.prediction import Prediction
from engine.core.records import Phases, Record
from engine.core.sizes import MIB
from engine.core.state import Slab
from tests.scripted_plans import START_S
from tests.tui.busy_engines import busy_engine, small_model
from tests.tui.consoles import open_console
from tests.viewmodel.test_rows_and_figures import switch
from tests.viewmodel.test_tier_and_model_pages import busy_scene

OLD, NEW = ("a-model-whose-name-is-as-long-as-a-catalog-lets-it-be-" + end for end in ("v1-final", "v2-final"))
SWAP = Plan(Load(NEW), (EvictStep(OLD, "gpu0", MIB), LoadStep(NEW, "gpu0", MIB, "ram", Prediction(0.2, 0.3))), ())
TAKEN_OFF = Plan(Evict(OLD), (EvictStep(OLD, "gpu1", MIB, victim=False),), ())


def texts(lines: tuple[Line, ...]) -> list[str]:
    return ["".join(span.text for span in line) for line in lines]


@pytest.mark.parametrize("width", [60, 80, 100, 160, 300])
def test_the_log_says_who_came_where_and_who_left(width: int) -> None:
    records = (
        Record(1, replace(switch(0.4, copy=0.3), plan=SWAP)),
        Record(2, replace(switch(0.4, copy=0.3), plan=TAKEN_OFF)),
        Record(3, replace(switch(0.4, copy=0.3), plan=SWAP, outcome="failed", reason="the card was lost")),
    )
    lines = texts(tuple(log_lines(records, Paper(width, UNICODE)).values()))
    failed, off, came = lines
    assert "v2-f" not in off
    for line in (failed, came):
        before, _, after = line.partition(" → gpu0 × ")
        assert before.endswith("nal" if width < 160 else "v2-final")
        assert after.split()[0].endswith("nal" if width < 160 else "v1-final")
    assert " from gpu1 " in off
    assert "failed: " in failed


def test_a_preview_says_which_of_two_leaves() -> None:
    leaves, loads = (line for line in texts(step_lines(plan_words(SWAP, str), Paper(60, UNICODE))) if "gpu0" in line)
    assert "v1-final" in leaves
    assert "v2-final" in loads


async def test_the_tier_keeps_its_figures_beside_a_long_name() -> None:
    scene = await busy_scene(Slab("bge-base", 418 * MIB, "kept", START_S))
    assert scene.snapshot
    state = scene.snapshot.state
    slabs = (Slab(OLD, 418 * MIB, "kept", START_S),)
    there = replace(state, models={**state.models, OLD: small_model(OLD)}, ram=replace(state.ram, slabs=slabs))
    lines = texts(tier_lines(replace(scene, snapshot=replace(scene.snapshot, state=there)), Paper(60, UNICODE)))
    (row,) = (line for line in lines if "1. " in line)
    assert "v1-final    418  used 1 min ago" in row


async def test_the_palette_says_on_which_device_each_command_would_act() -> None:
    engine = await busy_engine()
    models = {**engine.state.models, OLD: small_model(OLD)}
    engine.set_state(replace(engine.state, models=models))
    async with open_console(engine) as console:
        await console.press("colon", *"load v1-final")
        await console.sees("v1-final on gpu0")
        assert isinstance(console.app.screen, Palette)
        await console.sees("v1-final on gpu1")


def test_a_phase_of_hundreds_of_milliseconds_stands_apart_from_its_name() -> None:
    (line,) = texts(waterfall(Phases(prepare=0.716), Paper(68, UNICODE)))
    assert line.startswith(" prepare 716.0 ms  █")
