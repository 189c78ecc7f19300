"""Every action of the registry does its work by its key, and from the palette too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from msgspec import Struct

from citadel_tui.actions import ACTIONS, BY_ID
from citadel_tui.widgets.lists import ModelTable, SwitchLog
from engine.core.commands import Evict, ForceCpu, Load, Move, SetPin
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import Console, open_console


class Deed(Struct, frozen=True):
    """What an action does to phi-3-mini in the busy engine, which is under the cursor."""

    happened: Callable[[Console, ScriptedEngine], object]
    typed: str = ""
    """What finds it in the palette; its own words when empty."""
    after_key: tuple[str, ...] = ()
    """Answers to what its key asks."""
    after_palette: tuple[str, ...] = ()
    model: str = "phi-3-mini"


def says(text: str) -> Callable[[Console, ScriptedEngine], object]:
    return lambda console, engine: text in console.text


def does(command: object) -> Callable[[Console, ScriptedEngine], object]:
    return lambda console, engine: engine.submissions[-1].command == command


def table(console: Console) -> ModelTable:
    return console.app.screen_stack[0].query_one(ModelTable)


DEEDS: Final[dict[str, Deed]] = {
    "load": Deed(does(Load("bge-base", "cpu")), "load bge cpu", ("end", "enter"), model="bge-base"),
    "evict": Deed(does(Evict("phi-3-mini")), "evict phi"),
    "pin": Deed(does(SetPin("phi-3-mini")), "pin phi"),
    "cpu": Deed(does(ForceCpu("phi-3-mini")), "run phi"),
    "move": Deed(does(Move("phi-3-mini", "cpu")), "move phi cpu", ("end", "enter", "y"), ("y",)),
    "rebalance": Deed(says("ebalance"), after_key=("escape",), after_palette=("escape",)),
    "undo": Deed(says("Undo: pin all-MiniLM-L6-v2?")),
    "find": Deed(lambda console, engine: console.app.focused is console.app.screen.query_one("#find")),
    "mark": Deed(lambda console, engine: table(console).marked == ("phi-3-mini",)),
    "sort": Deed(says("by name")),
    "order": Deed(says("by catalog, reversed")),
    "device": Deed(says("Budget, in MiB"), "device gpu0"),
    "timeline": Deed(says("TIMELINE")),
    "tier": Deed(says("Kept, the first to go on top")),
    "devices": Deed(says("every device has a row of its own")),
    "requests": Deed(says("no request is under way"), "requests who"),
    "graphs": Deed(lambda console, engine: console.app.screen.query_one("OverTime").display),
    "colours": Deed(lambda console, engine: console.app.theme == "citadel-light"),
    "bench": Deed(says("Benchmark: how long switches take")),
    "advice": Deed(
        lambda console, engine: "no recorded demand" in " ".join(console.text.split()), "what would save switching"
    ),
    "copy": Deed(says("copied: phi-3-mini"), "copy row figures"),
    "command": Deed(says("copied: citadel load phi-3-mini --on gpu0")),
    "picture": Deed(says("saved")),
    "alerts": Deed(says("Alerts")),
    "details": Deed(says("480 MiB estimated")),
    "other": Deed(lambda console, engine: console.app.screen.query_one(SwitchLog).has_focus),
    "palette": Deed(says("Verb and model")),
    "back": Deed(lambda console, engine: len(console.app.screen_stack) == 1),
    "help": Deed(says("Memory bars, table and log")),
    "quit": Deed(lambda console, engine: console.app.return_code == 0),
}
KEYS: Final = {"device": "0"}


def test_no_action_is_without_a_deed() -> None:
    assert set(DEEDS) == set(BY_ID)


@pytest.mark.parametrize("id", BY_ID)
async def test_an_action_does_its_work_by_its_key(id: str) -> None:
    deed, engine = DEEDS[id], await busy_engine()
    async with open_console(engine) as console:
        await console.select(deed.model)
        await console.press(KEYS.get(id, BY_ID[id].key))
        await answered(console, deed.after_key)
        await console.until(lambda: deed.happened(console, engine))


@pytest.mark.parametrize("id", [action.id for action in ACTIONS if action.id != "palette"])
async def test_an_action_does_its_work_from_the_palette(id: str) -> None:
    deed, engine = DEEDS[id], await busy_engine()
    async with open_console(engine) as console:
        await console.select(deed.model)
        await console.press("colon")
        await console.sees("Verb and model")
        await console.press(*(deed.typed or " ".join(BY_ID[id].help.replace(":", " ").split()[:4])).replace("/", " "))
        await console.press("enter")
        await answered(console, deed.after_palette)
        await console.until(lambda: deed.happened(console, engine))


async def answered(console: Console, keys: tuple[str, ...]) -> None:
    for key in keys:
        if key == "y":
            await console.sees("[Cancel]")
        await console.press(key)


@pytest.mark.parametrize("page", ["0", "t", "enter", "question_mark", "exclamation_mark"])
async def test_on_a_page_a_key_that_does_nothing_there_says_so(page: str) -> None:
    engine = await busy_engine()
    before = len(engine.submissions)
    async with open_console(engine) as console:
        await console.select("phi-3-mini")
        await console.press(page)
        await console.until(lambda: len(console.app.screen_stack) == 2)
        await console.settles()
        await console.press("m")
        await console.until(lambda: "m does nothing here; esc leads back" in console.painted)
        assert len(engine.submissions) == before
        for key in ("space", "j", "k", "y", "Y"):  # these do something
            await console.press(key)
            await console.settles()
            assert f"{key} does nothing" not in console.painted
            assert "  does nothing" not in console.painted
        await console.press("escape")
        await console.until(lambda: len(console.app.screen_stack) == 1)
