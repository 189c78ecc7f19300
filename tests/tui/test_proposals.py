"""What the engine proposes: rebalance, undo, drain and pack, each previewed before anything is done."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from citadel_tui.flow import StatusMessage, fulfil
from citadel_tui.viewmodel.glyphs import UNICODE
from citadel_tui.viewmodel.pages.plan import proposal_lines
from citadel_tui.viewmodel.paper import Paper
from engine.core.commands import Batch, Move, SetPin
from engine.core.plans import Plan, Refusal
from engine.core.proposals import Drain, Gain, Pack, Proposal, Rebalance, Wish
from engine.core.state import State
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_plan
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console
from tests.tui.test_flow import Answering, Wavering

MOVES = Batch("rebalance", (Move("all-MiniLM-L6-v2", "cpu"), Move("phi-3-mini", "gpu1")))
GAINS = (
    Gain("all-MiniLM-L6-v2", "gpu1", "cpu", -0.03, 0.02, "it is asked for least"),
    Gain("phi-3-mini", "gpu0", "gpu1", 0.84, 0.21, "gpu0 is left to bge-base"),
)


async def busy_state() -> State:
    """As the busy engine's, with nothing to take back."""
    return replace((await busy_engine()).state, changes=())


class Proposing(ScriptedEngine):
    """Has one answer to every wish."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.wishes: list[Wish] = []

    async def propose(self, wish: Wish) -> Proposal | Refusal:
        self.wishes.append(wish)
        plan = scripted_plan(self.state, MOVES)
        assert isinstance(plan, Plan)
        return Proposal(wish, MOVES, plan, GAINS, ("switches should become rarer by a third",))


class Overtaken(Wavering, Proposing):
    """What it proposes has changed once it is agreed to."""


class Refusing(ScriptedEngine):
    async def propose(self, wish: Wish) -> Proposal | Refusal:
        return Refusal(Batch("rebalance", ()), "no move pays back", advice=("ask again when the demand has changed",))


async def test_r_shows_each_move_with_its_gain_and_cost_and_does_all_of_it_when_told() -> None:
    engine = Proposing(await busy_state())
    async with open_console(engine) as console:
        await console.press("r")
        await console.sees("Rebalance?")
        await console.sees("phi-3-mini        gpu0 → gpu1    gains   0.84 s  costs  0.21 s")
        await console.sees("all-MiniLM-L6-v2  gpu1 → cpu     gains  -0.03 s  costs  0.02 s")
        await console.sees("gpu0 is left to bge-base")
        await console.sees("switches should become rarer by a third")
        await console.press("y")
        await console.until(lambda: engine.submissions and engine.submissions[-1].command == MOVES)
        await console.sees("rebalance: done")
        assert engine.state.find("phi-3-mini", "gpu1")


async def test_leaving_a_proposal_changes_nothing() -> None:
    engine = Proposing(await busy_state())
    async with open_console(engine) as console:
        await console.press("r")
        await console.sees("Rebalance?")
        await console.press("enter")
        await console.until(lambda: "Rebalance?" not in console.text)
    assert engine.submissions == []


async def test_a_wish_that_can_not_be_met_is_answered_with_the_reason() -> None:
    async with open_console(Refusing(await busy_state())) as console:
        await console.press("r")
        await console.sees("Can't rebalance")
        await console.sees("no move pays back")


async def test_u_says_what_it_would_take_back_and_does_that() -> None:
    engine = ScriptedEngine(await busy_state())
    async with open_console(engine) as console:
        await console.press("u")
        await console.sees("Undo: there is nothing to take back")
        await console.select("phi-3-mini")
        await console.press("p")
        await console.until(lambda: engine.submissions and engine.submissions[-1].command == SetPin("phi-3-mini"))
        await console.sees("done")
        await console.press("u")
        await console.sees("UNPINS phi-3-mini")
        await console.press("y")
        await console.until(lambda: engine.state.models["phi-3-mini"].pin is None)


@pytest.mark.parametrize(("key", "wish"), [("d", Drain("gpu0")), ("p", Pack("gpu0"))])
async def test_a_devices_page_drains_it_or_packs_it_free(key: str, wish: Wish) -> None:
    engine = Proposing(await busy_state())
    async with open_console(engine) as console:
        await console.press("0")
        await console.sees("Drain it (d)")
        await console.press(key)
        await console.sees("Rebalance?")
        assert engine.wishes == [wish]


@pytest.mark.parametrize(
    ("typed", "wish"), [("drain cpu", Drain("cpu")), ("pack gpu1", Pack("gpu1")), ("pack which", Pack())]
)
async def test_the_palette_drains_and_packs_any_device(typed: str, wish: Wish) -> None:
    engine = Proposing(await busy_state())
    async with open_console(engine) as console:
        await console.press("colon", *typed, "enter")
        await console.sees("Rebalance?")
        assert engine.wishes == [wish]


async def test_a_read_only_console_proposes_nothing() -> None:
    engine = Proposing(await busy_state())
    async with open_console(engine, read_only=True) as console:
        await console.press("r")
        await console.sees("Rebalance: this console is read-only")
        await console.press("escape", "0")
        await console.sees("Budget, in MiB")
        assert "Drain" not in console.text
        assert engine.wishes == []


async def test_an_agreed_proposal_is_submitted_with_the_effects_that_were_shown() -> None:
    engine, operator = Proposing(await busy_state()), Answering(MOVES)
    await fulfil(Rebalance(), engine, operator)
    assert engine.submissions[-1].confirmed == (
        "load all-MiniLM-L6-v2 on cpu; evict all-MiniLM-L6-v2 from gpu1; "
        "load phi-3-mini on gpu1; evict phi-3-mini from gpu0"
    )
    assert operator.messages == [StatusMessage("rebalance: done in 0.20 s", "good")]


async def test_a_proposal_that_has_changed_is_shown_again_as_a_plan() -> None:
    engine, operator = Overtaken(await busy_state()), Answering(MOVES, None)
    await fulfil(Rebalance(), engine, operator)
    assert [changed for _, changed in operator.asked] == [True]
    assert engine.submissions == []


@pytest.mark.parametrize("width", [46, 50, 60, 90])
async def test_a_proposal_keeps_within_its_width(width: int) -> None:
    found = await Proposing(await busy_state()).propose(Rebalance())
    assert isinstance(found, Proposal)
    for line in proposal_lines(found, Paper(width, UNICODE)):
        assert len("".join(span.text for span in line)) <= width
