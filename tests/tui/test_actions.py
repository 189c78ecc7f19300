"""The registry of actions: what may be done when, and how."""

from __future__ import annotations

from msgspec.structs import replace

from citadel_tui.actions import ACTIONS, BY_ID, VERBS, choices_of
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.pages.help import footer_keys, footer_line, help_lines
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.scene import Lost, Scene
from citadel_tui.viewmodel.spans import width_of
from engine.core.commands import ForceCpu, LeaveCpu, Load, Move, SetPin, Unpin
from engine.core.devices import Reading
from tests.scripted_plans import START_S
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console


async def busy_scene() -> Scene:
    engine = await busy_engine()
    return Scene(START_S, await engine.hello(), await engine.snapshot())


async def test_every_key_and_every_id_is_given_once() -> None:
    assert len({a.key for a in ACTIONS}) == len({a.id for a in ACTIONS}) == len(ACTIONS)


async def test_load_offers_auto_first_and_then_each_device() -> None:
    choices = choices_of(BY_ID["load"], await busy_scene(), ("bge-base",))
    assert [c.command for c in choices] == [
        Load("bge-base"),
        Load("bge-base", "gpu0"),
        Load("bge-base", "gpu1"),
        Load("bge-base", "cpu"),
    ]


async def test_a_device_that_is_not_ok_is_not_offered() -> None:
    scene = await busy_scene()
    assert scene.snapshot is not None
    state = scene.snapshot.state
    lost = replace(state.devices["gpu1"], reading=Reading("lost", "gone"))
    state = replace(state, devices={**state.devices, "gpu1": lost})
    scene = replace(scene, snapshot=replace(scene.snapshot, state=state))
    assert "gpu1" not in [c.label for c in choices_of(BY_ID["load"], scene, ("bge-base",))]


async def test_move_offers_the_other_devices_only() -> None:
    choices = choices_of(BY_ID["move"], await busy_scene(), ("phi-3-mini",))
    assert [c.command for c in choices] == [Move("phi-3-mini", "gpu1"), Move("phi-3-mini", "cpu")]


async def test_pin_and_cpu_are_toggles() -> None:
    scene = await busy_scene()

    def command(action: str, model: str) -> object:
        return choices_of(BY_ID[action], scene, (model,))[0].command

    assert command("pin", "phi-3-mini") == SetPin("phi-3-mini")
    assert command("pin", "all-MiniLM-L6-v2") == Unpin("all-MiniLM-L6-v2")
    assert command("cpu", "phi-3-mini") == ForceCpu("phi-3-mini")
    assert command("cpu", "e5-small") == LeaveCpu("e5-small")


async def test_what_can_not_be_done_now_says_why() -> None:
    scene = await busy_scene()
    assert BY_ID["evict"].why_not(scene, ("bge-base",)) == "bge-base is on no device"
    assert BY_ID["load"].why_not(scene, ("phi-3-mini",)) == "", "it can be loaded once more, on the other GPU"
    assert BY_ID["load"].why_not(scene, ("e5-small",)) == "e5-small is on cpu already; it can be moved"
    assert BY_ID["load"].why_not(scene, ()) == "no model is selected"


async def test_no_verb_works_without_a_line_or_in_a_read_only_console() -> None:
    scene = await busy_scene()
    for verb in VERBS:
        assert verb.why_not(replace(scene, lost=Lost("gone")), ("bge-base",)) == "there is no line to the engine"
        assert verb.why_not(replace(scene, read_only=True), ("bge-base",)) == "this console is read-only"


async def test_the_help_page_names_every_action() -> None:
    text = "\n".join("".join(span.text for span in line) for line in help_lines(ACTIONS, Paper(100, UNICODE)))
    assert all(a.help in " ".join(text.split()) and a.word in text for a in ACTIONS)
    assert "slab" in text


async def test_a_narrow_footer_keeps_help_and_quit() -> None:
    for width in (30, 60, 80):
        line = footer_line(footer_keys([(a, "") for a in ACTIONS], width), Paper(width, UNICODE))
        text = "".join(span.text for span in line)
        assert width_of(line) == width
        assert "Help" in text
        assert "Quit" in text


async def test_a_digit_that_stands_for_no_gpu_says_so_and_the_palette_has_every_device() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("5")
        await console.sees("Device: there is no gpu5")
        await console.press("escape", "colon", *"device cpu", "enter")
        await console.sees("the host's own memory")
        await console.press("escape", "1")
        await console.sees("all-MiniLM-L6-v2, ready")


async def test_a_digit_in_the_filter_is_a_letter_of_the_name() -> None:
    async with open_console(await busy_engine()) as console:
        await console.press("slash", "6")
        await console.sees('1 of 4  with "6"')
