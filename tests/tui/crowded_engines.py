"""Engines with many cards and many models: cards of 6 GB with a large model or small ones only, sensors, and other programs."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.devices import Neighbour, Reading
from engine.core.models import Footprint
from engine.core.names import DeviceId, ModelName
from engine.core.sizes import GIB, MIB
from engine.core.state import DeviceState, Resident, State
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S
from tests.tui.busy_engines import busy_engine, with_gpus

_ON_EACH = 3


async def crowded_engine(cards: int, models: int) -> ScriptedEngine:
    """Three models on each card, of which every other card's first is large; every third card has two other programs."""
    engine = await busy_engine(models=models)
    engine.banner = ""
    state = with_gpus(engine.state, cards)
    gpus = [name for name in state.devices if name != "cpu"]
    residents = [r for r in state.residents if r.device == "cpu"]
    for number, gpu in enumerate(gpus):
        residents += _residents(gpu, number, list(state.models))
    placed = replace(state, residents=tuple(residents))
    devices = {gpu: _card(placed, gpu, number) for number, gpu in enumerate(gpus)}
    engine.set_state(replace(placed, devices={**devices, "cpu": state.devices["cpu"]}))
    return engine


def _residents(gpu: DeviceId, number: int, models: list[ModelName]) -> list[Resident]:
    first_mib = 3000 if number % 2 else 110
    names = (models[(number * _ON_EACH + at) % len(models)] for at in range(_ON_EACH))
    sizes = (first_mib, 125, 98)
    return [
        Resident(name, gpu, "ready", Footprint(size * MIB * 4 // 5, size * MIB // 5), START_S, idle_since_s=START_S)
        for name, size in zip(names, sizes, strict=True)
    ]


def _card(state: State, gpu: DeviceId, number: int) -> DeviceState:
    known = state.devices[gpu]
    programs = tuple(
        Neighbour(
            4000 + 10 * number + at,
            "python",
            (at + 1) * 105 * MIB,
            "alice",
            f"python train.py --data /srv/data/set-{at} --epochs 3",
            int(START_S) - 5000 * (at + 1),
        )
        for at in range(2 if number % 3 == 2 else 0)
    )
    external_bytes = sum(program.used_bytes or 0 for program in programs)
    ours_bytes = sum(resident.footprint.total_bytes for resident in state.on(gpu)) + 100 * MIB
    reading = Reading(
        *("ok", "", ours_bytes + external_bytes, external_bytes, 50 + number, 13 * number % 100, programs, START_S),
        *(9.5 + 7 * number, 120.0, (1227 + number, 3004), 30 + number, number % 9, "580.65.06, CUDA 13.0"),
    )
    title = "NVIDIA GeForce GTX 1060 6GB"
    spec = replace(known.spec, title=title, backing=f"cuda:{number}", total_bytes=6 * GIB)
    return replace(known, spec=spec, reading=reading, context_bytes=100 * MIB)
