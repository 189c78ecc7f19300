"""Every verb by its key: previewed where it touches more than its own model, and taken to its end."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.widgets.choices import ChoiceBar
from engine.core.commands import Command, Evict, ForceCpu, LeaveCpu, Load, Move, SetPin, Unpin
from engine.core.plans import Plan, Refusal
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine, small_model
from tests.tui.consoles import open_console


@pytest.mark.parametrize(
    ("model", "keys", "command"),
    [
        ("bge-base", ("l", "end", "enter"), Load("bge-base", "cpu")),
        ("phi-3-mini", ("e",), Evict("phi-3-mini")),
        ("phi-3-mini", ("p",), SetPin("phi-3-mini")),
        ("all-MiniLM-L6-v2", ("p",), Unpin("all-MiniLM-L6-v2")),
        ("all-MiniLM-L6-v2", ("c",), ForceCpu("all-MiniLM-L6-v2")),
    ],
)
async def test_a_key_does_its_verb_to_the_model_under_the_cursor(
    model: str, keys: tuple[str, ...], command: Command
) -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.select(model)
        for key in keys:
            await console.press(key)
        await console.until(lambda: engine.submissions[-1].command == command)
        await console.sees("done")


@pytest.mark.parametrize(
    ("model", "keys", "command"),
    [
        ("phi-3-mini", ("m", "end", "enter"), Move("phi-3-mini", "cpu")),
        ("e5-small", ("c",), LeaveCpu("e5-small")),
        ("bge-base", ("l", "down", "enter"), Load("bge-base", "gpu0")),
    ],
)
async def test_a_verb_that_touches_more_is_previewed_with_the_safe_answer_chosen(
    model: str, keys: tuple[str, ...], command: Command
) -> None:
    engine = await busy_engine()
    before = len(engine.submissions)
    async with open_console(engine) as console:
        await console.select(model)
        for key in keys:
            await console.press(key)
        await console.sees("[Cancel]")
        assert console.app.screen.query_one(ChoiceBar).has_focus
        await console.press("enter")
        await console.until(lambda: "[Cancel]" not in console.text)
        assert len(engine.submissions) == before
        for key in keys:
            await console.press(key)
        await console.sees("[Cancel]")
        await console.press("y")
        await console.until(lambda: engine.submissions[-1].command == command)
        await console.sees("done")


async def test_a_preview_says_what_leaves_and_what_comes() -> None:
    async with open_console(await busy_engine()) as console:
        await console.select("bge-base")
        await console.press("l", "down", "enter")
        await console.sees("LEAVES phi-3-mini from gpu0")
        await console.sees("loads  bge-base   on gpu0     438 MiB  from the RAM tier")
        await console.sees("0.21 to 0.41 s")


async def test_a_refusal_says_what_is_in_the_way_and_what_to_do() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.select("phi-3-mini")
        await console.press("p")
        await console.until(lambda: engine.submissions[-1].command == SetPin("phi-3-mini"))
        await console.select("bge-base")
        await console.press("l", "down", "enter")
        await console.sees("Can't load bge-base on gpu0")
        await console.sees("406 MiB short")
        await console.sees("unpin one of them")
        await console.press("escape")
        await console.sees("MODELS")


async def test_a_load_shows_its_progress_and_escape_takes_it_back() -> None:
    engine = await busy_engine()
    engine.hold()
    async with open_console(engine) as console:
        await console.select("bge-base")
        await console.press("l", "end", "enter")
        await console.sees("copy 50%")
        await console.sees("load bge-base on cpu: copy   esc twice takes it back")
        await console.press("escape")
        await console.sees("load bge-base on cpu: under way; esc again takes it back")
        assert (await engine.snapshot()).state.of("bge-base")
        await console.press("escape")
        await console.sees("load bge-base on cpu: taken back")
        assert not (await engine.snapshot()).state.of("bge-base")


async def test_another_key_lets_a_load_be_that_escape_would_have_taken_back() -> None:
    engine = await busy_engine()
    engine.hold()
    async with open_console(engine) as console:
        await console.select("bge-base")
        await console.press("l", "end", "enter")
        await console.sees("copy 50%")
        await console.press("escape")
        await console.sees("esc again takes it back")
        await console.press("s", "escape")
        await console.sees("esc again takes it back")
        assert (await engine.snapshot()).state.of("bge-base")


async def test_a_message_stays_until_it_has_been_seen() -> None:
    async with open_console(await busy_engine()) as console:
        await console.select("bge-base")
        await console.press("e")
        await console.sees("Evict: bge-base is on no device")
        await console.press("down", "up")
        await console.sees("Evict: bge-base is on no device")
        await console.press("escape")
        await console.until(lambda: "Evict:" not in console.text)


async def test_a_failure_is_said_and_the_state_is_as_before() -> None:
    engine = await busy_engine()
    engine.fail_next("out of memory on cpu")
    async with open_console(engine) as console:
        await console.select("bge-base")
        await console.press("l", "end", "enter")
        await console.sees("failed, everything is as it was: out of memory on cpu")


async def test_a_key_means_the_model_that_was_under_the_cursor_when_it_was_pressed() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.select("bge-base")
        await console.press("l")
        await console.sees("Load bge-base: on which device?")
        state = (await engine.snapshot()).state
        engine.set_state(replace(state, models={"newcomer": small_model("newcomer"), **state.models}))
        await console.press("end", "enter")
        await console.until(lambda: engine.submissions[-1].command == Load("bge-base", "cpu"))


async def test_the_palette_finds_a_verb_for_any_model() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.press("colon", *"cpu bge")
        await console.sees("load bge-base on cpu")
        await console.press("enter")
        await console.until(lambda: engine.submissions[-1].command == Load("bge-base", "cpu"))


async def test_a_read_only_console_shows_everything_and_does_nothing() -> None:
    engine = await busy_engine()
    before = list(engine.submissions)
    async with open_console(engine, read_only=True) as console:
        await console.sees("read-only")
        for key in "lepcm":
            await console.press(key)
            await console.sees("this console is read-only")
        assert engine.submissions == before


class Faulty(ScriptedEngine):
    async def plan(self, command: Command, *, now: bool = False) -> Plan | Refusal:
        raise LookupError("[/] a fault of ours")


async def test_a_fault_in_carrying_a_command_out_is_shown_and_the_console_goes_on() -> None:
    async with open_console(Faulty()) as console:
        await console.press("p")
        await console.sees("the command broke: LookupError: [/] a fault of ours")
        await console.press("escape", "s")
        await console.sees("by name")


async def test_a_ready_model_may_have_one_more_copy_and_eviction_asks_which_one() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        await console.select("all-MiniLM-L6-v2")
        await console.press("l")
        await console.sees("adds   all-MiniLM-L6-v2 on gpu0      98 MiB")
        await console.sees("from the RAM tier, stays on gpu1")
        await console.press("y")
        await console.until(lambda: engine.submissions[-1].command == Load("all-MiniLM-L6-v2", "gpu0", also=True))
        await console.sees("gpu1 gpu0")
        await console.press("e")
        await console.sees("from all of them")
        await console.press("down", "enter")
        await console.until(lambda: engine.submissions[-1].command == Evict("all-MiniLM-L6-v2", "gpu0"))
