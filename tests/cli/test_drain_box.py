"""`citadel fleet drain BOX`, over a fleet of scripted engines and its file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from citadel_tui.cli.drain_box import drain_box
from engine.api import PROTOCOL, EngineError, Hello
from engine.client import RemoteEngine
from engine.clock import SystemClock
from engine.core.commands import Evict, Load, Submission
from engine.core.names import BoxName, DeviceId, ModelName, box_of
from engine.core.state import State
from engine.paths import find_paths, fleet_file, fleet_paths
from fleet.engine import FleetEngine
from fleet.following import Boxed, Following
from fleet.settings import load_fleet
from tests.cli.conftest import Citadel
from tests.fleet.fleets import Line, engine_of, scripted_lines, until
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving

SMALL, MIDDLE, LARGE = "all-MiniLM-L6-v2", "bge-base", "phi-3-mini"
FILE = """\
boxes:
  box1: {}       # here
  box2:
    # the loud one
    ssh: box2
  box3: {ssh: box3}
"""


class Fleet(NamedTuple):
    engine: FleetEngine
    lines: dict[BoxName, Line]
    file: Path

    async def load(self, model: ModelName, device: DeviceId) -> None:
        await self.engine.submit(Submission(f"{model} {device}", Load(model, device, also=True)))

    async def places(self, model: ModelName) -> list[DeviceId]:
        return sorted(resident.device for resident in (await self.engine.snapshot()).state.of(model))


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    """Served where a fleet's service is looked for."""
    paths, file, clock, lines = find_paths(os.environ), fleet_file(os.environ), SystemClock(), scripted_lines()
    file.write_text(FILE)
    following = Following(clock)

    async def read_again() -> tuple[str, ...]:
        settings = load_fleet(file)
        boxes = [Boxed(name, lines[name].open, entry.drained) for name, entry in settings.boxes.items()]
        following.adopt(boxes, settings.rules)
        return ()

    await read_again()
    hello = Hello(PROTOCOL, "0", "here", 1, clock.now(), str(file))
    engine = FleetEngine(hello, following, clock, Random(1), read_again)
    await following.met()
    async with serving(engine, fleet_paths(paths)):
        yield Fleet(engine, lines, file)
    await engine.stop(now=True)


async def test_a_drained_box_is_left_by_all_that_others_can_take_and_its_file_says_so(
    citadel: Citadel, fleet: Fleet
) -> None:
    await fleet.load(SMALL, "box2/gpu0")
    await fleet.load(MIDDLE, "box2/gpu1")
    await fleet.load(MIDDLE, "box1/gpu1")
    ran = await citadel("fleet", "drain", "box2", "--yes")
    assert ran.status == 0, ran.err
    assert fleet.file.read_text() == FILE.replace("    ssh: box2", "    drained: true\n    ssh: box2")
    snapshot = await fleet.engine.snapshot()
    assert snapshot.boxes["box2"].drained
    assert not [one for one in snapshot.state.residents if box_of(one.device) == "box2"]
    (place,) = await fleet.places(SMALL)
    assert f"{SMALL}: box2/gpu0 → {place}, gains" in ran.out
    assert f"{MIDDLE} (synthetic): box2/gpu1 → no device" in ran.out
    assert "it is ready on box1/gpu1" in ran.out
    assert f"box2 is drained and takes nothing new; 2 models left it ({SMALL}, {MIDDLE})" in ran.err

    ran = await citadel("fleet", "undrain", "box2")
    assert (ran.status, ran.out) == (0, "box2 takes what comes; nothing was moved\n")
    assert fleet.file.read_text() == FILE.replace("    ssh: box2", "    drained: false\n    ssh: box2")
    assert not (await fleet.engine.snapshot()).boxes["box2"].drained


async def test_nothing_is_done_or_written_before_it_is_agreed_to(citadel: Citadel, fleet: Fleet) -> None:
    await fleet.load(SMALL, "box2/gpu0")
    ran = await citadel("fleet", "drain", "box2")
    assert ran.status == 4
    assert "box2 takes nothing new from then on" in ran.out
    proposed = json.loads((await citadel("fleet", "drain", "box2", "--json")).out)
    assert [one["model"] for one in proposed["command"]["commands"]] == [SMALL]
    assert fleet.file.read_text() == FILE
    assert await fleet.places(SMALL) == ["box2/gpu0"]


async def test_what_is_on_a_drained_box_answers_until_it_is_ready_elsewhere(citadel: Citadel, fleet: Fleet) -> None:
    await fleet.load(SMALL, "box2/gpu0")
    others = [engine_of(fleet.lines[name]) for name in ("box1", "box3")]
    for other in others:
        other.hold()
    drain = asyncio.ensure_future(citadel("fleet", "drain", "box2", "--yes"))
    await until(fleet.engine, lambda now: now.boxes["box2"].drained and any(job for job in now.jobs))
    assert (await fleet.engine.embed(SMALL, ["a"])).device == "box2/gpu0"
    for other in others:
        other.release()
    assert (await drain).status == 0
    assert not (await fleet.engine.embed(SMALL, ["a"])).device.startswith("box2/")


async def test_a_model_that_no_other_box_has_stays_is_named_and_goes_on_answering(
    citadel: Citadel, fleet: Fleet
) -> None:
    for name in ("box1", "box3"):
        engine = engine_of(fleet.lines[name])
        engine.set_state(_without(engine, SMALL))
    await fleet.load(SMALL, "box2/gpu0")
    ran = await citadel("fleet", "drain", "box2", "--yes")
    assert ran.status == 1
    assert f"{SMALL} stays on box2: no other box that may hold it answers" in ran.err
    assert (await fleet.engine.embed(SMALL, ["a"])).device == "box2/gpu0"


async def test_a_box_that_goes_in_the_middle_is_told_and_another_takes_what_it_was_to_have(
    citadel: Citadel, fleet: Fleet
) -> None:
    await fleet.load(SMALL, "box2/gpu0")
    for name in ("box1", "box3"):
        engine_of(fleet.lines[name]).hold()
    drain = asyncio.ensure_future(citadel("fleet", "drain", "box2", "--yes"))
    now = await until(fleet.engine, lambda now: any(one.stage == "loading" for one in now.state.residents))
    target = next(box_of(one.device) for one in now.state.residents if one.stage == "loading")
    fleet.lines[target].cut("no route to host")
    other = "box1" if target == "box3" else "box3"
    engine_of(fleet.lines[other]).release()
    ran = await drain
    assert f"{target} does not answer, and what came of" in ran.err
    assert ran.status == 0, ran.err
    residents = engine_of(fleet.lines[other]).state.residents
    assert [one.model for one in residents] == [SMALL]
    assert not engine_of(fleet.lines["box2"]).state.residents


async def test_the_drained_box_that_goes_itself_keeps_what_it_had(citadel: Citadel, fleet: Fleet) -> None:
    await fleet.load(SMALL, "box2/gpu0")
    fleet.lines["box2"].cut("it was switched off")
    await until(fleet.engine, lambda now: now.boxes["box2"].standing == "unreachable")
    ran = await citadel("fleet", "drain", "box2", "-y")
    assert ran.status == 1
    assert "box2 is unreachable (it was switched off): what is on it stays there" in ran.err
    assert load_fleet(fleet.file).boxes["box2"].drained


async def test_cut_short_it_says_what_was_done_and_goes_on_later(
    citadel: Citadel, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    await fleet.load(SMALL, "box2/gpu0")
    for name in ("box1", "box3"):
        engine_of(fleet.lines[name]).hold()
    remote = RemoteEngine(fleet_paths(find_paths(os.environ)).socket)
    drain = asyncio.create_task(drain_box(remote, "box2", yes=True, now=False, json=False))
    await until(fleet.engine, lambda now: any(one.stage == "loading" for one in now.state.residents))
    drain.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await drain
    said = capsys.readouterr().err
    assert "interrupted: the command was taken back" in said
    assert "box2 is drained and takes nothing new; nothing left it; what is left there goes on answering there." in said
    assert (await fleet.engine.embed(SMALL, ["a"])).device == "box2/gpu0"
    for name in ("box1", "box3"):
        engine_of(fleet.lines[name]).release()
    assert (await citadel("fleet", "drain", "box2", "-y")).status == 0
    assert not engine_of(fleet.lines["box2"]).state.residents


async def test_nothing_is_loaded_on_a_drained_box_even_by_name(citadel: Citadel, fleet: Fleet) -> None:
    await citadel("fleet", "drain", "box2", "--yes")
    ran = await citadel("fleet", "load", SMALL, "--on", "box2/gpu0", "--yes")
    assert ran.status == 3
    assert "box2 is drained: it takes nothing new" in ran.err
    await engine_of(fleet.lines["box2"]).submit(Submission("its own", Load(SMALL, "gpu0")))
    await until(fleet.engine, lambda now: any(one.device == "box2/gpu0" for one in now.state.residents))
    for command in (("cpu", SMALL), ("cpu", SMALL, "--back"), ("move", SMALL, "box2/gpu1")):
        assert "box2 is drained: it takes nothing new" in (await citadel("fleet", *command, "-y")).err
    assert (await citadel("fleet", "load", SMALL, "-y")).out == f"{SMALL} is there already\n"
    await fleet.load(SMALL, "box1/gpu0")
    assert (await citadel("fleet", "evict", SMALL, "-y")).status == 0
    assert Evict(SMALL) in [one.command for one in engine_of(fleet.lines["box1"]).submissions]


async def test_a_file_that_only_a_person_should_change_is_left_as_it_is(citadel: Citadel, fleet: Fleet) -> None:
    text = "boxes:\n  box1: {}\n  box2: &it {ssh: box2}\n  box3: {ssh: box3}\n"
    fleet.file.write_text(text)
    ran = await citadel("fleet", "drain", "box2", "--yes")
    assert ran.status == 1
    assert "is left as it is, since only a person should change what it says of box2" in ran.err
    assert "write `drained: true` there and run `citadel fleet reload`" in ran.err
    assert fleet.file.read_text() == text


async def test_a_mistake_elsewhere_in_the_file_leaves_it_and_the_fleet_as_they_were(
    citadel: Citadel, fleet: Fleet
) -> None:
    text = FILE + "order: [box9]\n"
    fleet.file.write_text(text)
    ran = await citadel("fleet", "drain", "box2", "--yes")
    assert ran.status == 1
    assert "there is no box box9" in ran.err
    assert fleet.file.read_text() == text
    assert not (await fleet.engine.snapshot()).boxes["box2"].drained


@pytest.mark.parametrize("command", ["drain", "undrain"])
async def test_a_box_that_there_is_not_is_told_with_the_one_that_may_be_meant(
    citadel: Citadel, fleet: Fleet, command: str
) -> None:
    ran = await citadel("fleet", command, "bxo2")
    assert (ran.status, fleet.file.read_text()) == (1, FILE)
    assert "no box is named bxo2 (did you mean box2?)" in ran.err


async def test_an_engine_that_is_no_fleet_has_no_boxes(fleet: Fleet) -> None:
    remote = RemoteEngine(find_paths(os.environ).socket)
    async with serving(engine_of(fleet.lines["box1"]), find_paths(os.environ)):
        with pytest.raises(EngineError, match="boxes are a fleet's, and this engine has none"):
            await drain_box(remote, "box2", yes=True, now=False, json=False)


def _without(engine: ScriptedEngine, model: ModelName) -> State:
    """Its state, with a catalog that lacks the model."""
    return replace(engine.state, models={name: known for name, known in engine.state.models.items() if name != model})
