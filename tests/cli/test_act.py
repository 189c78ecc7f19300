"""The verbs: what is carried out at once, what asks first, what is refused, and how each ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec.structs import replace

from engine.api import Answer, Declined, Done, Event, Failed
from engine.client import RemoteEngine
from engine.core.commands import Evict
from engine.core.names import CPU
from engine.core.plans import Plan, Refusal
from engine.paths import find_paths
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


async def _residents(engine: ScriptedEngine) -> dict[str, str]:
    return {resident.model: resident.device for resident in (await engine.snapshot()).state.residents}


async def test_a_load_without_side_effects_runs_at_once(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("load", "bge-base", "--on", "gpu1")
    assert ran == (0, "load bge-base (synthetic) on gpu1  (0.20 s, predicted 0.20 s)\n", "")
    assert await _residents(engine) == {"bge-base": "gpu1"}


async def test_also_has_one_more_copy_and_from_takes_one_off(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "bge-base", "--on", "gpu0")

    assert (await citadel("load", "bge-base", "--also")).out.startswith("load bge-base (synthetic) also on gpu1")
    state = (await engine.snapshot()).state
    assert state.places("bge-base") == ("gpu0", "gpu1")
    assert (await citadel("load", "bge-base", "--also", "gpu1")).out == "bge-base is there already\n"

    assert (await citadel("evict", "bge-base", "--from", "gpu0")).out.startswith("evict bge-base (synthetic) from gpu0")
    assert await _residents(engine) == {"bge-base": "gpu1"}


async def test_also_and_on_exclude_each_other(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("load", "bge-base", "--also", "gpu1", "--on", "gpu0")

    assert ran.status == 2
    assert "not allowed with argument" in ran.err


async def test_a_plan_without_steps_is_submitted_since_what_leaves_stays_only_then(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    await citadel("load", "bge-base")
    assert (await citadel("load", "bge-base")).status == 0
    assert [submission.confirmed for submission in engine.submissions] == ["load bge-base on gpu0", ""]


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


@pytest.mark.parametrize("line", ["e5-small --on gpu1 --yes", "--on gpu1 e5-small --yes", "e5-small --yes gpu1"])
async def test_the_device_of_a_move_is_named_either_way(citadel: Citadel, engine: ScriptedEngine, line: str) -> None:
    await citadel("load", "e5-small")
    assert (await citadel("move", *line.split())).status == 0
    assert await _residents(engine) == {"e5-small": "gpu1"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("e5-small", "required: device"),
        ("e5-small gpu0 --on gpu1", "named twice"),
        ("e5-small --on gpu1 gpu1", "named twice"),
    ],
)
async def test_a_move_names_one_device(citadel: Citadel, line: str, words: str) -> None:
    ran = await citadel("move", *line.split())
    assert ran.status == 2
    assert words in ran.err


async def test_a_load_that_ends_on_the_cpu_says_why(citadel: Citadel, engine: ScriptedEngine) -> None:
    engine.set_state(replace(engine.state, devices={CPU: engine.state.devices[CPU]}))
    ran = await citadel("load", "e5-small")
    assert ran.out.splitlines()[1:] == ["  because cpu has room"]
    assert (await citadel("load", "bge-base", "--on", "cpu")).out.count("\n") == 1


async def test_the_answer_as_json_has_the_phases_of_the_switch(citadel: Citadel, engine: ScriptedEngine) -> None:
    ran = await citadel("load", "bge-base", "--json")
    done = msgspec.json.decode(ran.out, type=Answer)
    assert isinstance(done, Done)
    assert done.switch is not None
    assert done.switch == (await engine.records())[-1].entry
    assert json.loads(ran.out)["switch"]["phases"]
    again = msgspec.json.decode((await citadel("load", "bge-base", "--json")).out, type=Answer)
    assert isinstance(again, Done)
    assert (again.plan.steps, again.switch) == ((), None)


async def test_as_json_a_plan_that_needs_a_yes_is_given_and_not_done(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    ran = await citadel("load", "bge-base", "--on", "gpu0", "--json")
    assert ran.status == 4
    assert [victim.model for victim in msgspec.json.decode(ran.out, type=Plan).victims] == ["phi-3-mini"]
    assert await _residents(engine) == {"phi-3-mini": "gpu0"}


async def test_refusals_and_failures_as_json_keep_their_exit_status(citadel: Citadel, engine: ScriptedEngine) -> None:
    refused = await citadel("move", "bge-base", "gpu7", "--json")
    engine.fail_next("gpu0 ran out of memory")
    failed = await citadel("load", "bge-base", "--json")
    assert (refused.status, refused.err, failed.status, failed.err) == (3, "", 1, "")
    assert isinstance(msgspec.json.decode(refused.out, type=Answer), Declined)
    assert msgspec.json.decode(failed.out, type=Answer) == Failed("gpu0 ran out of memory")


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


# ── runs in the way, loads under way, workers ────────────────────────────────────────────────────


def _with_runs(engine: ScriptedEngine, model: str, leases: int = 1) -> None:
    """Have requests run on `model`."""
    residents = tuple(replace(r, leases=leases) if r.model == model else r for r in engine.state.residents)
    engine.set_state(replace(engine.state, residents=residents))


async def test_an_eviction_that_waits_says_for_what_and_how_to_have_it_now(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    await citadel("load", "bge-base", "--on", "gpu0")
    _with_runs(engine, "bge-base", leases=2)
    asked = await citadel("evict", "bge-base")
    assert asked.status == 4
    assert "after 2 running requests" in asked.out
    assert "or, with --now, ends 2 running requests of bge-base (synthetic) at once" in asked.out

    asked = await citadel("evict", "bge-base", "--now")
    assert asked.status == 4
    assert await _residents(engine) == {"bge-base": "gpu0"}
    assert (await citadel("evict", "bge-base", "--now", "--yes")).status == 0
    assert [(s.command, s.now) for s in engine.submissions[-1:]] == [(Evict("bge-base"), True)]
    assert await _residents(engine) == {}


@pytest.mark.parametrize(
    "verb", [("load", "bge-base", "--on", "gpu0"), ("cpu", "phi-3-mini"), ("move", "phi-3-mini", "gpu1")]
)
async def test_every_verb_that_takes_a_model_away_can_end_its_runs(
    citadel: Citadel, engine: ScriptedEngine, verb: tuple[str, ...]
) -> None:
    await citadel("load", "phi-3-mini", "--on", "gpu0")
    _with_runs(engine, "phi-3-mini")
    assert (await citadel("plan", *verb, "--now")).status == 0
    assert (await citadel(*verb, "--now", "--yes")).status == 0
    assert engine.submissions[-1].now
    assert (await _residents(engine)).get("phi-3-mini") != "gpu0"


async def test_a_pin_ends_no_runs(citadel: Citadel, engine: ScriptedEngine) -> None:
    assert (await citadel("pin", "bge-base", "--now")).status == 2


async def test_stopping_says_what_it_waits_for_unless_it_is_to_be_now(citadel: Citadel, engine: ScriptedEngine) -> None:
    await citadel("load", "bge-base", "--on", "gpu0")
    _with_runs(engine, "bge-base", leases=2)
    ran = await citadel("stop", "--now")
    assert (ran.status, ran.out, ran.err) == (0, "the engine has ended\n", "")
    assert engine.stopped_now


class Draining(ScriptedEngine):
    """Waits for its runs when it is stopped, until it is told not to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_followed = asyncio.Event()
        self.is_draining = asyncio.Event()
        self._hurry = asyncio.Event()

    def events(self, after: int | None = None) -> AsyncIterator[Event]:
        self.is_followed.set()
        return super().events(after)

    async def stop(self, *, now: bool = False) -> None:
        (self._hurry if now else self.is_draining).set()
        await self._hurry.wait()
        await super().stop(now=now)


async def test_a_stop_that_waits_says_for_what_and_another_one_ends_it(citadel: Citadel) -> None:
    engine = Draining()
    async with serving(engine, find_paths(os.environ)):
        await citadel("load", "bge-base", "--on", "gpu0")
        _with_runs(engine, "bge-base", leases=2)
        engine.is_followed.clear()
        waiting = asyncio.ensure_future(citadel("stop"))
        await engine.is_followed.wait()
        await engine.is_draining.wait()
        await RemoteEngine(find_paths(os.environ).socket).stop(now=True)
        ran = await waiting
    assert (ran.status, ran.out) == (0, "the engine has ended\n")
    assert "waiting for 2 running requests, about " in ran.err
    assert "`citadel stop --now` ends them" in ran.err


async def test_a_worker_is_restarted_after_a_yes_when_somebody_would_notice(
    citadel: Citadel, engine: ScriptedEngine
) -> None:
    ran = await citadel("restart-worker", "gpu1")
    assert (ran.status, ran.out) == (0, "the worker of gpu1 was restarted\n")
    await citadel("load", "bge-base", "--on", "gpu0")
    _with_runs(engine, "bge-base")
    asked = await citadel("restart-worker", "gpu0")
    assert asked.status == 4
    assert asked.out.startswith("1 running request there: ended, and tried once more\nbge-base (synthetic) leaves gpu0")
    ran = await citadel("restart-worker", "gpu0", "--yes")
    assert (ran.status, ran.out) == (0, "the worker of gpu0 was restarted; bge-base came back\n")
    assert engine.restarted == ["gpu1", "gpu0"]
    unknown = await citadel("restart-worker", "gpu7")
    assert unknown.status == 1
    assert "there is no device gpu7" in unknown.err
