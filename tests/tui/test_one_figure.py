"""A quantity has one figure wherever it is told, also when its bytes are no whole MiB: what is taken up, room down."""

from __future__ import annotations

import re

from msgspec.structs import replace

from citadel_tui.cli.fitting import Size
from citadel_tui.cli.status import status_table
from citadel_tui.cli.status_report import status_report
from citadel_tui.words.plans import refusal_text
from engine.core.commands import Load
from engine.core.ledger import budget, free
from engine.core.models import Footprint, Pin
from engine.core.planning.planner import plan
from engine.core.plans import Plan, Refusal
from engine.core.policy import Policy
from engine.core.sizes import KIB, MIB
from engine.core.state import Resident, State
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S, scripted_state
from tests.tui.consoles import open_console

TAKEN = {"models": 162, "external": 41, "context": 60, "bge-base": 439}
ROOM = {"total": 640, "budget": 240, "free": 78}
"""What each of the odd sizes below is to read."""


def odd_box() -> State:
    """No size on gpu0 is a whole number of MiB; e5-small is pinned there, and beside it are 78.65 MiB free of 240.3."""
    state = scripted_state()
    e5 = Footprint(128 * MIB + 300 * KIB, 33 * MIB + 370 * KIB)
    known = state.devices["gpu0"]
    spec = replace(known.spec, backing="cuda:0", total_bytes=640 * MIB + 900 * KIB, fraction=240.3 / 640.9)
    reading = replace(known.reading, used_bytes=261 * MIB, external_bytes=40 * MIB + 12 * KIB)
    gpu0 = replace(known, spec=spec, reading=reading, context_bytes=59 * MIB + 700 * KIB)
    bge = replace(state.models["bge-base"], footprint=Footprint(418 * MIB + 1, 20 * MIB))
    small = replace(state.models["e5-small"], footprint=e5, pin=Pin("gpu0"))
    held = Resident("e5-small", "gpu0", "ready", e5, START_S, idle_since_s=START_S)
    return replace(
        state,
        devices={"gpu0": gpu0, "cpu": state.devices["cpu"]},
        models={**state.models, "bge-base": bge, "e5-small": small},
        residents=(held,),
    )


def refused(state: State) -> str:
    small = replace(state.models["bge-base"], footprint=Footprint(200 * MIB + 1, 0))
    found = plan(
        replace(state, models={**state.models, "bge-base": small}), Load("bge-base", "gpu0"), Policy(), START_S
    )
    assert isinstance(found, Refusal)
    return refusal_text(found, str)


def figures(pattern: str, text: str) -> tuple[int, ...]:
    """Those that `pattern` finds, which it has to."""
    found = re.search(pattern, text)
    assert found, f"{pattern} is not in\n{text}"
    return tuple(int(figure) for figure in found.groups())


def test_the_box_is_an_odd_one() -> None:
    state = odd_box()
    odd = (budget(state, "gpu0"), free(state, "gpu0"), state.devices["gpu0"].spec.total_bytes)
    assert [size // MIB for size in odd] == [ROOM["budget"], ROOM["free"], ROOM["total"]]
    assert all(size % MIB for size in odd)


async def test_each_quantity_has_one_figure_in_the_console_in_status_and_in_a_refusal() -> None:
    state = odd_box()
    engine = ScriptedEngine(state)
    async with open_console(engine, size=(200, 50)) as console:
        await console.sees("bge-base")
        charged = figures(r"gpu0.* (\d+)/(\d+) MiB.*▞(\d+).*▒ *(\d+).* of (\d+) MiB total", console.text)
        assert charged == (TAKEN["models"], ROOM["budget"], TAKEN["context"], TAKEN["external"], ROOM["total"])
        assert figures(r"bge-base .*?(\d{3,})", console.text) == (TAKEN["bge-base"],)
        await console.select("bge-base")
        await console.press("l")
        await console.sees("free of a budget")
        told = figures(r"gpu0 +(\d+) MiB free of a budget of (\d+) MiB", console.text)
        assert told == (ROOM["free"], ROOM["budget"])
        await console.press("escape", "0")
        await console.sees("Budget, in MiB")
        page = console.text
    for words, figure in {
        "total": ROOM["total"],
        "held by others": TAKEN["external"],
        "the worker's CUDA context": TAKEN["context"],
        "budget, the smaller of the two": ROOM["budget"],
        "e5-small, ready": TAKEN["models"],
        "free": ROOM["free"],
        "charged for models": TAKEN["models"],
        ". held by others": TAKEN["external"],
    }.items():
        assert figures(rf"[-+= ] +(\d+)  {words}", page) == (figure,), words

    report = status_report(await engine.hello(), await engine.snapshot(), ())
    heading, line = status_table(report, Size(None, None), bars=False).split("DEVICE", 1)[1].splitlines()[:2]
    assert heading.split()[:7] == ["HEALTH", "MODELS", "CONTEXT", "EXTERNAL", "USED", "BUDGET", "TOTAL"]
    assert figures(r"gpu0 +ok +(\d+) +(\d+) +(\d+) +\d+ +(\d+) +(\d+)", line) == (
        *(TAKEN["models"], TAKEN["context"], TAKEN["external"]),
        *(ROOM["budget"], ROOM["total"]),
    )
    assert figures(r"gpu0: (\d+) MiB free of a budget of (\d+) MiB", refused(state)) == (ROOM["free"], ROOM["budget"])


async def test_a_model_whose_need_was_learned_anew_has_one_size_in_the_console_and_in_status() -> None:
    state = odd_box()
    learned = replace(state.models["e5-small"], footprint=Footprint(128 * MIB + 300 * KIB, 50 * MIB, "learned"))
    engine = ScriptedEngine(replace(state, models={**state.models, "e5-small": learned}))
    async with open_console(engine) as console:
        await console.sees("e5-small")
        assert figures(r"e5-small .*ready +(\d+)", console.text) == (TAKEN["models"],)
    report = status_report(await engine.hello(), await engine.snapshot(), ())
    table = status_table(report, Size(None, None), bars=False)
    assert figures(r"e5-small \(synthetic\) +gpu0 +ready +(\d+)", table) == (TAKEN["models"],)


def test_why_a_device_has_room_tells_what_stays_free_and_no_more() -> None:
    state = odd_box()
    small = replace(state.models["bge-base"], footprint=Footprint(50 * MIB, 0))
    found = plan(
        replace(state, models={**state.models, "bge-base": small}), Load("bge-base", "gpu0"), Policy(), START_S
    )
    assert isinstance(found, Plan)
    assert figures(r"(\d+) MiB stay free", " ".join(found.reasons)) == (ROOM["free"] - 50,)
