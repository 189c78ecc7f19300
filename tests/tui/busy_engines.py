"""Engines in states that the console's tests look at: models placed, requests counted, a line of the log of each kind."""

from __future__ import annotations

from msgspec.structs import replace

from engine.core.commands import Command, ForceCpu, Load, SetPin, Submission
from engine.core.devices import Reading
from engine.core.insight.request_figures import RequestFigures
from engine.core.models import Footprint, ModelSpec
from engine.core.names import ModelName
from engine.core.sizes import MIB
from engine.core.state import Demand, ModelState, Slab, State
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S, measured, scripted_state

STORY: tuple[Command, ...] = (
    Load("all-MiniLM-L6-v2", "gpu1"),
    Load("bge-base", "gpu0"),
    Load("phi-3-mini", "gpu0"),
    ForceCpu("e5-small"),
    SetPin("all-MiniLM-L6-v2"),
)


FARING = {
    "all-MiniLM-L6-v2": RequestFigures(12, 8, 118.0, 0.21, 0.21, 0.84, 480, refused=3),
    "e5-small": RequestFigures(answered=24, first_part_s=0.0084, p50_s=0.0084, p95_s=0.012),
    "phi-3-mini": RequestFigures(2, 1, 7.3, 0.36, 4.1, 12.4, 31, failed=1, left=2),
}
"""How requests fare there; nobody asked for bge-base."""


async def busy_engine(models: int = 4) -> ScriptedEngine:
    """phi-3-mini on gpu0 in bge-base's place, MiniLM pinned on gpu1, e5-small forced to the CPU; `models` in the catalog."""
    engine = ScriptedEngine(with_models(scripted_state(), models))
    for number, command in enumerate(STORY):
        await engine.submit(Submission(f"story-{number}", command))
    engine.add_notice("gpu1: the worker was killed by SIGKILL; its models come back")
    engine.set_state(lived_in((await engine.snapshot()).state))
    engine.set_requests(FARING)
    return engine


def with_models(state: State, count: int) -> State:
    """`state` with its catalog cut or filled up to `count` models."""
    more = (f"reranker-{number}" for number in range(1, count))
    known = dict(list(state.models.items())[:count])
    for name in more:
        if len(known) < count:
            known[name] = small_model(name)
    return replace(state, models=known)


def with_gpus(state: State, count: int, *lost: str) -> State:
    """`state` with so many GPUs before its CPU, some of them lost."""
    gpu = scripted_state().devices["gpu1"]
    names = [f"gpu{number}" for number in range(count)]
    gpus = {name: state.devices.get(name, replace(gpu, spec=replace(gpu.spec, id=name))) for name in names}
    gpus |= {name: replace(gpus[name], reading=Reading("lost", "gone", at_s=START_S)) for name in lost}
    return replace(state, devices={**gpus, "cpu": state.devices["cpu"]})


def small_model(name: ModelName) -> ModelState:
    spec = ModelSpec(name, ("synthetic:reranker",), "embedding")
    return ModelState(spec, Footprint(20 * MIB, 4 * MIB), "synthetic:reranker")


def lived_in(state: State) -> State:
    """Some requests, a program of somebody else's on gpu0, and a slab kept."""
    models = {
        name: replace(model, demand=Demand((), 1, 12 * at, START_S - 7 * at, 4.1 * at))
        for at, (name, model) in enumerate(state.models.items())
    }
    gpu0 = state.devices["gpu0"]
    busier = replace(gpu0, reading=replace(gpu0.reading, external_bytes=60 * MIB))
    slabs = (Slab("bge-base", 418 * MIB, "kept", START_S), Slab("phi-3-mini", 400 * MIB, "kept", START_S))
    devices = {**state.devices, "gpu0": busier}
    return measured(replace(state, models=models, devices=devices, ram=replace(state.ram, slabs=slabs)))


def with_requests(state: State, number: int) -> State:
    """`state` a second on: every model's request rate and last request have changed."""
    models = {
        name: replace(
            model, demand=replace(model.demand, per_minute=number % 7 + at + 0.5, last_s=START_S + number - at)
        )
        for at, (name, model) in enumerate(state.models.items())
    }
    return replace(state, models=models)
