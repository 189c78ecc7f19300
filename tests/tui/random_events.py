"""An engine that changes under the console: models come and go, devices fall out, loads fail, the line drops."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, TypeAlias

from msgspec.structs import replace

from engine.core.commands import models_of
from engine.core.devices import Reading
from engine.core.names import ModelName
from engine.core.plans import Step
from engine.core.state import DeviceState
from tests.scripted_engine import ScriptedEngine
from tests.tui.busy_engines import small_model, with_requests

Event: TypeAlias = Callable[[ScriptedEngine, Random], None]

_MOST_MODELS: Final = 14


def stir(engine: ScriptedEngine, random: Random) -> None:
    """Something happens; a line that has dropped comes back first."""
    if engine.stopped:
        engine.stopped = False
    else:
        random.choice(_EVENTS)(engine, random)


def _requests_come(engine: ScriptedEngine, random: Random) -> None:
    engine.set_state(with_requests(engine.state, random.randrange(100)))


def _a_model_comes(engine: ScriptedEngine, random: Random) -> None:
    models = engine.state.models
    name = f"reranker-{random.randrange(50)}"
    if name not in models and len(models) < _MOST_MODELS:
        listed = list(models.items())
        listed.insert(random.randrange(len(listed) + 1), (name, small_model(name)))
        engine.set_state(replace(engine.state, models=dict(listed)))


def _a_model_goes(engine: ScriptedEngine, random: Random) -> None:
    state = engine.state
    idle = [name for name in state.models if name not in _needed(engine)]
    if len(state.models) > 2 and idle:
        gone = random.choice(idle)
        engine.set_state(replace(state, models={name: m for name, m in state.models.items() if name != gone}))


def _needed(engine: ScriptedEngine) -> set[ModelName]:
    """Whom the rest of the state, or a command under way, still speaks of."""
    state = engine.state
    placed = {resident.model for resident in state.residents} | {slab.model for slab in state.ram.slabs}
    steps: list[Step] = [step for job in engine.jobs if job.plan for step in job.plan.steps]
    changed = [step for change in state.changes for step in change.steps]
    asked = {model for job in engine.jobs for model in models_of(job.command)}
    return placed | asked | {step.model for step in steps + changed}


def _a_device_is_lost(engine: ScriptedEngine, random: Random) -> None:
    device = random.choice(("gpu0", "gpu1"))
    known = engine.state.devices[device]
    lost = Reading("lost", "it fell off the bus", at_s=known.reading.at_s)
    _become(engine, replace(known, reading=lost))


def _a_device_is_back(engine: ScriptedEngine, random: Random) -> None:
    for known in engine.state.devices.values():
        if known.reading.health == "lost":
            _become(engine, replace(known, reading=Reading("ok", "", 0, 0, at_s=known.reading.at_s)))


def _become(engine: ScriptedEngine, known: DeviceState) -> None:
    engine.set_state(replace(engine.state, devices={**engine.state.devices, known.spec.id: known}))


def _the_next_load_fails(engine: ScriptedEngine, random: Random) -> None:
    engine.fail_next("the worker was killed by SIGKILL")


def _loads_take_long(engine: ScriptedEngine, random: Random) -> None:
    engine.hold()


def _loads_go_on(engine: ScriptedEngine, random: Random) -> None:
    engine.release()


def _something_is_told(engine: ScriptedEngine, random: Random) -> None:
    engine.add_notice(f"notice {random.randrange(1000)} [/b] \x1b[31m", random.choice(("info", "warning", "error")))


def _the_line_drops(engine: ScriptedEngine, random: Random) -> None:
    engine.stopped = True
    engine.release()


_EVENTS: Final[tuple[Event, ...]] = (
    _requests_come,
    _requests_come,
    _a_model_comes,
    _a_model_comes,
    _a_model_goes,
    _a_device_is_lost,
    _a_device_is_back,
    _a_device_is_back,
    _the_next_load_fails,
    _loads_take_long,
    _loads_go_on,
    _loads_go_on,
    _something_is_told,
    _the_line_drops,
)
