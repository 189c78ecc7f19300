"""Several models at once: marks that stay on their models, and one previewed plan for all of them."""

from __future__ import annotations

from msgspec.structs import replace

from citadel_tui.actions import BY_ID, choices_of
from citadel_tui.viewmodel.scene import Scene
from citadel_tui.widgets.lists import ModelTable
from engine.core.commands import Batch, Evict, ForceCpu, LeaveCpu, Load, SetPin, Unpin
from tests.scripted_plans import START_S
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import Console, open_console


async def mark(console: Console, *models: str) -> None:
    for model in models:
        await console.select(model)
        await console.press("space")


def marked(console: Console) -> tuple[str, ...]:
    return console.app.screen_stack[0].query_one(ModelTable).marked


async def test_a_verb_acts_on_all_marked_models_through_one_previewed_plan() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await mark(console, "phi-3-mini", "e5-small")
        await console.sees("◆ 2 marked")
        await console.press("e")
        await console.sees("Evict 2 models?")
        assert console.text.index("leaves phi-3-mini") < console.text.index("leaves e5-small")
        await console.press("y")
        await console.until(lambda: engine.submissions[-1].command == Batch("evict 2 models", EVICTIONS))
        await console.sees("evict 2 models: done")


EVICTIONS = (Evict("phi-3-mini"), Evict("e5-small"))


async def test_nothing_happens_to_marked_models_without_the_operators_word() -> None:
    engine = await busy_engine()
    before = list(engine.submissions)
    async with open_console(engine) as console:
        await mark(console, "phi-3-mini", "bge-base")
        await console.press("p")
        await console.sees("Pin 2 models?")
        await console.press("enter")
        await console.until(lambda: "Pin 2 models?" not in console.text)
    assert engine.submissions == before


async def test_models_that_a_verb_can_not_be_done_for_are_left_out_and_counted() -> None:
    async with open_console(await busy_engine()) as console:
        await mark(console, "phi-3-mini", "e5-small", "bge-base")
        await console.press("e")
        await console.sees("Evict 2 of 3 models?")


async def test_a_verb_that_none_of_the_marked_models_allows_says_why() -> None:
    async with open_console(await busy_engine(models=8)) as console:
        await mark(console, "bge-base", "reranker-1")
        await console.press("e")
        await console.sees("Evict: for none of the 2 marked models: bge-base is on no device")


async def test_marks_stay_on_their_models_through_sorting_filtering_and_new_models() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await mark(console, "e5-small", "bge-base")
        await console.press("s", "o")
        assert marked(console) == ("e5-small", "bge-base")
        await console.press("slash", *"bge", "enter")
        await console.sees("◆ 2 marked, 1 not shown")
        await console.press("escape", "escape")
        await console.until(lambda: marked(console) == ())
        assert "◆" not in console.text


async def test_a_mark_goes_with_its_model() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await mark(console, "e5-small", "bge-base")
        models = {name: model for name, model in engine.state.models.items() if name != "bge-base"}
        engine.set_state(replace(engine.state, models=models))
        await console.until(lambda: marked(console) == ("e5-small",))


async def test_space_takes_a_mark_away_again_and_goes_on_to_the_next_row() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("space")
        assert (marked(console), console.selected) == (("all-MiniLM-L6-v2",), "e5-small")
        await console.press("up", "space")
        assert marked(console) == ()


async def test_loads_of_several_models_ask_for_the_device_once() -> None:
    engine = await busy_engine(models=8)
    async with open_console(engine) as console:
        await mark(console, "reranker-1", "reranker-2")
        await console.press("l")
        await console.sees("Load 2 models: on which device?")
        await console.press("end", "enter")
        await console.sees("Load 2 models on cpu?")
        await console.press("y")
        loads = (Load("reranker-1", "cpu"), Load("reranker-2", "cpu"))
        await console.until(lambda: engine.submissions[-1].command == Batch("load 2 models on cpu", loads))
        await console.until(lambda: engine.state.find("reranker-2", "cpu"))


async def test_a_toggle_over_models_of_both_kinds_asks_which_way() -> None:
    engine = await busy_engine()
    scene = Scene(START_S, snapshot=await engine.snapshot())
    pins = choices_of(BY_ID["pin"], scene, ("phi-3-mini", "all-MiniLM-L6-v2"))
    assert [(c.label, c.command) for c in pins] == [
        ("pin", SetPin("phi-3-mini")),
        ("unpin", Unpin("all-MiniLM-L6-v2")),
    ]
    ways = choices_of(BY_ID["cpu"], scene, ("phi-3-mini", "e5-small", "bge-base"))
    both = Batch("run 2 of 3 models on the CPU", (ForceCpu("phi-3-mini"), ForceCpu("bge-base")))
    assert [c.command for c in ways] == [both, LeaveCpu("e5-small")]
    async with open_console(engine) as console:
        await mark(console, "phi-3-mini", "all-MiniLM-L6-v2")
        await console.press("p")
        await console.sees("Pin 2 models: which way?")


async def test_the_palette_offers_the_verbs_for_all_marked_models() -> None:
    async with open_console(await busy_engine()) as console:
        await mark(console, "phi-3-mini", "e5-small")
        await console.press("colon", *"evict 2", "enter")
        await console.sees("Evict 2 models?")
