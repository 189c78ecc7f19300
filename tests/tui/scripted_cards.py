"""An engine whose GPUs are two scripted cards, with the readings that the engine's own reader makes of them, faults included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec.structs import replace

from engine.core.devices import DeviceSpec, Reading
from engine.core.names import DeviceId
from engine.core.records import Notice
from engine.core.sizes import MIB
from engine.core.state import DeviceState, Resident, Stage, State
from engine.devices.nvml import Deadlines, NvmlProbe
from engine.devices.readings import CardReader, OwnUse
from tests.nvml.script import NvmlScript, Process, ScriptedCard
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import START_S
from tests.tui.busy_engines import lived_in
from tests.tui.console_on_cards import SILENT_S, StandingClock

CARD_BYTES: Final = 1984 * MIB
"""What the driver leaves of 2 GiB."""
CONTEXT_BYTES: Final = 120 * MIB
OURS: Final[dict[DeviceId, int]] = {"gpu0": CONTEXT_BYTES + 818 * MIB, "gpu1": CONTEXT_BYTES + 87 * MIB}
"""What our workers hold: their contexts and weights, no workspace."""
_PLACES: Final[tuple[tuple[str, DeviceId, Stage], ...]] = (
    ("bge-base", "gpu0", "ready"),
    ("phi-3-mini", "gpu0", "ready"),
    ("all-MiniLM-L6-v2", "gpu1", "ready"),
)

Breaks: TypeAlias = Callable[[NvmlScript, ScriptedCard], object]


async def cards_with(script: NvmlScript, breaks: Breaks) -> ScriptedEngine:
    """An engine over two cards that were well, and then `breaks` happened to the first of them or to the driver."""
    first = script.card(temperature_c=54, utilization_percent=63).uses(OURS["gpu0"] + 300 * MIB)
    script.card().uses(OURS["gpu1"])
    first.runs(Process(4321, 260 * MIB)).draws(Process(998, 40 * MIB))
    clock = StandingClock()
    probe = NvmlProbe(clock, Deadlines(open_s=30.0, call_s=2.0))
    await probe.open()
    specs = {name: _spec(name, facts.name) for name, facts in zip(OURS, probe.facts, strict=True)}
    uuids = {name: facts.uuid for name, facts in zip(OURS, probe.facts, strict=True)}
    reader = CardReader(probe, uuids)
    own = {name: OwnUse(None, used_bytes) for name, used_bytes in OURS.items()}
    for _ in range(2):
        await reader.read(specs, lambda: own)
    breaks(script, first)
    clock.passes(SILENT_S)
    readings = await reader.read(specs, lambda: own)
    script.comes_unstuck()
    await reader.close()
    return _engine(specs, readings, clock.monotonic())


def _spec(device: DeviceId, title: str) -> DeviceSpec:
    return DeviceSpec(device, title, "gpu", f"cuda:{device.removeprefix('gpu')}", CARD_BYTES, 0.8)


def _engine(specs: dict[DeviceId, DeviceSpec], readings: dict[DeviceId, Reading], mono_s: float) -> ScriptedEngine:
    engine = ScriptedEngine()
    engine.mono_s = mono_s
    engine.banner = ""
    state = lived_in(engine.state)
    cards = {name: _known(state, spec, _named(readings[name])) for name, spec in specs.items()}
    placed = tuple(Resident(m, d, stage, state.models[m].footprint, START_S) for m, d, stage in _PLACES)
    engine.set_state(replace(state, devices={**state.devices, **cards}, residents=placed))
    told: set[str] = set()
    for name, reading in readings.items():
        if reading.health != "ok" and (condition := reading.cause or name) not in told:
            told.add(condition)
            text = f"{name} is {reading.health}: {reading.reason}"
            engine.add_entry(Notice(START_S, "error", text, name, condition=condition))
    return engine


def _known(state: State, spec: DeviceSpec, reading: Reading) -> DeviceState:
    known = replace(state.devices[spec.id], spec=spec, reading=reading, context_bytes=CONTEXT_BYTES)
    return replace(known, leaked_bytes=16 * MIB * (spec.id == "gpu0"), worker_pid=4300, copy_bytes_per_s=3.1e9)


def _named(reading: Reading) -> Reading:
    """The processes of the script have no names to look up on this machine."""
    names = {4321: "python train.py", 998: "Xorg"}
    return replace(reading, neighbours=tuple(replace(n, name=names[n.pid]) for n in reading.neighbours))
