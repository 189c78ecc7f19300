"""The verbs: what is carried out at once, what asks first, what is refused, and how each ends."""

from __future__ import annotations

import asyncio
import os
import pty
import sys

import msgspec
import pytest

from engine.core.names import CPU
from engine.core.plans import Plan, Refusal
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine


async def _residents(engine: ScriptedEngine) -> dict[str, str]:
    return {resident.model: resident.device for resident in (await engine.snapshot()).state.residents}


async def test_a_load_without_side_effects_runs_at_once(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("load", "bge-base", "--on", "gpu1")
    assert ran == (0, "load bge-base (synthetic) on gpu1  (0.20 s, predicted 0.20 s)\n", "")
    assert await _residents(engine) == {"bge-base": "gpu1"}


async def test_what_is_submitted_is_what_was_planned(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "bge-base")
    assert [submission.confirmed for submission in engine.submissions] == ["load bge-base on gpu0"]


async def test_a_load_with_a_victim_is_not_done_unless_somebody_agrees(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    ran = await citadel("load", "bge-base", "--on", "gpu0")
    assert ran.status == 4
    assert "LEAVES phi-3-mini (synthetic) from gpu0 (480 MiB)" in ran.out
    assert "--yes" in ran.err
    assert await _residents(engine) == {"phi-3-mini": "gpu0"}


async def test_what_asks_for_a_yes_for_its_own_model_alone_says_why(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "e5-small", "--on", "gpu0")
    await citadel("pin", "e5-small")
    ran = await citadel("evict", "e5-small")
    assert ran.status == 4
    assert "needs your yes, since something leaves, moves, waits or loses its pin" in ran.err


async def test_yes_agrees_beforehand(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    assert (await citadel("load", "bge-base", "--on", "gpu0", "--yes")).status == 0
    assert await _residents(engine) == {"bge-base": "gpu0"}


@pytest.mark.parametrize(
    ("reply", "status", "left"), [("y", 0, "bge-base"), ("n", 4, "phi-3-mini"), ("", 4, "phi-3-mini")]
)
async def test_on_a_terminal_the_plan_is_shown_and_only_a_yes_counts(
    citadel: Citadel, engine: ScriptedEngine, reply: str, status: int, left: str
) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "citadel_tui", "load", "bge-base", "--on", "gpu0"),
        stdin=theirs,
        stderr=theirs,
        stdout=asyncio.subprocess.PIPE,
    )
    os.close(theirs)
    os.write(ours, f"{reply}\n".encode())
    out, _err = await process.communicate()
    os.close(ours)
    assert process.returncode == status
    assert "LEAVES phi-3-mini" in out.decode()
    assert await _residents(engine) == {left: "gpu0"}


async def test_a_refusal_says_who_is_in_the_way_and_what_to_try(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    await citadel("pin", "phi-3-mini")
    ran = await citadel("load", "bge-base", "--on", "gpu0")
    assert (ran.status, ran.out) == (3, "")
    assert "in the way: phi-3-mini (synthetic) on gpu0 (480 MiB), pinned" in ran.err
    assert "try: unpin" in ran.err


async def test_pin_unpin_cpu_move_and_evict_do_what_they_say(citadel: Citadel, engine: ScriptedEngine) -> None:
    for arguments, expected in [
        (("load", "e5-small"), {"e5-small": "gpu0"}),
        (("move", "e5-small", "gpu1", "--yes"), {"e5-small": "gpu1"}),
        (("cpu", "e5-small", "--yes"), {"e5-small": CPU}),
        (("cpu", "e5-small", "--back", "--yes"), {"e5-small": "gpu0"}),
        (("pin", "e5-small"), {"e5-small": "gpu0"}),
        (("unpin", "e5-small"), {"e5-small": "gpu0"}),
        (("evict", "e5-small"), {}),
    ]:
        assert (await citadel(*arguments)).status == 0, arguments
        assert await _residents(engine) == expected


async def test_what_is_already_so_is_said_and_done(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "e5-small")
    assert await citadel("load", "e5-small") == (0, "e5-small is there already\n", "")


async def test_a_load_that_breaks_is_a_failure_with_its_reason(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.fail_next("gpu0 ran out of memory; nothing was kept there")
    ran = await citadel("load", "bge-base")
    assert (ran.status, ran.out) == (1, "")
    assert "failed, everything is as it was: gpu0 ran out of memory" in ran.err


async def test_an_unknown_model_is_answered_with_the_known_ones(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("load", "nobody")
    assert ran.status == 1
    assert "no model is named nobody; the catalog has all-MiniLM-L6-v2" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [("load",), ("move", "bge-base", "card"), ("monitor", "--interval", "0"), ("log", "-n", "x"), ("frob",)],
)
async def test_wrong_usage_is_told_apart_from_failure(citadel: Citadel, arguments: tuple[str, ...]) -> None:
    ran = await citadel(*arguments)
    assert ran.status == 2
    assert "usage: citadel" in ran.err


async def test_a_plan_is_only_shown(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    ran = await citadel("plan", "load", "bge-base", "--on", "gpu0")
    assert ran.status == 0
    assert ran.out.splitlines() == [
        "LEAVES phi-3-mini (synthetic) from gpu0 (480 MiB)",
        "loads bge-base (synthetic) on gpu0 (438 MiB), from the RAM tier",
        "takes 0.21 to 0.41 s",
        "because no device has room; gpu0 gives it up cheapest",
    ]
    assert await _residents(engine) == {"phi-3-mini": "gpu0"}


async def test_a_plan_that_is_refused_has_its_own_exit_status(citadel: Citadel, engine: ScriptedEngine) -> None:
    shown = await citadel("plan", "move", "bge-base", "gpu7")
    as_json = await citadel("plan", "move", "bge-base", "gpu7", "--json")
    assert shown.status == as_json.status == 3
    assert "there is no device gpu7" in shown.out
    assert isinstance(msgspec.json.decode(as_json.out, type=Plan | Refusal), Refusal)


async def test_a_read_only_command_changes_nothing(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("--read-only", "load", "bge-base")
    assert ran.status == 1
    assert "nothing was changed" in ran.err
    assert await _residents(engine) == {}
