"""Runs that are in the way, and workers that hang, as the console deals with them."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.commands import Evict, Load
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import busy_engine
from tests.tui.consoles import open_console


def in_use(engine: ScriptedEngine, model: str) -> None:
    """A request runs on `model`."""
    residents = tuple(replace(r, leases=1) if r.model == model else r for r in engine.state.residents)
    engine.set_state(replace(engine.state, residents=residents))


async def test_a_preview_that_waits_for_runs_offers_to_end_them() -> None:
    engine = await busy_engine()
    in_use(engine, "phi-3-mini")
    async with open_console(engine) as console:
        await console.select("phi-3-mini")
        await console.press("e")
        await console.sees("ends 1 running request of phi-3-mini at once")
        await console.sees("End the runs")
        await console.press("n")
        await console.until(lambda: "ends 1 running request" in console.text and "or n" not in console.text)
        assert engine.submissions[-1].command != Evict("phi-3-mini")
        await console.press("Y")
        await console.until(lambda: console.app.clipboard == "citadel evict phi-3-mini --now")
        await console.press("y")
        await console.sees("done")
    assert engine.submissions[-1].now
    assert not engine.state.of("phi-3-mini")


async def test_a_refusal_for_runs_in_the_way_offers_to_end_them() -> None:
    engine = await busy_engine()
    in_use(engine, "phi-3-mini")
    async with open_console(engine) as console:
        await console.select("bge-base")
        for key in ("l", "down", "enter"):
            await console.press(key)
        await console.sees("End the runs")
        await console.press("n")
        await console.sees("[Cancel]")
        await console.press("y")
        await console.sees("done")
    assert (engine.submissions[-1].command, engine.submissions[-1].now) == (Load("bge-base", "gpu0"), True)


async def test_the_palette_restarts_a_worker_after_a_yes() -> None:
    engine = await busy_engine()
    async with open_console(engine) as console:
        for answer in ("enter", "y"):
            await console.press("colon", *"restart", "space", *"gpu0", "enter")
            await console.sees("Restart the worker of gpu0?")
            await console.sees("phi-3-mini leaves gpu0 and is loaded again")
            assert engine.restarted == []
            await console.press(answer)
        await console.sees("the worker of gpu0 was restarted")
    assert engine.restarted == ["gpu0"]
