"""Runs change what models are charged when they are loaded next, never what a resident is charged."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.commands import Evict, Load, Move
from engine.core.devices import DeviceSpec, Reading
from engine.core.forecast.footprints import ENOUGH_RUNS, RunPeaks
from engine.core.ledger import charged
from engine.core.models import Footprint
from engine.core.sizes import MIB
from engine.core.state import State
from engine.scheduler.effects import BindModel, KeepPeaks, ReleaseModel
from engine.scheduler.messages import DeviceRead, RunMeasured, RunOutOfMemory
from tests.core.boxes import NOW_S, box, with_pin
from tests.scheduler.scripted_world import World

MINILM = "all-MiniLM-L6-v2"
CARD = "NVIDIA A2"
FULL = RunMeasured("a", "gpu0", 10 * MIB, 1.0)


def cards() -> State:
    """Two cards of 100 MiB; model a is estimated at 20 MiB and 30 MiB of workspace."""
    state = box({"a": 20, "b": 60})
    devices = {
        name: replace(known, spec=DeviceSpec(name, CARD, "gpu", f"cuda:{name[-1]}", 100 * MIB, 0.8), worker_pid=1)
        if name.startswith("gpu")
        else known
        for name, known in state.devices.items()
    }
    known = replace(state.models["a"], footprint=Footprint(20 * MIB, 30 * MIB))
    return replace(state, devices=devices, models={**state.models, "a": known})


def loaded() -> World:
    world = World(cards())
    world.submit(Load("a", "gpu0"))
    world.settle()
    return world


def run(world: World, times: int) -> None:
    for _ in range(times):
        world.send(FULL)


def test_a_resident_keeps_its_charge_until_it_is_loaded_again() -> None:
    world = loaded()
    run(world, ENOUGH_RUNS)

    assert world.state.models["a"].footprint.total_bytes == 31 * MIB
    assert charged(world.state, "gpu0") == 50 * MIB

    world.submit(Evict("a"))
    world.settle()
    world.submit(Load("a", "gpu0"))
    while not (bind := world.find(BindModel)):
        world.perform(world.waiting[0])
    assert bind.workspace_bytes == 11 * MIB
    world.settle()
    assert charged(world.state, "gpu0") == 31 * MIB


def test_a_load_that_waits_for_room_is_charged_what_its_model_has_taught_by_then() -> None:
    world = loaded()
    world.submit(Load("b", "gpu1"))
    world.settle()
    world.submit(Evict("b"))
    world.submit(Move("a", "gpu1"))
    taken = Reading("ok", "", 60 * MIB, 60 * MIB, at_s=NOW_S)
    world.send(DeviceRead("gpu1", taken))  # leaves 40 MiB, less than model a was taken to need
    run(world, ENOUGH_RUNS)
    world.settle()

    assert world.where() == {"a": "gpu1 ready"}
    assert charged(world.state, "gpu1") == 31 * MIB


def test_lessons_are_kept_at_first_with_every_run_and_then_with_every_twentieth() -> None:
    world = loaded()
    run(world, 60)

    kept = [effect.peaks.count for effect in world.waiting if isinstance(effect, KeepPeaks)]
    assert kept == [*range(1, ENOUGH_RUNS + 1), 40, 60]


def test_what_is_recalled_counts_from_the_start_and_other_cards_lessons_do_not() -> None:
    world = World(cards())
    enough = RunPeaks((10 * MIB,) * 20, (10 * MIB,) * 20, 20)
    world.scheduler.recall({("a", CARD): enough, ("b", "a card that is gone"): enough})

    assert world.state.models["a"].footprint.label == "learned"
    assert world.state.models["b"].footprint.label == "estimated"


def test_a_run_that_came_short_forgets_what_was_learned_and_lets_the_model_go() -> None:
    world = loaded()
    run(world, ENOUGH_RUNS)
    world.send(RunOutOfMemory("a", "gpu0"))

    footprint = world.state.models["a"].footprint
    assert (footprint.workspace_bytes, footprint.label, footprint.runs) == (60 * MIB, "learned", None)
    assert world.find(ReleaseModel) is not None
    assert [e.peaks for e in world.waiting if isinstance(e, KeepPeaks)][-1] == RunPeaks(short_bytes=60 * MIB)


def test_a_pinned_model_that_came_short_stays() -> None:
    world = World(with_pin(cards(), "a"))
    world.submit(Load("a", "gpu0"))
    world.settle()
    world.send(RunOutOfMemory("a", "gpu0"))

    assert world.where() == {"a": "gpu0 ready"}
    assert world.state.models["a"].footprint.workspace_bytes == 60 * MIB
